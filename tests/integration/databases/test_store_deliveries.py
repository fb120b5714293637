"""Deliveries in the store: in order per patient, one lease at a time, nothing lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.arrivals import SCORE, delivery, take
from support.stores import Clock

from gateway.ecg import DeliveryState, State
from gateway.store import DeliveryRow, NewDelivery, Outcome, Store, open_store


def scored(store: Store, identity: str, *deliveries: NewDelivery) -> str:
    """Take an ECG to `scored` with these deliveries."""
    ecg_id = take(store, identity).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    assert store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=SCORE), deliveries)
    return ecg_id


def claim(store: Store, clock: Clock, owner: str = "c", destination: str = "ehr") -> DeliveryRow:
    """Claim what must be there."""
    found = store.outbox.claim_next(destination, owner, 30, clock.time)
    assert found is not None
    return found


def nothing(store: Store, clock: Clock, owner: str = "c", destination: str = "ehr") -> bool:
    """Tell whether there is nothing to claim."""
    return store.outbox.claim_next(destination, owner, 30, clock.time) is None


def test_a_delivery_goes_out_and_is_acknowledged(store: Store, clock: Clock):
    """pending, sent, acknowledged; then the ECG is reported and nothing is due any more."""
    ecg_id = scored(store, "dicom:1", delivery("C1", alert=True))
    claimed = claim(store, clock)
    assert (claimed.control_id, claimed.attempts, claimed.alert) == ("C1", 1, True)
    assert claimed.state is DeliveryState.PENDING
    assert store.outbox.mark_sent(claimed.id, "c")
    assert store.deliveries.get(claimed.id).state is DeliveryState.SENT
    clock.forward(1)
    assert store.outbox.acknowledge(claimed.id, "c", "b" * 64)
    row = store.deliveries.get(claimed.id)
    assert (row.state, row.ack_digest) == (DeliveryState.ACKNOWLEDGED, "b" * 64)
    assert row.acknowledged_at == clock.time
    assert store.ecgs.get(ecg_id).state is State.REPORTED
    assert nothing(store, clock)
    assert store.outbox.next_due("ehr") is None
    what = [event.what for event in store.ecgs.events(ecg_id)]
    assert what[-3:] == ["sent", "acknowledged", "reported"]


def test_a_renamed_delivery_stands_in_line_with_the_other_record(store: Store, clock: Clock):
    """Its message and its patient are others; who no longer holds it changes nothing."""
    scored(store, "dicom:1", delivery("C1", patient_key="old"))
    scored(store, "dicom:2", delivery("C2", patient_key="left"))
    first = claim(store, clock)
    assert not store.outbox.rename(first.id, "another", "c" * 64, "left")
    assert store.deliveries.get(first.id) == first
    assert store.outbox.rename(first.id, "c", "c" * 64, "left")
    row = store.deliveries.get(first.id)
    assert (row.payload, row.patient_key, row.state) == ("c" * 64, "left", first.state)
    assert nothing(store, clock)


def test_reported_needs_every_destination(store: Store, clock: Clock):
    """An ECG is reported when the last destination has it, not before."""
    ecg_id = scored(store, "dicom:1", delivery("C1"), delivery("C2", "lab"))
    first = claim(store, clock)
    store.outbox.acknowledge(first.id, "c", "")
    assert store.ecgs.get(ecg_id).state is State.SCORED
    second = claim(store, clock, destination="lab")
    store.outbox.acknowledge(second.id, "c", "")
    assert store.ecgs.get(ecg_id).state is State.REPORTED


def test_a_dead_letter_keeps_an_ecg_from_reported_until_it_is_resent(store: Store, clock: Clock):
    """One destination has it, the other never will: a person has to act."""
    ecg_id = scored(store, "dicom:1", delivery("C1"), delivery("C2", "lab"))
    lab = claim(store, clock, destination="lab")
    assert store.outbox.reject(lab.id, "c", "a" * 64, "AE")
    store.outbox.acknowledge(claim(store, clock).id, "c", "")
    assert store.ecgs.get(ecg_id).state is State.SCORED
    assert store.deliveries.resend(lab.id)
    again = claim(store, clock, destination="lab")
    assert (again.control_id, again.payload, again.attempts) == (lab.control_id, lab.payload, 1)
    store.outbox.acknowledge(again.id, "c", "")
    assert store.ecgs.get(ecg_id).state is State.REPORTED


@pytest.mark.parametrize("first", ["dismissed", "acknowledged"])
def test_a_dismissed_letter_does_not_keep_an_ecg_from_reported(
    store: Store, clock: Clock, first: str
):
    """One destination has it and a person has dealt with the other, in either order."""
    ecg_id = scored(store, "dicom:1", delivery("C1"), delivery("C2", "lab"))
    lab = claim(store, clock, destination="lab")
    assert store.outbox.reject(lab.id, "c", "a" * 64, "AE")
    ehr = claim(store, clock)
    steps = {
        "dismissed": lambda: store.ecgs.dismiss(ecg_id, "anna"),
        "acknowledged": lambda: store.outbox.acknowledge(ehr.id, "c", ""),
    }
    assert steps.pop(first)()
    assert store.ecgs.get(ecg_id).state is State.SCORED
    (last,) = steps.values()
    assert last()
    assert store.ecgs.get(ecg_id).state is State.REPORTED


def test_an_ecg_whose_every_letter_is_dismissed_is_dismissed(store: Store, clock: Clock):
    """Nobody has it, so it is not reported; a rescore can still bring it back and tell of it."""
    ecg_id = scored(store, "dicom:1", delivery("C1"))
    first = claim(store, clock)
    assert store.outbox.dead(first.id, "c", "gave up")
    assert store.ecgs.dismiss(ecg_id, "anna")
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.score) == (State.DISMISSED, SCORE)
    assert [event.what for event in store.ecgs.events(ecg_id)].count("dismissed") == 1
    assert not store.ecgs.dismiss(ecg_id, "anna")
    assert store.ecgs.rescore(ecg_id, "anna")
    store.ecgs.claim(ecg_id, "w", 60)
    store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=SCORE), [delivery("C1")])
    assert store.outbox.acknowledge(claim(store, clock).id, "c", "")
    assert store.ecgs.get(ecg_id).state is State.REPORTED


def test_a_late_result_that_is_dismissed_ends_its_ecg(store: Store, clock: Clock):
    """The expired alert before it has been followed up, so that nothing of the ECG is held."""
    ecg_id = scored(store, "dicom:1", delivery("C1", alert=True), delivery("C2", "lab"))
    assert store.outbox.acknowledge(claim(store, clock, destination="lab").id, "c", "")
    assert store.outbox.expire(claim(store, clock).id, "c", delivery("C3"))
    clock.forward(1)
    assert store.outbox.reject(claim(store, clock).id, "c", "a" * 64, "AE")
    assert store.ecgs.dismiss(ecg_id, "anna")
    assert store.ecgs.get(ecg_id).state is State.REPORTED


def test_what_waits_for_a_removed_destination_is_given_up_and_can_be_resent(
    store: Store, clock: Clock
):
    """Free ones become dead letters; one in flight is left to its courier while its lease holds."""
    ecg_id = scored(store, "dicom:1", delivery("C1"), delivery("C2", "lab"))
    scored(store, "dicom:2", delivery("C3", "lab"))
    flying = claim(store, clock, destination="lab")
    store.outbox.mark_sent(flying.id, "c")
    [waiting] = store.deliveries.astray({"ehr"})
    assert store.deliveries.give_up([flying.id, waiting], "destination-removed") == 1
    clock.forward(31)
    assert store.deliveries.astray({"ehr"}) == [flying.id]
    assert store.deliveries.give_up([flying.id], "destination-removed") == 1
    assert store.deliveries.astray({"ehr"}) == []
    letters = store.deliveries.dead_letters(10)
    assert [(row.id, row.state, row.last_error) for row in letters] == [
        (waiting, DeliveryState.DEAD, "destination-removed"),
        (flying.id, DeliveryState.DEAD, "destination-removed"),
    ]
    event = store.ecgs.events(ecg_id)[-1]
    assert (event.what, event.detail) == ("dead", "lab: destination-removed")
    assert store.deliveries.resend(flying.id)
    assert claim(store, clock, destination="lab").control_id == "C2"
    assert len(store.deliveries.astray([])) == 1, "without destinations everything free is astray"


def tell_again(store: Store, ecg_id: str, told: NewDelivery) -> list[str]:
    """Rescore an ECG, say something of it, and give what the timeline says then."""
    assert store.ecgs.rescore(ecg_id, "anna")
    store.ecgs.claim(ecg_id, "w", 60)
    assert store.ecgs.finish(ecg_id, "w", Outcome(State.UNSCORABLE, "no-grid"), [told])
    return [event.what for event in store.ecgs.events(ecg_id)]


def unscorable(store: Store, told: NewDelivery) -> str:
    """Take an ECG to `unscorable` with this delivery."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    assert store.ecgs.finish(ecg_id, "w", Outcome(State.UNSCORABLE, "no-grid"), [told])
    return ecg_id


