"""PDUs and DIMSE messages as bytes, held against pynetdicom's own reading of them."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_RELEASE_RP
from support.dicom import associate_rq, p_data, store_rq

from gateway.dicom import contexts, dimse, pdu
from gateway.dicom.admission import CALLED_AE, answer_contexts
from gateway.errors import NotUnderstood


def request() -> pdu.AssociateRequest:
    return pdu.parse_associate_rq(associate_rq()[6:])


def test_an_association_request_is_read():
    """AE titles come without padding, contexts with their syntaxes, and the peer's maximum."""
    found = request()
    assert (found.calling, found.called, found.max_pdu) == ("CART1", "ECG_GATEWAY", 16384)
    assert found.contexts == (pdu.Context(1, contexts.TWELVE_LEAD_ECG, (contexts.EXPLICIT_LE,)),)


def test_a_title_cannot_carry_control_characters_into_a_log():
    """What an unknown peer calls itself is shown to people."""
    raw = associate_rq(calling="A\x1b[2J\nB")
    assert pdu.parse_associate_rq(raw[6:]).calling == "A\ufffd[2J\ufffdB"


def test_our_accept_is_what_pynetdicom_understands():
    """Result, transfer syntax, maximum length and both names arrive."""
    answer = pdu.build_associate_ac(request(), answer_contexts(request()), 131072)
    parsed = A_ASSOCIATE_AC()
    parsed.decode(answer)
    assert parsed.encode() == answer
    assert parsed.presentation_context[0].result == 0
    assert parsed.presentation_context[0].transfer_syntax == contexts.EXPLICIT_LE
    assert parsed.user_information.maximum_length == 131072
    assert parsed.user_information.implementation_class_uid == pdu.IMPLEMENTATION_CLASS_UID


def test_our_reject_abort_and_release_are_what_pynetdicom_understands():
    """The three short PDUs have their fields in the right places."""
    rejected, aborted, released = A_ASSOCIATE_RJ(), A_ABORT_RQ(), A_RELEASE_RP()
    rejected.decode(pdu.build_associate_rj(CALLED_AE))
    aborted.decode(pdu.build_abort(2, 6))
    released.decode(pdu.RELEASE_RP_BYTES)
    assert (rejected.result, rejected.source, rejected.reason_diagnostic) == (1, 1, 7)
    assert (aborted.source, aborted.reason_diagnostic) == (2, 6)
    assert released.encode() == pdu.RELEASE_RP_BYTES


@pytest.mark.parametrize("kind", range(1, 8))
def test_a_two_gigabyte_length_is_refused_before_anything_is_read(kind):
    """No PDU type may announce 2 GB."""
    with pytest.raises(NotUnderstood):
        pdu.header(struct.pack(">BxI", kind, 1 << 31))


@given(st.binary(min_size=6, max_size=6))
def test_any_six_bytes_are_a_bounded_header_or_refused(raw):
    """No header makes the reader wait for more than the largest PDU."""
    try:
        _, length = pdu.header(raw)
    except NotUnderstood:
        return
    assert length <= pdu.MAX_P_DATA_BYTES


@given(st.binary(max_size=300))
def test_any_request_body_is_read_or_refused(body):
    """Garbage raises NotUnderstood and nothing else."""
    try:
        pdu.parse_associate_rq(body)
    except NotUnderstood:
        return


@given(st.binary(max_size=200))
def test_any_data_body_and_any_command_is_read_or_refused(body):
    """Garbage in a P-DATA-TF raises NotUnderstood and nothing else."""
    assembler = dimse.Assembler(1000)
    try:
        for fragment in pdu.fragments(body):
            assembler.feed(*fragment)
        dimse.parse_command(body)
    except NotUnderstood:
        return


def feed(assembler: dimse.Assembler, *pdus: bytes) -> list[dimse.Message]:
    found = (assembler.feed(*fragment) for raw in pdus for fragment in pdu.fragments(raw[6:]))
    return [message for message in found if message]


@given(st.binary(min_size=1, max_size=400), st.integers(1, 50))
def test_a_message_in_any_number_of_fragments_comes_out_whole(data, size):
    """How a sender cuts command and data set makes no difference."""
    command = store_rq(contexts.TWELVE_LEAD_ECG, "1.2.3")
    cut = [
        p_data(raw[start : start + size], command=is_command, last=start + size >= len(raw))
        for raw, is_command in ((command, True), (data, False))
        for start in range(0, len(raw), size)
    ]
    (message,) = feed(dimse.Assembler(1000), *cut)
    assert bytes(message.data_set) == data
    assert message.command == dimse.Command(1, 7, contexts.TWELVE_LEAD_ECG, "1.2.3", True)


def test_an_oversized_data_set_is_counted_but_not_kept():
    """It can be answered, and its bytes are gone."""
    assembler = dimse.Assembler(100)
    (message,) = feed(
        assembler,
        p_data(store_rq(contexts.TWELVE_LEAD_ECG, "1.2.3"), command=True, last=True),
        p_data(b"x" * 90, command=False, last=False),
        p_data(b"x" * 90, command=False, last=True),
    )
    assert message.oversized
    assert not message.data_set
    assert assembler.idle


def test_a_sender_without_end_is_not_believed():
    """Far beyond the limit the message is an error."""
    start = p_data(store_rq(contexts.TWELVE_LEAD_ECG, "1.2.3"), command=True, last=True)
    endless = [p_data(b"x" * 90, command=False, last=False)] * 20
    with pytest.raises(NotUnderstood):
        feed(dimse.Assembler(100), start, *endless)


def test_data_before_its_command_is_refused():
    """Fragments out of order are no message."""
    with pytest.raises(NotUnderstood):
        feed(dimse.Assembler(100), p_data(b"x", command=False, last=True))


def test_our_response_is_what_pynetdicom_understands():
    """Status, comment and UIDs arrive; the group length is right; no more than 64 characters."""
    command = dimse.parse_command(store_rq(contexts.TWELVE_LEAD_ECG, "1.2.3"))
    raw = dimse.build_response(command, 0xC000, "x" * 100)
    found = decode(BytesIO(raw), True, True)
    assert found.CommandGroupLength == len(raw) - 12
    assert (found.CommandField, found.Status) == (0x8001, 0xC000)
    assert found.MessageIDBeingRespondedTo == 7
    assert (found.AffectedSOPInstanceUID, found.ErrorComment) == ("1.2.3", "x" * 64)


@pytest.mark.parametrize("peer_max", [0, 8, 50, 16384])
def test_a_response_keeps_the_peers_maximum(peer_max):
    """No P-DATA-TF is longer than the peer takes, and the fragments are the response."""
    command = dimse.parse_command(store_rq(contexts.TWELVE_LEAD_ECG, "1.2.3"))
    raw = dimse.build_response(command, 0)
    wire, parts = pdu.build_p_data(1, raw, peer_max), []
    while wire:
        kind, length = pdu.header(wire[:6])
        assert kind == pdu.P_DATA
        assert not peer_max or length <= peer_max
        parts += [bytes(part) for *_, part in pdu.fragments(wire[6 : 6 + length])]
        wire = wire[6 + length :]
    assert b"".join(parts) == raw
