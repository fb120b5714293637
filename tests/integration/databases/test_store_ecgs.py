"""ECGs in the store: accepted once, claimed by one, finished in one transaction."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import pytest
from support.arrivals import PATIENT, SCORE, arrival, delivery, take
from support.stores import Clock

from gateway.ecg import Encounter, MediaType, Name, Order, Patient, State
from gateway.errors import NotStorable, StoreUnavailable
from gateway.store import Outcome, Store, open_store
from gateway.store.ecgs import new_id
from gateway.store.rows import patient_of


def test_first_arrival_is_received(store: Store, clock: Clock):
    """A new ECG is `received`, and the row holds what the listener told."""
    receipt = take(
        store,
        order=Order(placer="PL", accession="AC"),
        acquired_at=datetime(2026, 3, 1, 11, 30),
        study_uid="1.2",
        sop_uid="1.2.3",
        sop_class="1.9",
    )
    row = store.ecgs.get(receipt.ecg_id)
    assert (receipt.new, receipt.state) == (True, State.RECEIVED)
    assert (row.state, row.reason, row.attempts) == (State.RECEIVED, "", 0)
    assert row.received_at == row.state_at == clock.time
    assert row.received_at.tzinfo is not None
    assert row.patient == PATIENT
    assert row.order == Order(placer="PL", accession="AC")
    assert row.acquired_at == datetime(2026, 3, 1, 11, 30)
    assert row.media_type is MediaType.DICOM
    assert (row.study_uid, row.sop_uid, row.sop_class) == ("1.2", "1.2.3", "1.9")
    assert row.encounter is None
    assert row.score is None
    assert store.blobs.get(row.digest) == b"an ecg"


def test_same_again_is_not_new(store: Store):
    """The same identity with the same bytes is the same ECG, whatever became of it."""
    first = take(store)
    store.ecgs.claim(first.ecg_id, "w", 60)
    again = take(store)
    assert (again.ecg_id, again.new, again.state) == (first.ecg_id, False, State.SCORING)
    assert [event.what for event in store.ecgs.events(first.ecg_id)][-1] == "duplicate"


def test_other_bytes_of_a_known_identity_are_quarantined(store: Store):
    """The same identity with other bytes is kept apart and never overwrites."""
    first = take(store, content=b"one")
    second = take(store, content=b"two")
    assert second.new
    assert second.state is State.QUARANTINED
    assert store.ecgs.get(second.ecg_id).reason == "conflict"
    assert store.ecgs.get(first.ecg_id).state is State.RECEIVED
    assert take(store, content=b"two") == type(second)(second.ecg_id, False, State.QUARANTINED)


def test_unknown_id(store: Store):
    """Asking for what is not there is a KeyError."""
    with pytest.raises(KeyError):
        store.ecgs.get("0" * 32)


def test_one_worker_holds_an_ecg(store: Store):
    """A claim shuts out others until it is finished."""
    ecg_id = take(store).ecg_id
    row = store.ecgs.claim(ecg_id, "one", 60)
    assert row is not None
    assert (row.state, row.attempts, row.lease_owner) == (State.SCORING, 1, "one")
    assert store.ecgs.claim(ecg_id, "two", 60) is None
    assert store.ecgs.held() == [(ecg_id, "one")]


def test_an_expired_lease_may_be_taken_over(store: Store, clock: Clock):
    """After the lease another worker takes it, and the first one's outcome is refused."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "one", 60)
    clock.forward(60)
    taken = store.ecgs.claim(ecg_id, "two", 60)
    assert taken is not None
    assert taken.attempts == 2
    late = store.ecgs.finish(ecg_id, "one", Outcome(State.SCORED, score=SCORE), [delivery("C1")])
    assert not late
    assert store.deliveries.of_ecg(ecg_id) == []
    assert store.ecgs.finish(ecg_id, "two", Outcome(State.SCORED, score=SCORE), [delivery("C1")])
    assert [row.control_id for row in store.deliveries.of_ecg(ecg_id)] == ["C1"]


