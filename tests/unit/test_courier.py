"""The courier's decisions, with a real store, a fake wire and a clock that the test moves."""

import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from support.ehr import add_result, destination, site
from support.stores import lose

from gateway.delivery.answers import judge
from gateway.delivery.courier import Courier, Lease, Rules, Ruling
from gateway.delivery.prepare import prepare_late
from gateway.ecg import DeliveryState, Patient, State
from gateway.errors import (
    NoAcknowledgement,
    PeerBusy,
    PeerUnreachable,
    Rejected,
    StoreUnavailable,
)
from gateway.hl7.reading import read
from gateway.policy import Mode
from gateway.store import open_store
from gateway.store.blobs import SMALL_BYTES

EHR = destination(1, retry_first_s=0.001, retry_max_s=0.004)


class FakeWire:
    """Takes messages and answers by script: an exception to raise, or None for AA."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []

    def send(self, message, control_id):
        self.sent.append((control_id, message))
        step = self.script.pop(0) if self.script else None
        if step is not None:
            raise step
        return b"MSH|^~\\&|\rMSA|AA|" + control_id.encode() + b"\r"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


def make(store, wire, clock, where=EHR, **options):
    lease = Lease("courier", 5.0)
    return Courier(store, where, wire, lease=lease, wait=lambda _s: None, now=clock, **options)


def instead(store, where, clock, delivery):
    """What is told when an alert is too old."""
    ecg = store.ecgs.get(delivery.ecg_id)
    return prepare_late(ecg, delivery.destination, where, keep=store.blobs.put, now=clock())


def states(store, *ecg_ids):
    return [row.state for ecg_id in ecg_ids for row in store.deliveries.of_ecg(ecg_id)]


def drain(courier, clock, steps=50):
    """Step until nothing is due even after the longest pause; tells how many steps did work."""
    done = 0
    for _ in range(steps):
        clock.move(1)
        if not courier.step(threading.Event()):
            break
        done += 1
    return done


def test_an_accepted_message_is_acknowledged_and_its_ecg_reported(store, clock):
    """One message, one AA, and both messages kept as evidence."""
    ecg_id = add_result(store, 1, site(EHR))
    clock.move(1)
    assert make(store, FakeWire(), clock).step(threading.Event())
    assert states(store, ecg_id) == [DeliveryState.ACKNOWLEDGED]
    assert store.ecgs.get(ecg_id).state is State.REPORTED
    (note,) = store.messages.of_ecg(ecg_id)
    assert (note.direction, note.peer, note.outcome) == ("out", "ehr", "AA")
    assert b"MSA|AA" in store.blobs.get(note.answer_digest)


def test_an_unknown_outcome_is_retried_with_the_same_bytes_for_ever(store, clock):
    """However often the answer is missing, the same message goes out until it is taken."""
    ecg_id = add_result(store, 1, site(EHR))
    wire = FakeWire(*[PeerUnreachable("gone"), NoAcknowledgement("late")] * 20)
    assert drain(make(store, wire, clock), clock) == 41
    assert states(store, ecg_id) == [DeliveryState.ACKNOWLEDGED]
    assert len(set(wire.sent)) == 1


def test_a_patient_who_was_merged_is_renamed_before_the_next_attempt(store, clock):
    """The same MSH-10 under the identifier that is left; the attempts after it send it as it is."""
    ecg_id = add_result(store, 1, site(EHR), patient="P1")
    wire, word = FakeWire(PeerUnreachable("gone"), PeerUnreachable("gone")), Ruling()
    rules = Rules(on=lambda *_: word)
    courier = make(store, wire, clock, rules=rules)
    clock.move(1)
    courier.step(threading.Event())
    word = Ruling(merged=Patient("P9", "HOSP"))
    drain(courier, clock)
    assert len({control_id for control_id, _ in wire.sent}) == 1
    before, *after = (read(message) for _, message in wire.sent)
    assert before.get("PID-3.1") == "P1"
    assert [(m.get("PID-3.1"), m.get("PID-3.4")) for m in after] == [("P9", "HOSP")] * 2
    (delivery,) = store.deliveries.of_ecg(ecg_id)
    assert delivery.state is DeliveryState.ACKNOWLEDGED
    assert store.blobs.get(delivery.payload) == wire.sent[-1][1]
    assert [event.what for event in store.ecgs.events(ecg_id)].count("patient merged") == 1


def test_a_refused_message_is_a_dead_letter_and_the_next_one_goes(store, clock):
    """AE holds the message for a person; the same patient's next message is not held up."""
    first = add_result(store, 1, site(EHR), patient="P")
    second = add_result(store, 2, site(EHR), patient="P")
    wire = FakeWire(Rejected("AE, ERR-3 207", b"MSH|the answer"))
    assert drain(make(store, wire, clock), clock) == 2
    assert states(store, first, second) == [DeliveryState.REJECTED, DeliveryState.ACKNOWLEDGED]
    (letter,) = store.deliveries.dead_letters(10)
    assert letter.last_error == "AE, ERR-3 207"
    assert store.blobs.get(letter.ack_digest) == b"MSH|the answer"


