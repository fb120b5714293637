"""The MLLP listener on real sockets."""

from __future__ import annotations

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.hl7 import DEADLINE_S, Client, adt, inbox_on, listening, oru

from gateway.ecg import Receipt, State
from gateway.hl7.acks import ACCEPTED, answers
from gateway.hl7.framing import frame
from gateway.hl7.head import read_head
from gateway.hl7.inbox import Handled
from gateway.hl7.peers import Peer
from listeners.mllp import MllpListener, MllpOptions


def say_aa(raw: bytes, _address: str) -> Handled:
    from support.hl7 import at_noon

    return Handled(answers(read_head(raw), ACCEPTED, at_noon()))


class Notes:
    """A list that other threads append to and a test waits on."""

    def __init__(self):
        self.items, self.changed = [], threading.Condition()

    def __call__(self, *what):
        with self.changed:
            self.items.append(what)
            self.changed.notify_all()

    def wait(self, count=1):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.items) >= count, DEADLINE_S)
            return list(self.items)


def test_a_message_is_taken_answered_and_then_a_worker_woken(store):
    """The whole way: bytes in, row committed, AA out, wake-up after it."""
    woken = Notes()
    with listening(inbox_on(store).handle, wake=woken) as port, Client(port) as client:
        assert client.ask(oru("C1")).get("MSA-1") == "AA"
        ((receipt,),) = woken.wait()
    assert store.ecgs.get(receipt.ecg_id).state is State.RECEIVED
    assert store.ecgs.get(receipt.ecg_id).source.address == "127.0.0.1"


def test_a_worker_is_woken_only_after_the_answer():
    """The peer has its answer while the wake-up still hangs."""
    release = threading.Event()
    receipt = Receipt("e1", new=True, state=State.RECEIVED)

    def handle(raw, address):
        return Handled(say_aa(raw, address).answers, (receipt,))

    with (
        listening(handle, wake=lambda _: release.wait(DEADLINE_S)) as port,
        Client(port) as client,
    ):
        assert client.ask(oru("C1")).get("MSA-2") == "C1"
        release.set()


def test_a_worker_is_woken_though_the_peer_is_gone():
    """What was accepted is scored at once, also if nobody waits for the answer any more."""
    gone = threading.Event()
    woken = Notes()
    receipt = Receipt("e1", new=True, state=State.RECEIVED)

    def handle(raw, address):
        assert gone.wait(DEADLINE_S)
        return Handled(say_aa(raw, address).answers * 100_000, (receipt,))

    with listening(handle, wake=woken) as port:
        with Client(port) as client:
            client.send(oru("C1"))
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.set()
        assert woken.wait() == [(receipt,)]


def test_a_connection_carries_many_messages():
    """Persistent connections: pipelined messages are answered one by one, in order."""
    with listening(say_aa) as port, Client(port) as client:
        client.send(*(adt(f"A{n}") for n in range(50)))
        assert [client.answer().get("MSA-2") for _ in range(50)] == [f"A{n}" for n in range(50)]


def test_a_message_in_single_bytes_is_taken():
    """TCP may cut anywhere."""
    with listening(say_aa) as port, Client(port) as client:
        for byte in frame(adt("A1")):
            client.socket.sendall(bytes([byte]))
        assert client.answer().get("MSA-2") == "A1"


def test_many_connections_are_served_at_once(store):
    """Twenty senders, ten messages each: all answered, all kept."""

    def one(number):
        with Client(port) as client:
            return [client.ask(adt(f"N{number}.{n}")).get("MSA-1") for n in range(10)]

    with listening(inbox_on(store).handle) as port, ThreadPoolExecutor(20) as pool:
        told = [code for codes in pool.map(one, range(20)) for code in codes]
    assert told == ["AA"] * 200
    assert len(store.messages.recent(1000)) == 200


def test_a_slow_store_does_not_hold_up_the_others():
    """One message hangs in its thread; another connection is answered meanwhile."""
    release = threading.Event()

    def handle(raw, address):
        if b"SLOW" in raw:
            release.wait(DEADLINE_S)
        return say_aa(raw, address)

    with listening(handle) as port, Client(port) as slow, Client(port) as quick:
        slow.send(adt("SLOW"))
        assert quick.ask(adt("QUICK")).get("MSA-2") == "QUICK"
        release.set()
        assert slow.answer().get("MSA-2") == "SLOW"