def test_finish_writes_everything_at_once(store: Store, clock: Clock):
    """Score, encounter and deliveries are there together, and the lease is gone."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    clock.forward(1)
    visit = Encounter("V1", "E", "ED^1", "")
    outcome = Outcome(
        State.SCORED, score=SCORE, images={"page": "a" * 64}, guard={"ink": 0.5}, encounter=visit
    )
    assert store.ecgs.finish(ecg_id, "w", outcome, [delivery("C1"), delivery("C2", "lab")])
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.score, row.encounter) == (State.SCORED, SCORE, visit)
    assert (row.images, row.guard) == ({"page": "a" * 64}, {"ink": 0.5})
    assert (row.lease_owner, row.lease_until, row.state_at) == ("", None, clock.time)
    assert {row.destination for row in store.deliveries.of_ecg(ecg_id)} == {"ehr", "lab"}
    assert not store.ecgs.finish(ecg_id, "w", outcome, [])


def test_finish_is_all_or_nothing(store: Store):
    """If a delivery cannot be written, the score is not written either."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    twice = [delivery("C1"), delivery("C1")]
    with pytest.raises(NotStorable):
        store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=SCORE), twice)
    assert store.ecgs.get(ecg_id).state is State.SCORING
    assert store.deliveries.of_ecg(ecg_id) == []


def test_release_gives_it_back(store: Store):
    """A released ECG is `received` again; the attempt counts unless told otherwise."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    assert not store.ecgs.release(ecg_id, "somebody else")
    assert store.ecgs.release(ecg_id, "w", "ValueError")
    assert (store.ecgs.get(ecg_id).state, store.ecgs.get(ecg_id).attempts) == (State.RECEIVED, 1)
    store.ecgs.claim(ecg_id, "w", 60)
    assert store.ecgs.release(ecg_id, "w", "OutOfResources", counted=False)
    assert store.ecgs.get(ecg_id).attempts == 1


def test_unclaimed_finds_what_no_one_holds(store: Store, clock: Clock):
    """The sweeper sees old `received` ones and expired leases, oldest first, and no others."""
    lost = take(store, "dicom:lost").ecg_id
    clock.forward(1)
    dying = take(store, "dicom:dying").ecg_id
    done = take(store, "dicom:done").ecg_id
    take(store, "dicom:done", content=b"another")  # quarantined
    store.ecgs.claim(dying, "w", 5)
    store.ecgs.claim(done, "w", 600)
    clock.forward(9)
    fresh = take(store, "dicom:fresh").ecg_id
    assert store.ecgs.unclaimed(5, 10) == [lost, dying]
    assert store.ecgs.unclaimed(0, 10) == [lost, dying, fresh]
    assert store.ecgs.unclaimed(0, 1) == [lost]


def test_recent_pages_through_all(store: Store):
    """The list is newest first; the last id seen leads to the next page."""
    ids = [take(store, f"dicom:{number}").ecg_id for number in range(5)]
    first = store.ecgs.recent(2)
    rest = store.ecgs.recent(10, before=first[-1].id)
    assert [row.id for row in first + rest] == ids[::-1]
    store.ecgs.claim(ids[3], "w", 60)
    assert [row.id for row in store.ecgs.recent(10, state=State.SCORING)] == [ids[3]]


def test_counts(store: Store):
    """Every state is counted, empty ones as zero."""
    take(store, "dicom:1")
    take(store, "dicom:1", content=b"another")
    counts = store.ecgs.count_by_state()
    assert set(counts) == set(State)
    assert (counts[State.RECEIVED], counts[State.QUARANTINED], counts[State.FAILED]) == (1, 1, 0)


def test_overdue_counts_what_is_tried_again_and_again(store: Store, clock: Clock):
    """An ECG that is claimed and given back for ever is seen, though it never rests for long."""
    ecg_id = take(store).ecg_id
    done = take(store, "dicom:done").ecg_id
    store.ecgs.claim(done, "w", 60)
    store.ecgs.finish(done, "w", Outcome(State.UNSCORABLE, "blank"), [])
    assert store.ecgs.count_overdue(60) == 0
    for _ in range(7):
        clock.forward(10)
        store.ecgs.claim(ecg_id, "w", 60)
        store.ecgs.release(ecg_id, "w", "OutOfResources", counted=False)
    assert store.ecgs.count_overdue(60) == 1
    assert store.ecgs.unclaimed(60, 10) == []


def test_timeline(store: Store, clock: Clock):
    """The life of an ECG reads in order, with times."""
    ecg_id = take(store).ecg_id
    clock.forward(1)
    store.ecgs.claim(ecg_id, "w", 60)
    clock.forward(1)
    store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=SCORE), [delivery("C1")])
    events = store.ecgs.events(ecg_id)
    assert [(event.what, event.detail) for event in events] == [
        ("received", "dicom"),
        ("scoring", "attempt 1"),
        ("scored", ""),
        ("result queued", "ehr"),
    ]
    assert [(event.at - events[0].at).total_seconds() for event in events] == [0, 1, 2, 2]


def test_ids_are_in_time_order():
    """Ids of later calls are greater, opaque, 32 hex digits, and say version 7."""
    ids = []
    for _ in range(200):
        ids.append(new_id())
        while new_id()[:15] == ids[-1][:15]:  # a quarter of a microsecond is the resolution
            pass
    assert ids == sorted(ids)
    assert all(len(ecg_id) == 32 and ecg_id[12] == "7" for ecg_id in ids)


def test_arrival_without_a_moment_of_acquisition(store: Store):
    """An unknown acquisition time stays unknown."""
    assert store.ecgs.get(take(store).ecg_id).acquired_at is None


def test_foreign_writing_survives(store: Store):
    """Names in any script come back as they went in."""
    patient = Patient(id="Ñ1", family="Мюллер", given="李", also_named=(Name("Müller", "Li"),))
    receipt = take(store, patient=patient)
    assert store.ecgs.get(receipt.ecg_id).patient == patient


def test_a_patient_kept_by_an_older_version_has_one_name():
    """Rows from before names were kept in all scripts are read."""
    stored = {name: value for name, value in asdict(PATIENT).items() if name != "also_named"}
    assert patient_of(stored) == PATIENT


def test_database_errors_are_ours_and_quote_nothing(store: Store):
    """An error of the database names its class, never a value of the row."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    twice = [delivery("SECRET"), delivery("SECRET")]
    with pytest.raises(NotStorable) as caught:
        store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED), twice)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert not isinstance(caught.value, StoreUnavailable)
    assert store.ecgs.get(ecg_id).state is State.SCORING