@pytest.mark.parametrize(
    ("end", "dismissed"),
    [
        (lambda box, n: box.reject(n, "c", "a" * 64, "AE"), False),
        (lambda box, n: box.reject(n, "c", "a" * 64, "AE"), True),
        (lambda box, n: box.dead(n, "c", "gave up"), False),
        (lambda box, n: box.expire(n, "c"), False),
    ],
)
def test_what_nobody_took_is_told_again_after_a_rescore(
    store: Store, clock: Clock, end, dismissed: bool
):
    """A message that ended as a dead letter is no message told: the new one takes its place."""
    ecg_id = unscorable(store, delivery("C1", kind="unscorable"))
    first = claim(store, clock)
    assert end(store.outbox, first.id)
    if dismissed:
        assert store.ecgs.dismiss(ecg_id, "anna")
    clock.forward(60)
    anew = delivery("C1", kind="unscorable", payload="1" * 64, patient_key="other")
    what = tell_again(store, ecg_id, anew)
    assert what[-1] == "unscorable queued again"
    assert "unscorable told before" not in what
    again = claim(store, clock)
    assert (again.id, again.payload, again.patient_key) == (first.id, "1" * 64, "other")
    assert (again.attempts, again.last_error, again.ack_digest) == (1, "", "")
    assert again.created_at == clock.time
    assert store.outbox.acknowledge(again.id, "c", "")