def test_a_nack_keeps_the_connection(store):
    """A message that cannot be taken is told so; the next one on the line is taken."""
    with listening(inbox_on(store).handle) as port, Client(port) as client:
        assert client.ask(b"garbage").get("MSA-1") == "AE"
        assert client.ask(oru("C1", b"junk")).get("MSA-1") == "AE"
        assert client.ask(oru("C2", version="7")).get("MSA-1") == "AR"
        assert client.ask(oru("C3")).get("MSA-1") == "AA"


def test_enhanced_mode_sends_both_answers():
    """The accept answer comes first, the application answer behind it."""

    def handle(raw, _address):
        from support.hl7 import at_noon

        return Handled(answers(read_head(raw), ACCEPTED, at_noon()))

    with listening(handle) as port, Client(port) as client:
        client.send(oru("C1", accept="AL", application="AL"))
        assert [client.answer().get("MSA-1") for _ in range(2)] == ["CA", "AA"]


def test_no_answer_is_sent_where_none_was_asked_for(store):
    """MSH-15 and -16 `NE`: the message is taken in silence, the line lives on."""
    with listening(inbox_on(store).handle) as port, Client(port) as client:
        client.send(oru("C1", accept="NE", application="NE"))
        assert client.ask(oru("C2")).get("MSA-2") == "C2"
    assert len(store.ecgs.recent(10)) == 2


def test_noise_between_frames_is_skipped():
    """Line feeds and rubbish between frames harm nobody."""
    with listening(say_aa) as port, Client(port) as client:
        client.socket.sendall(b"\r\n\r\nhello" + frame(adt("A1")) + b"\x00\x00")
        assert client.answer().get("MSA-2") == "A1"
        assert client.ask(adt("A2")).get("MSA-2") == "A2"


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(500),
        b"\xff" * 300_000,
        b"MSH|^~\\&|",
    ],
)
def test_garbage_does_not_kill_the_listener(junk):
    """A browser, a TLS client, a flood: the next sender is served."""
    with listening(say_aa) as port:
        with Client(port) as client:
            client.socket.sendall(junk)
        with Client(port) as client:
            assert client.ask(adt("A1")).get("MSA-2") == "A1"


def test_a_flood_without_a_frame_is_cut_off_and_noted():
    """Who never speaks MLLP is not listened to for ever."""
    refused = Notes()
    with listening(say_aa, refused=refused) as port, Client(port) as client:
        client.socket.sendall(b"x" * 70_000)
        assert client.closed()
        assert refused.wait() == [("hl7", "", "127.0.0.1", "not-mllp")]


def test_a_frame_over_the_cap_is_answered_and_cut_off():
    """AE names the limit and the message's own control id; memory stays bounded."""
    refused = Notes()
    options = MllpOptions(max_message_bytes=10_000)
    with listening(say_aa, options, refused=refused) as port, Client(port) as client:
        client.socket.sendall(b"\x0b" + oru("BIG")[:100] + b"x" * 9_999)
        answer = client.answer()
        assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AE", "BIG")
        assert "10000 bytes" in answer.get("ERR-8")
        assert client.closed()
        assert refused.wait() == [("hl7", "", "127.0.0.1", "oversize")]


def test_a_frame_that_never_ends_is_cut_off_in_time():
    """A sender that stalls in the middle holds its place no longer than the frame timeout."""
    refused = Notes()
    options = MllpOptions(frame_timeout_s=0.2)
    with listening(say_aa, options, refused=refused) as port, Client(port) as client:
        client.socket.sendall(b"\x0bMSH|^~\\&|")
        assert client.closed()
        assert refused.wait() == [("hl7", "", "127.0.0.1", "frame-timeout")]


def test_an_idle_connection_is_closed():
    """Half-dead peers do not fill the table; that is no refusal."""
    refused = Notes()
    options = MllpOptions(idle_timeout_s=0.2)
    with listening(say_aa, options, refused=refused) as port, Client(port) as client:
        assert client.closed()
    assert refused.items == []