def test_a_value_that_the_database_refuses_is_not_an_outage(store: Store):
    """A time without a zone is refused by both databases, today and tomorrow."""
    naive = datetime(2026, 3, 1, 12)
    with pytest.raises(NotStorable):
        store.encounters.put("P1", "", Encounter(), naive, PATIENT)
    store.ping()


def test_ping_and_close(database_url: str, tmp_path: Path):
    """A sign of life from a migrated database; `arrival` needs no clock of ours."""
    opened = open_store(database_url, tmp_path / "blobs")
    opened.ping()
    assert opened.ecgs.add(arrival(), "0" * 64).new
    opened.close()


def quarantine(store: Store, identity: str, reason: str, patient_id: str = "P1") -> str:
    """Take an ECG of a patient and hold it."""
    ecg_id = take(store, identity, patient=replace(PATIENT, id=patient_id)).ecg_id
    assert store.ecgs.claim(ecg_id, "w", 60)
    assert store.ecgs.finish(ecg_id, "w", Outcome(State.QUARANTINED, reason), [])
    return ecg_id


def test_word_of_adt_releases_what_waits_for_it(store: Store):
    """Of the patients named, and of them only what is held for who they are."""
    waits = quarantine(store, "a", "patient-unknown")
    differs = quarantine(store, "b", "patient-mismatch-family", "P2")
    stays = [quarantine(store, "c", "patient-unknown", "P3"), quarantine(store, "d", "conflict")]
    assert store.ecgs.compare_again({"P1", "P2"}) == 2
    for ecg_id in (waits, differs):
        row = store.ecgs.get(ecg_id)
        assert (row.state, row.reason, row.attempts) == (State.RECEIVED, "", 0)
        assert store.ecgs.events(ecg_id)[-1].what == "compare again"
    assert [store.ecgs.get(ecg_id).state for ecg_id in stays] == [State.QUARANTINED] * 2
    assert store.ecgs.compare_again({"P1", "P2"}) == 0


def test_a_person_ends_what_is_held(store: Store):
    """A dismissed ECG keeps its reason and who ended it; what is not held is left alone."""
    held = quarantine(store, "a", "conflict")
    assert store.ecgs.dismiss(held, "anna")
    row = store.ecgs.get(held)
    assert (row.state, row.reason) == (State.DISMISSED, "conflict")
    assert "by anna" in store.ecgs.events(held)[-1].detail
    assert not store.ecgs.dismiss(held, "anna")
    fresh = take(store, "b").ecg_id
    assert not store.ecgs.dismiss(fresh, "anna")
    assert store.ecgs.get(fresh).state is State.RECEIVED