def test_what_is_on_its_way_or_was_taken_is_not_told_again(store: Store, clock: Clock):
    """Whoever has a message, or may have it, does not get it a second time."""
    told = delivery("C1", kind="unscorable")
    ecg_id = unscorable(store, told)
    assert tell_again(store, ecg_id, told)[-1] == "unscorable told before"
    first = claim(store, clock)
    assert store.outbox.mark_sent(first.id, "c")
    assert tell_again(store, ecg_id, told)[-1] == "unscorable told before"
    assert store.outbox.acknowledge(first.id, "c", "")
    assert tell_again(store, ecg_id, told)[-1] == "unscorable told before"
    assert nothing(store, clock)


def test_unscorable_stays_unscorable(store: Store, clock: Clock):
    """A told unscorable ECG is acknowledged, but it never turns into a reported score."""
    ecg_id = take(store).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    outcome = Outcome(State.UNSCORABLE, "no-grid")
    store.ecgs.finish(ecg_id, "w", outcome, [delivery("C1", kind="unscorable")])
    assert store.outbox.acknowledge(claim(store, clock).id, "c", "")
    assert store.ecgs.get(ecg_id).state is State.UNSCORABLE


def test_order_per_patient(store: Store, clock: Clock):
    """A patient's second message waits for the first, another patient's does not."""
    scored(store, "dicom:1", delivery("A1", patient_key="a"))
    scored(store, "dicom:2", delivery("A2", patient_key="a"))
    scored(store, "dicom:3", delivery("B1", patient_key="b"))
    first = claim(store, clock)
    assert first.control_id == "A1"
    other = claim(store, clock)
    assert other.control_id == "B1"
    assert nothing(store, clock)
    store.outbox.retry(first.id, "c", clock.time, "PeerBusy")
    assert claim(store, clock).control_id == "A1"
    store.outbox.acknowledge(first.id, "c", "")
    assert claim(store, clock).control_id == "A2"


def test_order_is_per_destination(store: Store, clock: Clock):
    """A destination that is down does not hold up another one."""
    scored(store, "dicom:1", delivery("A1"), delivery("L1", "lab"))
    scored(store, "dicom:2", delivery("A2"), delivery("L2", "lab"))
    claim(store, clock)
    lab = claim(store, clock, destination="lab")
    store.outbox.acknowledge(lab.id, "c", "")
    assert claim(store, clock, destination="lab").control_id == "L2"


def test_without_a_patient_there_is_no_order(store: Store, clock: Clock):
    """Messages of unknown patients do not wait for one another."""
    scored(store, "dicom:1", delivery("C1", patient_key=""))
    scored(store, "dicom:2", delivery("C2", patient_key=""))
    assert {claim(store, clock).control_id, claim(store, clock).control_id} == {"C1", "C2"}