def test_one_message_is_in_flight(store, clock):
    """However many patients wait, the next message is sent when the one before has its answer."""
    ecgs = [add_result(store, number, site(EHR)) for number in range(5)]
    in_flight = []

    class Watch(FakeWire):
        def send(self, message, control_id):
            in_flight.append(states(store, *ecgs).count(DeliveryState.SENT))
            return super().send(message, control_id)

    drain(make(store, Watch(), clock), clock)
    assert in_flight == [1] * 5


def test_busy_is_retried_a_bounded_number_of_times(store, clock):
    """AR is asked again as often as the destination allows, then becomes a dead letter."""
    where = destination(1, max_busy_retries=3)
    ecg_id = add_result(store, 1, site(where))
    wire = FakeWire(*[PeerBusy("AR")] * 10)
    drain(make(store, wire, clock, where), clock)
    assert len(wire.sent) == 4
    assert states(store, ecg_id) == [DeliveryState.DEAD]


def test_an_outage_does_not_count_as_busy(store, clock):
    """After any number of unreachable attempts the AR bound is still whole."""
    where = destination(1, max_busy_retries=1)
    ecg_id = add_result(store, 1, site(where))
    wire = FakeWire(*[PeerUnreachable("gone")] * 30, PeerBusy("AR"))
    drain(make(store, wire, clock, where), clock)
    assert states(store, ecg_id) == [DeliveryState.ACKNOWLEDGED]


def test_a_poison_message_blocks_its_patient_only(store, clock):
    """While one patient's message fails, others go out, and that patient's order is kept."""
    poison = add_result(store, 1, site(EHR), patient="A")
    behind = add_result(store, 2, site(EHR), patient="A")
    other = add_result(store, 3, site(EHR), patient="B")
    wire = FakeWire(NoAcknowledgement("hangs"))
    courier = make(store, wire, clock)
    clock.move(1)
    assert courier.step(threading.Event())
    assert courier.step(threading.Event())
    assert states(store, poison, behind, other) == [
        DeliveryState.PENDING,
        DeliveryState.PENDING,
        DeliveryState.ACKNOWLEDGED,
    ]
    drain(courier, clock)
    order = [control_id for control_id, _ in wire.sent]
    assert order == [
        store.deliveries.of_ecg(ecg)[0].control_id for ecg in (poison, other, poison, behind)
    ]


def test_a_stale_alert_expires_and_a_plain_result_does_not(store, clock):
    """After the deadline an alert is held as late, unsent; results without one still go."""
    alert = add_result(store, 1, site(EHR, deadline_s=60.0))
    wire = FakeWire()
    courier = make(store, wire, clock)
    clock.move(61)
    assert courier.step(threading.Event())
    assert states(store, alert) == [DeliveryState.EXPIRED]
    plain = add_result(store, 2, site(EHR, deadline_s=60.0), score=None)
    clock.move(600)
    assert courier.step(threading.Event())
    assert states(store, plain) == [DeliveryState.ACKNOWLEDGED]
    assert len(wire.sent) == 1