def test_a_peer_that_reads_no_answers_is_cut_off():
    """Its answers fill the socket; the frame timeout ends it."""
    refused = Notes()
    options = MllpOptions(frame_timeout_s=0.5)

    def chatty(_raw, _address):
        return Handled((b"MSH|^~\\&|" + b"x" * 8_000_000,))

    with listening(chatty, options, refused=refused) as port, Client(port) as client:
        client.send(adt("A1"), adt("A2"), adt("A3"))
        assert refused.wait() == [("hl7", "", "127.0.0.1", "answer-not-read")]


def test_an_address_of_no_peer_is_turned_away_and_noted_once():
    """The allow-list counts at the door; a scanner does not fill the list of refusals."""
    refused = Notes()
    peers = (Peer("far", addresses=("10.9.9.0/24",)),)
    with listening(say_aa, peers=peers, refused=refused) as port:
        for _ in range(3):
            with Client(port) as client:
                assert client.closed()
        assert refused.wait() == [("hl7", "", "127.0.0.1", "unknown-address")]


def test_a_new_peer_is_let_in_without_a_restart():
    """The list is asked for every connection."""
    peers: list[Peer] = []
    listener = MllpListener(
        MllpOptions(), peers=lambda: peers, handle=say_aa, wake=Notes(), refused=Notes()
    )
    port = listener.start()
    try:
        with Client(port) as client:
            assert client.closed()
        peers.append(Peer("here", addresses=("127.0.0.1/32",)))
        with Client(port) as client:
            assert client.ask(adt("A1")).get("MSA-2") == "A1"
    finally:
        listener.stop(DEADLINE_S)


def test_the_limit_of_connections_holds():
    """One too many is closed and noted; a place that comes free is given away again."""
    refused = Notes()
    with listening(say_aa, MllpOptions(max_connections=1), refused=refused) as port:
        with Client(port) as first:
            first.ask(adt("A1"))
            with Client(port) as second:
                assert second.closed()
            assert refused.wait() == [("hl7", "", "127.0.0.1", "too-many-connections")]
        end = time.monotonic() + DEADLINE_S
        while True:
            with Client(port) as third:
                third.send(adt("A2"))
                try:
                    assert third.answer().get("MSA-2") == "A2"
                    break
                except (EOFError, ConnectionError):
                    assert time.monotonic() < end


def test_a_message_in_hand_is_answered_when_the_listener_stops():
    """Draining: the answer still goes out, then the line is closed."""
    inside, release = threading.Event(), threading.Event()

    def handle(raw, address):
        inside.set()
        release.wait(DEADLINE_S)
        return say_aa(raw, address)

    listener = MllpListener(
        MllpOptions(), peers=lambda: (Peer("any"),), handle=handle, wake=Notes(), refused=Notes()
    )
    port = listener.start()
    stopper = threading.Thread(target=listener.stop, args=(DEADLINE_S,))
    with Client(port) as client, Client(port) as idle:
        client.send(adt("A1"))
        assert inside.wait(DEADLINE_S)
        stopper.start()
        assert idle.closed()
        release.set()
        assert client.answer().get("MSA-2") == "A1"
        assert client.closed()
    stopper.join(DEADLINE_S)
    assert not stopper.is_alive()


def test_a_handler_that_fails_ends_its_connection_only():
    """No answer rather than a wrong one; the listener lives on."""

    def handle(raw, address):
        if b"BOOM" in raw:
            raise RuntimeError
        return say_aa(raw, address)

    with listening(handle) as port:
        with Client(port) as client:
            client.send(adt("BOOM"))
            assert client.closed()
        with Client(port) as client:
            assert client.ask(adt("A1")).get("MSA-2") == "A1"


def test_a_port_in_use_is_told():
    """Two listeners on one port: the second says so at start."""
    with listening(say_aa) as port:
        second = MllpListener(
            MllpOptions(port=port),
            peers=lambda: (),
            handle=say_aa,
            wake=Notes(),
            refused=Notes(),
        )
        with pytest.raises(OSError, match="in use"):
            second.start()
