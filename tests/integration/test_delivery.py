"""Results over real sockets to a simulated EHR: every way in which it can fail to answer."""

import contextlib
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from support.ehr import Script, add_result, destination, site

from gateway.delivery.courier import Lease
from gateway.delivery.mllp_sender import MllpSender, tune
from gateway.delivery.pool import CourierPool
from gateway.demo.ehr import Ehr, Manner
from gateway.ecg import DeliveryState, State
from gateway.errors import NoAcknowledgement, PeerUnreachable

DEADLINE_S = 60.0


@pytest.fixture
def ehr(tmp_path):
    with Ehr(tmp_path / "ehr") as receiver:
        yield receiver


@pytest.fixture
def pool(store):
    couriers = CourierPool(store, lease=Lease("test", 2.0), poll_s=0.05)
    yield couriers
    couriers.stop(5.0)


def wait_for_state(store, ecg_id, state, count=1):
    """Poll the store until an ECG has so many deliveries in a state, or the deadline passes."""
    end = time.monotonic() + DEADLINE_S
    tick = threading.Event()
    while time.monotonic() < end:
        found = [row for row in store.deliveries.of_ecg(ecg_id) if row.state is state]
        if len(found) == count:
            return found
        tick.wait(0.02)
    raise AssertionError([row.state for row in store.deliveries.of_ecg(ecg_id)])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_results_arrive_once_and_are_acknowledged(store, ehr, pool):
    """Ten results of ten patients: each filed once, each ECG reported."""
    where = site(destination(ehr.port))
    ecgs = [add_result(store, n, where) for n in range(10)]
    pool.apply(where.destinations)
    for ecg_id in ecgs:
        wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)
        assert store.ecgs.get(ecg_id).state is State.REPORTED
    assert [result.filler for result in ehr.filing.results] == ecgs
    assert set(ehr.filing.deliveries.values()) == {1}


@pytest.mark.parametrize(
    "manner",
    [
        Manner.WRONG_ID,
        Manner.HALF,
        Manner.SILENT,
        Manner.CLOSE,
        Manner.FILE_AND_CLOSE,
        Manner.NOISE,
        Manner.BUSY,
        Manner.BUSY_COMMIT,
    ],
)
def test_no_answer_of_any_kind_is_retried_until_taken_and_filed_once(store, ehr, pool, manner):
    """Two bad answers, then a good one: the EHR has it once, under one MSH-10."""
    ehr.manners = Script([manner, manner])
    where = site(destination(ehr.port, ack_timeout_s=0.3))
    ecg_id = add_result(store, 1, where)
    pool.apply(where.destinations)
    (row,) = wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)
    assert row.attempts == 3
    assert ehr.filing.deliveries == {row.control_id: 3}
    assert len(ehr.filing.of(ecg_id)) == 1


@pytest.mark.parametrize("manner", [Manner.REJECT, Manner.REJECT_COMMIT])
def test_a_refusal_is_a_dead_letter_and_delays_nobody(store, ehr, pool, manner):
    """AE and CE are final; the next result goes out on the same connection."""
    ehr.manners = Script([manner])
    where = site(destination(ehr.port))
    refused = add_result(store, 1, where)
    taken = add_result(store, 2, where)
    pool.apply(where.destinations)
    wait_for_state(store, refused, DeliveryState.REJECTED)
    wait_for_state(store, taken, DeliveryState.ACKNOWLEDGED)
    assert store.ecgs.get(refused).state is State.SCORED
    assert [letter.ecg_id for letter in store.deliveries.dead_letters(10)] == [refused]


def test_a_commit_acknowledgement_counts(store, ehr, pool):
    """An EHR that answers in enhanced mode has taken the message with CA."""
    ehr.manners = Script([Manner.ACCEPT_COMMIT])
    where = site(destination(ehr.port))
    ecg_id = add_result(store, 1, where)
    pool.apply(where.destinations)
    wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)