def test_a_stale_alert_is_filed_as_late(store, clock):
    """After the deadline the result still arrives: as a plain one, marked late, and once."""
    where = site(EHR, deadline_s=60.0)
    ecg_id = add_result(store, 1, where)
    wire = FakeWire(PeerUnreachable("the EHR is down"))
    courier = make(store, wire, clock, rules=Rules(partial(instead, store, where, clock)))
    drain(courier, clock, steps=1)
    clock.move(61)
    drain(courier, clock)
    assert states(store, ecg_id) == [DeliveryState.EXPIRED, DeliveryState.ACKNOWLEDGED]
    alert, late = store.deliveries.of_ecg(ecg_id)
    assert (late.kind, late.alert, late.expires_at) == ("result", False, None)
    assert late.control_id != alert.control_id
    assert late.filler == alert.filler
    assert b"|late^" in wire.sent[-1][1]
    assert store.ecgs.get(ecg_id).state is State.REPORTED
    assert not store.deliveries.resend(alert.id)


def test_an_alert_whose_site_has_a_longer_deadline_by_now_is_filed_all_the_same(store, clock):
    """A waiting alert keeps its own deadline; what comes after it is never silence."""
    ecg_id = add_result(store, 1, site(EHR, deadline_s=60.0))
    longer = site(EHR, deadline_s=86400.0)
    wire = FakeWire()
    courier = make(store, wire, clock, rules=Rules(partial(instead, store, longer, clock)))
    clock.move(61)
    drain(courier, clock)
    assert states(store, ecg_id) == [DeliveryState.EXPIRED, DeliveryState.ACKNOWLEDGED]
    _, late = store.deliveries.of_ecg(ecg_id)
    assert (late.kind, late.alert, late.expires_at) == ("result", False, None)
    assert [control_id for control_id, _ in wire.sent] == [late.control_id]
    assert b"|late^" in wire.sent[0][1]
    assert store.ecgs.get(ecg_id).state is State.REPORTED


def test_an_alert_is_filed_where_the_site_alerts_no_more(store, clock):
    """A site that goes back to canary interrupts nobody by what had waited; the result is filed."""
    ehr = destination(1, test=False)
    ecg_id = add_result(store, 1, site(ehr, mode=Mode.LIVE), validated=True)
    canary = site(ehr, mode=Mode.CANARY)
    rules = Rules(partial(instead, store, canary, clock), on=lambda *_: Ruling(alerts=False))
    wire = FakeWire()
    courier = make(store, wire, clock, ehr, rules=rules)
    drain(courier, clock)
    alert, filed = store.deliveries.of_ecg(ecg_id)
    assert (alert.kind, alert.state) == ("alert", DeliveryState.EXPIRED)
    assert (filed.kind, filed.state) == ("result", DeliveryState.ACKNOWLEDGED)
    assert [control_id for control_id, _ in wire.sent] == [filed.control_id]
    assert b"|file^" in wire.sent[0][1]


def test_what_adt_contradicts_while_it_waits_is_not_sent(store, clock):
    """A patient who came into doubt since is not told of; another patient's result goes out."""
    doubtful = add_result(store, 1, site(EHR))
    sure = add_result(store, 2, site(EHR))
    doubts = {doubtful: "patient-mismatch-family", sure: ""}
    wire = FakeWire()
    rules = Rules(on=lambda delivery, _destination: Ruling(doubts[delivery.ecg_id]))
    courier = make(store, wire, clock, rules=rules)
    drain(courier, clock)
    assert states(store, doubtful, sure) == [DeliveryState.DEAD, DeliveryState.ACKNOWLEDGED]
    (letter,) = store.deliveries.dead_letters(10)
    assert letter.last_error == "patient-mismatch-family"
    assert len(wire.sent) == 1
    doubts[doubtful] = ""
    assert store.deliveries.resend(letter.id)
    drain(courier, clock)
    assert states(store, doubtful) == [DeliveryState.ACKNOWLEDGED]


def test_a_site_that_tells_nobody_any_more_keeps_a_stale_alert(store, clock):
    """What policy no longer sends stays with the person who looks at expired alerts."""
    ecg_id = add_result(store, 1, site(EHR, deadline_s=60.0))
    silent = site(EHR, deadline_s=60.0, mode=Mode.OFF)
    courier = make(store, FakeWire(), clock, rules=Rules(partial(instead, store, silent, clock)))
    clock.move(61)
    drain(courier, clock)
    assert states(store, ecg_id) == [DeliveryState.EXPIRED]
    assert store.ecgs.get(ecg_id).state is State.SCORED
    assert len(store.deliveries.dead_letters(10)) == 1


