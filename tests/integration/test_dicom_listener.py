"""The DICOM listener on a real socket: what pynetdicom and raw bytes see of it."""

import gc
import resource
import socket
import struct
import threading

import pytest
from pydicom.uid import generate_uid
from structlog.testing import capture_logs
from support import dicom as support
from support.dicom import DEADLINE_S, FakeIntake, associated, connected, listening, waveform

from gateway.dicom import contexts
from gateway.ecg import Arrival, Receipt
from gateway.errors import Conflict, OutOfResources, StoreUnavailable
from listeners.channel import Channel
from listeners.dicom import DicomListener, DicomOptions, Peer


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


def listener_for(intake: FakeIntake, **changes) -> DicomListener:
    """A listener that lets one cart in and is the test's to start and stop."""
    wiring = {
        "peers": lambda: (Peer("cart", support.CALLING),),
        "ae_title": lambda: support.CALLED,
        "accept": intake.accept,
        "wake": intake.wake,
        "refused": intake.refused,
    }
    return DicomListener(DicomOptions(), **{**wiring, **changes})


def rejection(port: int, **names: object) -> tuple[int, int, int]:
    """Result, source and reason of an A-ASSOCIATE-RJ."""
    with connected(port) as sock:
        sock.sendall(support.associate_rq(**names))
        kind, body = support.read_pdu(sock)
    assert kind == 3
    return body[1], body[2], body[3]


def open_association(sock: socket.socket, **names: object) -> None:
    sock.sendall(support.associate_rq(**names))
    kind, _ = support.read_pdu(sock)
    assert kind == 2


def dropped(sock: socket.socket) -> bool:
    """The listener ended the connection, with or without an A-ABORT before."""
    try:
        while True:
            kind, _ = support.read_pdu(sock)
            if kind == 0:
                return True
            if kind != 7:
                return False
    except ConnectionError:
        return True


def echo_works(port: int) -> bool:
    with associated(port) as association:
        return association.is_established and association.send_c_echo().Status == 0


def test_an_echo_is_answered(intake):
    """Verification works without any storage context."""
    with listening(intake) as port:
        assert echo_works(port)


def test_a_connection_that_cannot_be_served_does_not_deafen_the_listener(intake, monkeypatch):
    """Whatever goes wrong with one connection, the next one is accepted."""
    failures = [OSError("peer is gone"), RuntimeError("can't start new thread")]

    def channel(sock: socket.socket) -> Channel:
        if failures:
            raise failures.pop()
        return Channel(sock)

    monkeypatch.setattr("listeners.dicom.Channel", channel)
    with listening(intake) as port:
        for _ in range(2):
            with connected(port) as sock:
                assert dropped(sock)
        assert echo_works(port)


@pytest.mark.parametrize("sop_class", contexts.STORAGE)
def test_every_storage_class_is_stored(intake, sop_class):
    """Success, and the intake got the bytes of exactly this object, and a worker was woken."""
    data_set = waveform(sop_class=sop_class)
    with listening(intake) as port:
        assert support.store(port, data_set).Status == 0x0000
        intake.wait("woken")
    (arrival,) = intake.arrivals
    assert arrival.identity == f"dicom:{data_set.SOPInstanceUID}"
    assert arrival.content.endswith(support.encoded(data_set))
    assert (arrival.source.protocol, arrival.source.peer) == ("dicom", support.CALLING)
    assert arrival.source.address == "127.0.0.1"


@pytest.mark.parametrize("syntax", contexts.UNCOMPRESSED)
def test_every_waveform_syntax_is_stored(intake, syntax):
    """Implicit, Explicit and Deflated Little Endian."""
    with listening(intake) as port:
        assert support.store(port, waveform(), syntax).Status == 0x0000


def test_many_objects_travel_in_one_association(intake):
    """Each gets its own answer, in order."""
    objects = [waveform() for _ in range(5)]
    with listening(intake) as port, associated(port, *objects) as association:
        for data_set in objects:
            support.as_file(data_set)
            assert association.send_c_store(data_set).Status == 0x0000
    assert [found.sop_uid for found in intake.arrivals] == [o.SOPInstanceUID for o in objects]


def test_an_unsupported_context_is_refused_but_not_the_association(intake):
    """A CT context beside an ECG one: the ECG goes through."""
    ct = support.header("1.2.840.10008.5.1.4.1.1.2")
    with listening(intake) as port, associated(port, waveform(), ct) as association:
        assert [c.abstract_syntax for c in association.rejected_contexts] == [ct.SOPClassUID]
        assert contexts.TWELVE_LEAD_ECG in [
            c.abstract_syntax for c in association.accepted_contexts
        ]