def test_an_outage_ends_with_everything_delivered_in_order_per_patient(store, tmp_path, pool):
    """The EHR is down, results pile up, it comes up: all filed once, each patient's in order."""
    port = free_port()
    where = site(destination(port))
    ecgs = [add_result(store, n, where, patient=f"P{n % 3}") for n in range(12)]
    pool.apply(where.destinations)
    end = time.monotonic() + DEADLINE_S
    while not store.deliveries.of_ecg(ecgs[0])[0].attempts > 2:
        assert time.monotonic() < end
        threading.Event().wait(0.02)
    with Ehr(tmp_path / "ehr", port=port) as ehr:
        assert ehr.filing.wait_for(12, DEADLINE_S)
        for ecg_id in ecgs:
            wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)
        pool.stop(5.0)
        filed = [result.filler for result in ehr.filing.results]
    for patient in range(3):
        assert [f for f in filed if ecgs.index(f) % 3 == patient] == ecgs[patient::3]


def test_an_ehr_that_restarts_between_messages_is_reconnected_without_a_lost_attempt(
    store, ehr, pool
):
    """The end of the connection is seen before the next send, so nothing is sent into the void."""
    where = site(destination(ehr.port))
    pool.apply(where.destinations)
    first = add_result(store, 1, where)
    wait_for_state(store, first, DeliveryState.ACKNOWLEDGED)
    ehr.cut()
    second = add_result(store, 2, where)
    (row,) = wait_for_state(store, second, DeliveryState.ACKNOWLEDGED)
    assert row.attempts == 1


def test_every_destination_gets_its_own_message(store, ehr, pool, tmp_path):
    """Two EHRs, one of them down: the other is not kept waiting."""
    where = site(destination(ehr.port, "up"), destination(free_port(), "down"))
    ecg_id = add_result(store, 1, where)
    pool.apply(where.destinations)
    (row,) = wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)
    assert row.destination == "up"
    assert store.ecgs.get(ecg_id).state is State.SCORED


def test_the_pool_follows_the_site(store, ehr, pool, tmp_path):
    """A destination that moves is served at its new place; one that left is not served."""
    moved = site(destination(ehr.port))
    pool.apply(site(destination(free_port())).destinations)
    ecg_id = add_result(store, 1, moved)
    pool.apply(moved.destinations)
    wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)
    pool.apply(())
    assert pool.destinations == ()
    later = add_result(store, 2, moved)
    pool.wake()
    assert [row.state for row in store.deliveries.of_ecg(later)] == [DeliveryState.PENDING]


def test_stopping_does_not_wait_for_a_silent_ehr_and_loses_nothing(store, ehr):
    """A stop cuts the message in flight, which stays open and goes out at the next start."""
    ehr.manners = Script([Manner.SILENT])
    where = site(destination(ehr.port, ack_timeout_s=DEADLINE_S))
    ecg_id = add_result(store, 1, where)
    first = CourierPool(store, lease=Lease("first", 2.0), poll_s=0.05)
    first.apply(where.destinations)
    assert ehr.filing.wait_for_deliveries(1, DEADLINE_S)
    first.stop(0.1)
    assert store.deliveries.of_ecg(ecg_id)[0].state is DeliveryState.PENDING
    second = CourierPool(store, lease=Lease("second", 2.0), poll_s=0.05)
    second.apply(where.destinations)
    try:
        wait_for_state(store, ecg_id, DeliveryState.ACKNOWLEDGED)
    finally:
        second.stop(5.0)
    assert len(ehr.filing.of(ecg_id)) == 1


def message(number):
    return b"MSH|^~\\&|G|H|E|H|2026||ORU^R01|ID%d|T|2.5.1\rOBR|1||F%d|X\rNTE|1||\r" % (
        number,
        number,
    )


def test_a_late_acknowledgement_credits_nobody():
    """An AA that comes after the timeout finds its connection closed; the next needs its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = MllpSender(destination(server.getsockname()[1], ack_timeout_s=0.2))
        with pytest.raises(NoAcknowledgement):
            sender.send(message(1), "ID1")
        with server.accept()[0] as old:
            assert b"ID1" in old.recv(1 << 16)
            with pytest.raises(NoAcknowledgement):
                sender.send(message(2), "ID2")
            assert old.recv(1) == b""  # closed by us: whatever is said here is heard by nobody
        sender.close()


def test_bytes_that_nobody_asked_for_end_the_connection_before_the_next_send(ehr):
    """An unsolicited acknowledgement waiting on the line is never taken for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = MllpSender(destination(server.getsockname()[1], ack_timeout_s=10.0))
        answered = threading.Thread(target=answer_and_chatter, args=(server,), daemon=True)
        answered.start()
        assert b"MSA|AA|ID1" in sender.send(message(1), "ID1")
        assert b"MSA|AA|ID2" in sender.send(message(2), "ID2")
        sender.close()
        answered.join(DEADLINE_S)
        assert not answered.is_alive()