def test_a_message_whose_courier_died_goes_out_again_after_its_lease(store, clock):
    """A claim that came to no outcome holds for its lease, then the same bytes are sent."""
    ecg_id = add_result(store, 1, site(EHR))
    clock.move(1)
    claimed = store.outbox.claim_next("ehr", "dead courier", 30.0, clock())
    store.outbox.mark_sent(claimed.id, "dead courier")
    courier = make(store, FakeWire(), clock)
    assert not courier.step(threading.Event())
    clock.move(31)
    assert courier.step(threading.Event())
    assert states(store, ecg_id) == [DeliveryState.ACKNOWLEDGED]


@pytest.mark.parametrize("error", [None, Rejected("AE", b"no")], ids=["AA", "AE"])
def test_a_full_disk_does_not_undo_an_answer(database_url, tmp_path, store, clock, error):
    """What the peer said is committed once, so nothing is sent again for want of disk."""
    ecg_id = add_result(store, 1, site(EHR))
    full = open_store(database_url, tmp_path / "blobs", disk_reserve_mb=10**9, now=clock)
    wire = FakeWire(error)
    drain(make(full, wire, clock), clock)
    full.close()
    assert len(wire.sent) == 1
    assert states(store, ecg_id) != [DeliveryState.SENT]
    assert store.messages.of_ecg(ecg_id)[0].answer_digest


def test_an_answer_that_cannot_be_kept_still_counts(store, clock):
    """Even when there is no room for its blob, an AA ends the delivery."""
    ecg_id = add_result(store, 1, site(EHR))
    wire = FakeWire()
    send = wire.send

    def send_and_lose_the_disk(message, control_id):
        for folder in store.blobs._files.path("0" * 64).parents[1].iterdir():
            folder.rename(folder.with_name(f"away-{folder.name}"))
        return send(message, control_id) + b"NTE|" + bytes(SMALL_BYTES)

    wire.send = send_and_lose_the_disk
    drain(make(store, wire, clock), clock)
    assert states(store, ecg_id) == [DeliveryState.ACKNOWLEDGED]
    assert store.messages.of_ecg(ecg_id)[0].answer_digest is None


def test_an_acknowledgement_is_one_commit(store, clock):
    """The delivery's state, the log of messages and the peer's answer stand or fall together."""
    ecg_id = add_result(store, 1, site(EHR))
    commits = []
    sa.event.listen(store._db.engine, "commit", commits.append)
    drain(make(store, FakeWire(), clock), clock)
    assert len(commits) == 1
    assert states(store, ecg_id) == [DeliveryState.ACKNOWLEDGED]
    assert store.messages.of_ecg(ecg_id)[0].answer_digest


def test_a_message_whose_bytes_are_lost_is_a_dead_letter(store, clock):
    """A lost blob is shown to a person, and the patient's next result goes out."""
    lost = add_result(store, 1, site(EHR), patient="P")
    good = add_result(store, 2, site(EHR), patient="P")
    lose(store, store.deliveries.of_ecg(lost)[0].payload)
    drain(make(store, FakeWire(), clock), clock)
    assert states(store, lost, good) == [DeliveryState.DEAD, DeliveryState.ACKNOWLEDGED]


def test_pauses_double_up_to_the_cap():
    """Backoff is bounded however long the outage is."""
    where = destination(1, retry_first_s=1.0, retry_max_s=60.0)
    assert [where.pause_s(n) for n in (0, 1, 2, 3, 7, 10_000)] == [0, 1, 2, 4, 60, 60]