@pytest.mark.parametrize(
    ("names", "expected", "words"),
    [
        ({"calling": "STRANGER"}, (1, 1, 3), "calling AE title not recognized"),
        ({"called": "OTHER"}, (1, 1, 7), "called AE title not recognized"),
        ({"application": "1.2.3"}, (1, 1, 2), "application context name not supported"),
        ({"version": 4}, (1, 2, 2), "protocol version not supported"),
    ],
)
def test_a_refused_peer_is_told_why_and_recorded(intake, names, expected, words):
    """The right result, source and reason on the wire, and who, from where and why on record."""
    with listening(intake) as port:
        assert rejection(port, **names) == expected
        assert echo_works(port)
    assert intake.refusals == [("dicom", names.get("calling", support.CALLING), "127.0.0.1", words)]


def test_a_title_from_a_foreign_address_is_refused(intake):
    """AE title and address are bound together."""
    peers = (Peer("cart", support.CALLING, ("192.0.2.0/24",)),)
    with listening(intake, peers=peers) as port:
        assert rejection(port) == (1, 1, 3)
    assert "address" in intake.refusals[0][3]


@pytest.mark.parametrize(
    "limits", [{"max_associations": 1}, {"max_associations_per_ae": 1}], ids=["total", "per AE"]
)
def test_one_association_too_many_is_told_local_limit_exceeded(intake, limits):
    """And when the first one has ended there is room again."""
    with listening(intake, **limits) as port:
        with associated(port) as association:
            assert association.is_established
            assert rejection(port) == (2, 3, 2)
        assert echo_works(port)


def test_a_changed_site_configuration_counts_for_the_next_association(intake):
    """Peers and our own title are asked each time: no restart."""
    site = {"peers": (), "ae_title": "OLD"}
    listener = listener_for(intake, peers=lambda: site["peers"], ae_title=lambda: site["ae_title"])
    port = listener.start()
    try:
        assert rejection(port) == (1, 1, 3)
        site["peers"] = (Peer("cart", support.CALLING),)
        assert rejection(port) == (1, 1, 7)
        site["ae_title"] = support.CALLED
        assert echo_works(port)
    finally:
        listener.stop(DEADLINE_S)


@pytest.mark.parametrize(
    ("error", "status", "comment"),
    [
        (OutOfResources("the disk reserve is reached"), 0xA700, "the disk reserve is reached"),
        (StoreUnavailable("database: OperationalError"), 0xA700, "database: OperationalError"),
        (Conflict("known with other content"), 0x0111, "known with other content"),
        (ValueError("Müller^Jürgen has no such value"), 0xC000, "internal error"),
    ],
)
def test_what_cannot_be_kept_is_never_a_success(intake, error, status, comment):
    """Each error has its status; a foreign error's text, which may be PHI, stays inside."""
    intake.error = error
    with listening(intake) as port:
        with capture_logs() as logs:
            answer = support.store(port, waveform())
        assert (answer.Status, answer.ErrorComment) == (status, comment)
        placed = [event["event"] for event in logs if event.get("exc_info")]
        assert placed == (["dicom store failed"] if status == 0xC000 else [])
        intake.error = None
        assert support.store(port, waveform()).Status == 0x0000
    assert len(intake.woken) == 1
    assert f"{status:04X}" in intake.refusals[0][3]


def store_raw(port: int, data: bytes, sop_class: str, sop_uid: str) -> int:
    """C-STORE any bytes; give the status."""
    with connected(port) as sock:
        open_association(sock)
        command = support.store_rq(sop_class, sop_uid)
        sock.sendall(support.p_data(command, command=True, last=True))
        sock.sendall(support.p_data(data, command=False, last=True))
        kind, body = support.read_pdu(sock)
        assert kind == 4
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        return int.from_bytes(body[at : at + 2], "little")


def test_bad_objects_are_refused_and_the_next_one_works(intake):
    """Empty, truncated, garbage, another class, another instance: each has its status."""
    data_set = waveform()
    raw, uid, ours = support.encoded(data_set), data_set.SOPInstanceUID, contexts.TWELVE_LEAD_ECG
    other = support.encoded(waveform(sop_class=contexts.GENERAL_ECG))
    with listening(intake) as port:
        assert store_raw(port, b"", ours, uid) == 0xC000
        assert store_raw(port, raw[:-100], ours, uid) == 0xC000
        assert store_raw(port, b"garbage" * 100, ours, uid) == 0xC000
        assert store_raw(port, other, ours, uid) == 0xA900
        assert store_raw(port, raw, ours, generate_uid()) == 0xA900
        assert store_raw(port, raw, contexts.GENERAL_ECG, uid) == 0x0122
        assert not intake.arrivals
        assert store_raw(port, raw, ours, uid) == 0x0000
    assert len(intake.arrivals) == 1