def answer_and_chatter(server):
    """Answer the first message and add an AA for the second; answer the second elsewhere."""
    with server.accept()[0] as first:
        first.recv(1 << 16)
        first.sendall(ack("ID1") + ack("ID2"))
        with server.accept()[0] as second:
            assert b"ID2" in second.recv(1 << 16)
            second.sendall(ack("ID2"))
            assert second.recv(1) == b""


def ack(control_id):
    return f"\x0bMSH|^~\\&|E|H|G|H|2026||ACK|9|T|2.5.1\rMSA|AA|{control_id}\r\x1c\r".encode()


def dribble(server, data):
    """Take a message, then say the same again and again until the other side has closed."""
    with server.accept()[0] as peer, contextlib.suppress(OSError):
        peer.recv(1 << 16)
        while True:
            peer.sendall(data)
            threading.Event().wait(0.01)


@pytest.mark.parametrize(
    ("data", "timeout_s"),
    [(b"x", 0.3), (b"\x0bMSA", 0.3), (b"\x0b" + b"x" * (1 << 18), DEADLINE_S)],
)
def test_an_answer_without_end_is_none(data, timeout_s):
    """Bytes that keep coming do not keep the courier: the timeout is of the whole answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = MllpSender(destination(server.getsockname()[1], ack_timeout_s=timeout_s))
        talking = threading.Thread(target=dribble, args=(server, data), daemon=True)
        talking.start()
        with pytest.raises(NoAcknowledgement):
            sender.send(message(1), "ID1")
        talking.join(DEADLINE_S)
        assert not talking.is_alive()  # the connection was closed, so nothing late is heard


def test_an_answer_in_pieces_is_an_answer():
    """TCP may cut an acknowledgement anywhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = MllpSender(destination(server.getsockname()[1], ack_timeout_s=DEADLINE_S))

        def answer():
            with server.accept()[0] as peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.recv(1 << 16)
                for byte in ack("ID1"):
                    peer.sendall(bytes([byte]))
                peer.recv(1)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        assert b"MSA|AA|ID1" in sender.send(message(1), "ID1")
        sender.close()
        answering.join(DEADLINE_S)


def test_a_peer_that_reads_nothing_is_an_unknown_outcome():
    """A message that fits into no buffer ends at the timeout, not never."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = MllpSender(destination(server.getsockname()[1], ack_timeout_s=0.3))
        with pytest.raises(NoAcknowledgement):
            sender.send(b"x" * (64 << 20), "ID1")


def test_an_idle_line_is_probed():
    """A connection that a firewall forgot is found out within two minutes, not two hours."""
    with socket.socket() as line:
        tune(line)
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle_s, interval_s, probes = (line.getsockopt(socket.IPPROTO_TCP, name) for name in names)
        assert idle_s + interval_s * probes < 120


def test_nobody_listening_is_unreachable_and_an_aborted_sender_stays_closed(ehr):
    """No connection is an unknown outcome; after an abort no connection is made."""
    with pytest.raises(PeerUnreachable):
        MllpSender(destination(free_port())).send(message(1), "ID1")
    sender = MllpSender(destination(ehr.port))
    sender.abort()
    with pytest.raises(PeerUnreachable):
        sender.send(message(1), "ID1")
    assert ehr.filing.results == []


def test_an_ehr_that_restarts_still_knows_what_it_filed(tmp_path):
    """The simulated EHR's memory is its folder, so exactly-once can be judged across restarts."""
    sent_at = datetime.now(UTC)
    with Ehr(tmp_path) as ehr:
        sender = MllpSender(destination(ehr.port))
        sender.send(message(1), "ID1")
        sender.close()
    with Ehr(tmp_path) as again:
        sender = MllpSender(destination(again.port))
        sender.send(message(1), "ID1")
        sender.close()
        assert [result.control_id for result in again.filing.results] == ["ID1"]
    assert datetime.now(UTC) >= sent_at