def test_an_error_that_nobody_foresaw_is_retried_with_backoff(store, clock):
    """It ends the attempt like an unknown outcome, and holds up no other patient's result."""
    faulty = add_result(store, 1, site(EHR))
    other = add_result(store, 2, site(EHR))
    calls = []

    def rule(delivery, _destination):
        calls.append(delivery.ecg_id)
        if calls.count(faulty) < 4 and delivery.ecg_id == faulty:
            raise ZeroDivisionError("Anna Test")
        return Ruling()

    courier = make(store, FakeWire(), clock, rules=Rules(on=rule))
    clock.move(1)
    with capture_logs() as logs:
        assert courier.step(threading.Event())
    (row,) = store.deliveries.of_ecg(faulty)
    assert (row.state, row.last_error) == (DeliveryState.PENDING, "ZeroDivisionError")
    assert row.next_attempt_at == clock() + timedelta(seconds=EHR.pause_s(1))
    (fault,) = [event for event in logs if event["event"] == "delivery.fault"]
    assert fault["exc_info"]
    assert "Anna" not in str(store.ecgs.events(faulty))
    assert courier.step(threading.Event())
    assert states(store, faulty, other) == [DeliveryState.PENDING, DeliveryState.ACKNOWLEDGED]
    assert drain(courier, clock) == 3
    assert states(store, faulty) == [DeliveryState.ACKNOWLEDGED]
    assert calls == [faulty, other, *[faulty] * 3]


def test_trouble_of_the_store_is_no_fault_of_a_delivery(store, clock):
    """Its claim runs out by itself, for nothing can be written of it now."""
    add_result(store, 1, site(EHR))

    def rule(*_):
        raise StoreUnavailable("away")

    clock.move(1)
    with pytest.raises(StoreUnavailable):
        make(store, FakeWire(), clock, rules=Rules(on=rule)).step(threading.Event())


def test_a_store_in_trouble_does_not_end_the_courier(store, clock):
    """Whatever a step raises, the courier goes on until it is told to stop."""
    stop = threading.Event()

    class Broken:
        """Fails once as a store would, once as a bug would, then says stop."""

        def __init__(self):
            self.calls = 0

        def __call__(self):
            self.calls += 1
            if self.calls == 3:
                stop.set()
            raise (PeerBusy("store"), ZeroDivisionError())[self.calls % 2]

    broken = Broken()
    courier = make(store, FakeWire(), broken)
    courier.trouble_pause_s = 0.0
    with capture_logs() as logs:
        courier.run(stop)
    assert broken.calls == 3
    assert [event["event"] for event in logs if event.get("exc_info")] == ["courier.fault"] * 2


ACK = b"MSH|^~\\&|E|H|G|H|2026||ACK|9|T|2.5.1\rMSA|%s|%s\r%s"


@pytest.mark.parametrize("code", [b"AA", b"CA"])
def test_a_matching_acceptance_is_an_acknowledgement(code):
    """AA and CA with our MSH-10 in MSA-2 credit the message."""
    judge(ACK % (code, b"ID1", b""), "ID1")


def test_free_text_in_any_character_set_hides_no_acceptance():
    """An AA whose MSA-3 has undeclared Latin-1 letters is an AA, not a reason to send again."""
    judge(ACK % (b"AA", b"ID1|\xfcbernommen", b""), "ID1")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ACK % (b"AE", b"ID1", b""), Rejected),
        (ACK % (b"CE", b"ID1", b""), Rejected),
        (ACK % (b"AR", b"ID1", b""), PeerBusy),
        (ACK % (b"CR", b"ID1", b""), PeerBusy),
        (ACK % (b"AA", b"ID2", b""), NoAcknowledgement),
        (ACK % (b"AE", b"ID2", b""), NoAcknowledgement),
        (ACK % (b"AA", b"", b""), NoAcknowledgement),
        (ACK % (b"OK", b"ID1", b""), NoAcknowledgement),
        (b"MSH|^~\\&|E|H|G|H|2026||ACK|9|T|2.5.1\r", NoAcknowledgement),
        (b"HELLO\r", NoAcknowledgement),
        (b"", NoAcknowledgement),
        (b"\xff\xfe\x00", NoAcknowledgement),
    ],
)
def test_everything_else_is_told_apart(answer, error):
    """AE/CE, AR/CR and what is no answer to this message are three different things."""
    with pytest.raises(error) as caught:
        judge(answer, "ID1")
    assert caught.value.answer == answer


def test_a_peers_free_text_never_becomes_an_error_text():
    """MSA-3 and ERR may quote the patient; only codes are repeated (promise 7)."""
    err = b"ERR||PID^1|204^Unknown Doe^HL70357|E||||no patient Doe\r"
    with pytest.raises(Rejected) as caught:
        judge(ACK % (b"AE", b"ID1|Doe unknown", err), "ID1")
    assert str(caught.value) == "AE, ERR-3 204"