def test_an_oversized_object_is_refused_without_being_kept(intake):
    """It gets its answer, and the association goes on."""
    big = waveform(samples=100_000)
    small = waveform()
    with (
        listening(intake, max_object_mb=1) as port,
        associated(port, big, small) as association,
    ):
        support.as_file(big)
        support.as_file(small)
        answer = association.send_c_store(big)
        assert (answer.Status, answer.ErrorComment) == (0xC000, "object larger than 1 MB")
        assert association.send_c_store(small).Status == 0x0000
    assert [found.sop_uid for found in intake.arrivals] == [small.SOPInstanceUID]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
        b"\x16\x03\x01\x02\0" + b"\x55" * 512,
        b"\x01\0\x7f\xff\xff\xff" + b"x" * 1000,
        b"\x04\0\x7f\xff\xff\xff" + b"x" * 1000,
        struct.pack(">BxI", 1, 100) + b"x" * 100,
        struct.pack(">BxI4x", 5, 4),
    ],
    ids=["http", "tls", "2 GB request", "2 GB data", "garbage request", "release first"],
)
def test_garbage_on_the_port_is_dropped(intake, garbage):
    """No crash, no wait, and the next ECG works."""
    with listening(intake) as port:
        with connected(port) as sock:
            sock.sendall(garbage)
            assert dropped(sock)
        assert support.store(port, waveform()).Status == 0x0000
    assert not intake.refusals


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">BxI", 4, (1 << 31) - 1) + b"x" * 1000,
        struct.pack(">BxIIBB", 4, 6, 1 << 31, 1, 3),
        support.p_data(b"x" * 50, command=False, last=True),
        support.p_data(b"x" * 50, command=True, last=True),
        support.p_data(support.store_rq("1.2", "1.2"), command=True, last=True, context=99)
        + support.p_data(b"x", command=False, last=True, context=99),
        support.associate_rq(),
    ],
    ids=["2 GB PDU", "2 GB fragment", "data first", "damaged command", "context", "second request"],
)
def test_garbage_inside_an_association_ends_only_this_association(intake, garbage):
    """It is aborted; its seat is free again."""
    with listening(intake, max_associations=1) as port:
        with connected(port) as sock:
            open_association(sock)
            sock.sendall(garbage)
            assert dropped(sock)
        assert support.store(port, waveform()).Status == 0x0000


def test_memory_does_not_follow_an_announced_length(intake):
    """Fifty peers that announce 16 MB each and send nothing cost next to nothing."""
    with listening(intake, max_associations_per_ae=60) as port:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        try:
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for sock in sockets:
                sock.settimeout(DEADLINE_S)
                open_association(sock)
                sock.sendall(struct.pack(">BxI", 4, 1 << 24) + b"x" * 100)
            assert support.store(port, waveform()).Status == 0x0000
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        finally:
            for sock in sockets:
                sock.close()
    assert after - before < 100_000  # kB; 800,000 kB were announced


def test_a_bare_tcp_probe_leaves_nothing_behind(intake, capfd):
    """A load balancer's probe is neither recorded nor logged, and its thread ends."""
    with listening(intake) as port:
        for _ in range(20):
            with connected(port):
                pass
        assert echo_works(port)
    assert not intake.refusals
    assert not [t for t in threading.enumerate() if t.name == "dicom-association"]
    assert "probe" not in capfd.readouterr().err


@pytest.mark.parametrize("said", [b"", b"\x01\0\0", support.associate_rq()[:50]])
def test_a_peer_that_says_too_little_is_dropped(intake, said):
    """The ARTIM timer covers the whole request, not one byte of it."""
    with listening(intake, acse_timeout_s=0.2) as port, connected(port) as sock:
        sock.sendall(said)
        assert dropped(sock)


def test_an_idle_association_is_aborted(intake):
    """And so is one that stops in the middle of a message."""
    half = support.p_data(support.store_rq("1.2", "1.2"), command=True, last=True)
    with listening(intake, idle_timeout_s=0.2, dimse_timeout_s=0.3) as port:
        for said in (b"", half, half[:9]):
            with connected(port) as sock:
                open_association(sock)
                sock.sendall(said)
                kind, _ = support.read_pdu(sock)
                assert kind == 7