def test_retry_waits_until_its_time(store: Store, clock: Clock):
    """A delivery that was put back is not due before its time, and says when it is."""
    scored(store, "dicom:1", delivery("C1"))
    claimed = claim(store, clock)
    store.outbox.mark_sent(claimed.id, "c")
    later = clock.time.replace(minute=5)
    assert store.outbox.retry(claimed.id, "c", later, "NoAcknowledgement")
    row = store.deliveries.get(claimed.id)
    assert (row.state, row.last_error) == (DeliveryState.PENDING, "NoAcknowledgement")
    assert nothing(store, clock)
    assert store.outbox.next_due("ehr") == later
    clock.forward(300)
    assert claim(store, clock).attempts == 2


def test_an_expired_lease_is_claimed_again(store: Store, clock: Clock):
    """A sender that died after the send is followed by another, which says the same again."""
    scored(store, "dicom:1", delivery("C1"))
    first = claim(store, clock, "one")
    store.outbox.mark_sent(first.id, "one")
    assert nothing(store, clock, "two")
    assert store.outbox.next_due("ehr") == first.lease_until
    clock.forward(30)
    second = claim(store, clock, "two")
    assert (second.id, second.control_id, second.payload) == (first.id, "C1", first.payload)
    assert not store.outbox.acknowledge(first.id, "one", "")
    assert not store.outbox.mark_sent(first.id, "one")
    assert store.outbox.acknowledge(second.id, "two", "")


def test_leases_of_the_dead_are_freed(store: Store, clock: Clock):
    """What a dead process had claimed is due at once, what a living one holds is not."""
    scored(store, "dicom:1", delivery("A", patient_key="a"))
    scored(store, "dicom:2", delivery("B", patient_key="b"))
    claim(store, clock, "dead")
    claim(store, clock, "alive")
    assert store.outbox.free_dead(lambda owner: owner == "dead") == 1
    assert claim(store, clock, "new").control_id == "A"
    assert nothing(store, clock, "new")


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda box, n: box.reject(n, "c", "a" * 64, "AE"), DeliveryState.REJECTED),
        (lambda box, n: box.dead(n, "c", "gave up"), DeliveryState.DEAD),
        (lambda box, n: box.expire(n, "c"), DeliveryState.EXPIRED),
    ],
)
def test_dead_letters_are_held_and_let_the_next_pass(store: Store, clock: Clock, end, state):
    """A delivery that ended badly is listed, and the patient's next one goes on."""
    scored(store, "dicom:1", delivery("C1"))
    scored(store, "dicom:2", delivery("C2"))
    first = claim(store, clock)
    assert end(store.outbox, first.id)
    assert not end(store.outbox, first.id)
    assert [(row.id, row.state) for row in store.deliveries.dead_letters(9)] == [(first.id, state)]
    assert store.deliveries.counts() == {
        ("ehr", state): 1,
        ("ehr", DeliveryState.PENDING): 1,
    }
    assert claim(store, clock).control_id == "C2"


def test_only_dead_letters_are_resent(store: Store):
    """An open or acknowledged delivery is never queued a second time."""
    ecg_id = scored(store, "dicom:1", delivery("C1"))
    assert not store.deliveries.resend(store.deliveries.of_ecg(ecg_id)[0].id)
    assert not store.deliveries.resend(12345)
    with pytest.raises(KeyError):
        store.deliveries.get(12345)


def test_many_couriers_never_claim_the_same(database_url: str, tmp_path: Path):
    """Eight threads on two stores drain 60 deliveries of 20 patients: each once, in order."""
    stores = [open_store(database_url, tmp_path / "blobs") for _ in range(2)]
    for number in range(60):
        scored(
            stores[0],
            f"dicom:{number}",
            delivery(f"{number:02d}", patient_key=f"p{number % 20}", filler=f"p{number % 20}"),
        )
    got: list[tuple[str, str]] = []
    lock = threading.Lock()

    def drain(store: Store, owner: str) -> None:
        while store.outbox.next_due("ehr") is not None:
            row = store.outbox.claim_next("ehr", owner, 60, store.ecgs._db.now())
            if row is None:
                continue
            with lock:
                got.append((row.filler, row.control_id))
            assert store.outbox.acknowledge(row.id, owner, "")

    threads = [
        threading.Thread(target=drain, args=(stores[number % 2], f"t{number}"))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(got) == 60
    for patient in {patient for patient, _ in got}:
        order = [control for who, control in got if who == patient]
        assert order == sorted(order)
    assert stores[0].ecgs.count_by_state()[State.REPORTED] == 60
    for opened in stores:
        opened.close()
