"""The smaller rooms of the store: encounters, messages, refusals, site versions."""

from __future__ import annotations

import threading

import pytest
from support.arrivals import PATIENT, take
from support.stores import Clock

from gateway.ecg import Encounter
from gateway.errors import Conflict
from gateway.store import Store, refusals


def visit(number: str) -> Encounter:
    """Give a visit."""
    return Encounter(visit_number=number, patient_class="E")


def test_encounter_at_a_time(store: Store, clock: Clock):
    """The visit is the one that held at ECG time, not a later one, and none before the first."""
    early, between = clock.time, clock.forward(60)
    late = clock.forward(60)
    store.encounters.put("P1", "H", visit("V1"), early, PATIENT)
    store.encounters.put("P1", "H", visit("V2"), late, PATIENT)
    found = store.encounters.at("P1", "H", between)
    assert found is not None
    assert (found.encounter, found.patient, found.at) == (visit("V1"), PATIENT, early)
    assert store.encounters.at("P1", "H", late).encounter == visit("V2")
    assert store.encounters.latest("P1", "H").encounter == visit("V2")
    assert store.encounters.at("P1", "H", early.replace(year=2020)) is None
    assert store.encounters.at("P2", "H", late) is None
    assert store.encounters.at("", "", late) is None


def test_authority_tells_patients_apart(store: Store, clock: Clock):
    """The same number of two authorities is two patients; without an authority it is nobody."""
    store.encounters.put("P1", "A", visit("A1"), clock.time, PATIENT)
    assert store.encounters.at("P1", "", clock.time).encounter == visit("A1")
    store.encounters.put("P1", "B", visit("B1"), clock.time, PATIENT)
    assert store.encounters.at("P1", "A", clock.time).encounter == visit("A1")
    assert store.encounters.at("P1", "B", clock.time).encounter == visit("B1")
    assert store.encounters.at("P1", "", clock.time) is None
    assert store.encounters.at("P1", "C", clock.time) is None


def test_messages_are_kept_and_found(store: Store, clock: Clock):
    """An inbound message is found again by sender and MSH-10; the first one counts."""
    ecg_id = take(store).ecg_id
    first = store.messages.add("in", "CART^ED", "M1", "a" * 64, "AA", ecg_id, "b" * 64)
    store.messages.add("in", "CART^ED", "M1", "c" * 64, "AE")
    store.messages.add("out", "ehr", "M1", "d" * 64, "AA", ecg_id=ecg_id)
    seen = store.messages.seen("CART^ED", "M1")
    assert seen is not None
    assert (seen.id, seen.digest, seen.answer_digest) == (first, "a" * 64, "b" * 64)
    assert seen.at == clock.time
    assert store.messages.seen("ehr", "M1") is None
    assert store.messages.seen("CART^ED", "M2") is None
    assert [row.direction for row in store.messages.of_ecg(ecg_id)] == ["in", "out"]
    assert [row.digest[0] for row in store.messages.recent(2)] == ["d", "c"]


def test_refusals_are_listed_newest_first(store: Store, clock: Clock):
    """Who, from where, when and why."""
    store.refusals.add("dicom", "CART9", "10.0.0.9", "calling-ae-not-recognised")
    clock.forward(1)
    store.refusals.add("hl7", "X^Y", "10.0.0.8", "unknown-peer")
    newest, oldest = store.refusals.recent(5)
    assert (newest.protocol, newest.peer, newest.at) == ("hl7", "X^Y", clock.time)
    assert (oldest.address, oldest.reason) == ("10.0.0.9", "calling-ae-not-recognised")


def test_a_refusal_that_repeats_is_counted(store: Store, clock: Clock):
    """A cart that knocks all night is one row with the first and the last time, and comes first."""
    first = clock.time
    store.refusals.add("dicom", "CART9", "10.0.0.9", "unknown")
    store.refusals.add("dicom", "CART8", "10.0.0.9", "unknown")
    clock.forward(60)
    store.refusals.add("dicom", "CART9", "10.0.0.9", "unknown")
    again, other = store.refusals.recent(9)
    assert (again.peer, again.times, again.first_at, again.at) == ("CART9", 2, first, clock.time)
    assert (other.peer, other.times) == ("CART8", 1)


def test_refusals_do_not_fill_the_disk(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    """Only the newest are kept, by the last time and not by the first."""
    monkeypatch.setattr(refusals, "KEPT", 3)
    for peer in ("AE0", "AE1", "AE2", "AE0", "AE3", "AE4"):
        clock.forward(1)
        store.refusals.add("dicom", peer, "", "x")
    assert [row.peer for row in store.refusals.recent(9)] == ["AE4", "AE3", "AE0"]


def test_site_versions(store: Store, clock: Clock):
    """Each save is a version; the newest is in force and the old ones stay."""
    assert store.site.version() == 0
    assert store.site.current() is None
    assert store.site.save({"a": 1}, "admin", "first", 0) == 1
    assert store.site.save({"a": 2}, "admin", "second", None) == 2
    current = store.site.current()
    assert current is not None
    assert (current.version, current.document, current.who) == (2, {"a": 2}, "admin")
    assert (current.note, current.at) == ("second", clock.time)
    assert store.site.get(1).document == {"a": 1}
    assert [version.version for version in store.site.history()] == [2, 1]
    with pytest.raises(KeyError):
        store.site.get(3)


def test_a_change_of_an_old_version_is_refused(store: Store):
    """Whoever edited version 1 while version 2 was saved is told so."""
    store.site.save({}, "a", "", None)
    store.site.save({}, "b", "", None)
    with pytest.raises(Conflict, match="version 2, not 1"):
        store.site.save({}, "c", "", 1)


def test_of_two_first_savers_one_wins(store: Store):
    """Processes that start at once import the site file once."""
    outcomes: list[object] = []

    def save() -> None:
        try:
            outcomes.append(store.site.save({}, "start", "", 0))
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, outcomes)) == ["1", "conflict", "conflict", "conflict"]