def test_an_abort_after_a_success_leaves_the_ecg_stored(intake):
    """The peer's manners do not change what was promised."""
    data_set = waveform()
    with listening(intake) as port:
        with associated(port, data_set) as association:
            support.as_file(data_set)
            assert association.send_c_store(data_set).Status == 0x0000
            association.abort()
        intake.wait("woken")
    assert len(intake.arrivals) == 1


def test_a_peer_that_leaves_without_its_answer_still_wakes_a_worker(intake):
    """Committed is committed: the ECG is scored though nobody heard the Success."""
    begun, gone = threading.Event(), threading.Event()

    def accept(arrival: Arrival) -> Receipt:
        begun.set()
        assert gone.wait(DEADLINE_S)
        return intake.accept(arrival)

    listener = listener_for(intake, accept=accept)
    port = listener.start()
    data_set = waveform()
    try:
        with connected(port) as sock:
            open_association(sock)
            command = support.store_rq(contexts.TWELVE_LEAD_ECG, data_set.SOPInstanceUID)
            sock.sendall(support.p_data(command, command=True, last=True))
            sock.sendall(support.p_data(support.encoded(data_set), command=False, last=True))
            assert begun.wait(DEADLINE_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.set()
        intake.wait("woken")
    finally:
        listener.stop(DEADLINE_S)


def test_the_worker_is_woken_after_the_answer(intake):
    """A slow broker never delays a cart."""
    answered = threading.Event()
    order = []

    def wake(_: Receipt) -> None:
        assert answered.wait(DEADLINE_S)
        order.append("woken")

    listener = listener_for(intake, wake=wake)
    port = listener.start()
    data_set = waveform()
    try:
        with associated(port, data_set) as association:
            support.as_file(data_set)
            assert association.send_c_store(data_set).Status == 0x0000
            order.append("answered")
            answered.set()
    finally:
        listener.stop(DEADLINE_S)
    assert order == ["answered", "woken"]


def test_stopping_lets_a_message_under_way_end(intake):
    """A drain answers what it has begun, closes idle associations, and takes no new ones."""
    begun, go_on = threading.Event(), threading.Event()

    def accept(arrival: Arrival) -> Receipt:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return intake.accept(arrival)

    listener = listener_for(intake, accept=accept)
    port = listener.start()
    data_set = waveform()
    with connected(port) as idle, connected(port) as busy:
        open_association(idle)
        open_association(busy)
        command = support.store_rq(contexts.TWELVE_LEAD_ECG, data_set.SOPInstanceUID)
        busy.sendall(support.p_data(command, command=True, last=True))
        busy.sendall(support.p_data(support.encoded(data_set), command=False, last=True))
        assert begun.wait(DEADLINE_S)
        stopping = threading.Thread(target=listener.stop, args=(DEADLINE_S,))
        stopping.start()
        assert dropped(idle)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        go_on.set()
        kind, body = support.read_pdu(busy)
        assert kind == 4
        assert struct.pack("<HHIH", 0, 0x0900, 2, 0) in body
        stopping.join(DEADLINE_S)
        assert not stopping.is_alive()
    assert len(intake.woken) == 1


def test_a_drain_does_not_wait_for_ever(intake):
    """A peer that stops in the middle of a message is cut off when the time is over."""
    listener = listener_for(intake)
    port = listener.start()
    with connected(port) as sock:
        open_association(sock)
        sock.sendall(support.p_data(support.store_rq("1.2", "1.2"), command=True, last=True))
        listener.stop(0.2)
        assert dropped(sock)


def test_several_listeners_share_a_port(intake):
    """SO_REUSEPORT: `dicom.processes` listeners, one address."""
    with (
        listening(intake, reuse_port=True) as port,
        listening(intake, reuse_port=True, port=port) as same,
    ):
        assert same == port
        for _ in range(8):
            assert echo_works(port)


def test_an_unknown_operation_is_answered_not_dropped(intake):
    """C-FIND on a storage context: unrecognized operation."""
    with listening(intake) as port, connected(port) as sock:
        open_association(sock)
        command = support.store_rq(contexts.TWELVE_LEAD_ECG, "1.2")
        found = command.replace(b"\0\0\0\1\2\0\0\0\1\0", b"\0\0\0\1\2\0\0\0\x20\0")
        sock.sendall(support.p_data(found, command=True, last=True))
        sock.sendall(support.p_data(b"x", command=False, last=True))
        _, body = support.read_pdu(sock)
        assert struct.pack("<HHIH", 0, 0x0900, 2, 0x0211) in body
