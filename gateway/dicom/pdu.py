"""Upper layer protocol data units (DICOM PS3.8 chapter 9): bytes in, values out, and back.

Only what an acceptor needs. Lengths are checked before anything is allocated by them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.errors import NotUnderstood

HEADER_BYTES = 6
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 4, 5, 6, 7

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS_UID = "2.25.21397327195596756435242680524142202245"
IMPLEMENTATION_VERSION = "ECG_GATEWAY"

MAX_ASSOCIATE_BYTES = 1 << 18
"""128 contexts with 30 transfer syntaxes each stay below this."""
MAX_P_DATA_BYTES = 1 << 24
"""Senders that overrun our announced maximum are put up with to here; memory grows by arrival."""
MAX_SMALL_BYTES = 1024
"""Release and abort have 4 bytes; a little more is nobody's attack."""

RELEASE_RP_BYTES = struct.pack(">BxI4x", RELEASE_RP, 4)


@dataclass(frozen=True, slots=True)
class Context:
    """A proposed presentation context.

    Attributes:
        id: odd number, 1 to 255.
        abstract: abstract syntax UID.
        transfers: transfer syntax UIDs in the order of preference of the requestor.
    """

    id: int
    abstract: str
    transfers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The answer to a proposed context: result by PS3.8 Table 9-18 and one transfer syntax."""

    id: int
    abstract: str
    result: int
    transfer: str


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ.

    Attributes:
        version: bit field; bit 0 is the one version that exists.
        called, calling: AE titles without padding.
        application: application context name.
        contexts: proposed presentation contexts.
        max_pdu: largest P-DATA variable field that the requestor takes, bytes; 0 = no limit.
        echo: bytes 11 to 74, which an A-ASSOCIATE-AC sends back unchanged.
    """

    version: int
    called: str
    calling: str
    application: str
    contexts: tuple[Context, ...]
    max_pdu: int
    echo: bytes


@dataclass(frozen=True, slots=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21) and the same in words for the record.

    Attributes:
        result: 1 permanent, 2 transient.
        source: 1 service user, 2 ACSE provider, 3 presentation provider.
        reason: meaning depends on source.
        words: for people; no PHI.
    """

    result: int
    source: int
    reason: int
    words: str


def header(raw: bytes) -> tuple[int, int]:
    """Read a PDU header of six bytes.

    Returns:
        PDU type and length of what follows, bytes.

    Raises:
        NotUnderstood: no such PDU type, or a length that no sane peer would send.
    """
    kind, length = struct.unpack(">BxI", raw)
    if kind == P_DATA:
        limit = MAX_P_DATA_BYTES
    elif kind in {ASSOCIATE_RQ, ASSOCIATE_AC}:
        limit = MAX_ASSOCIATE_BYTES
    elif kind in {ASSOCIATE_RJ, RELEASE_RQ, RELEASE_RP, ABORT}:
        limit = MAX_SMALL_BYTES
    else:
        raise NotUnderstood(f"PDU type {kind:#04x} does not exist")
    if length > limit:
        raise NotUnderstood(f"PDU type {kind:#04x} announces {length} bytes, at most {limit} taken")
    return int(kind), int(length)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split a run of items: type, reserved byte, 2-byte length, value (PS3.8 9.3.2)."""
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise NotUnderstood("an item header of the association request is cut off")
        kind, length = struct.unpack_from(">BxH", data, position)
        end = position + 4 + length
        if end > len(data):
            raise NotUnderstood(f"item {kind:#04x} of the association request is cut off")
        yield kind, data[position + 4 : end]
        position = end


def _text(raw: bytes) -> str:
    """A UID or AE title: ASCII without padding; what cannot be printed shows as U+FFFD."""
    text = raw.decode("ascii", "replace").strip(" \0")
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _context(value: bytes) -> Context:
    if len(value) < 4:
        raise NotUnderstood("a presentation context item is too short")
    parts = list(_items(value[4:]))
    abstract = next((_text(raw) for kind, raw in parts if kind == 0x30), "")
    return Context(value[0], abstract, tuple(_text(raw) for kind, raw in parts if kind == 0x40))


def _max_pdu(user_information: bytes) -> int:
    """Maximum Length sub-item (PS3.8 D.1); absent means no limit."""
    for kind, raw in _items(user_information):
        if kind == 0x51 and len(raw) == 4:
            return int.from_bytes(raw, "big")
    return 0


def parse_associate_rq(body: bytes) -> AssociateRequest:
    """Read the body of an A-ASSOCIATE-RQ (PS3.8 9.3.2).

    Raises:
        NotUnderstood: a field or an item is cut off.
    """
    if len(body) < 68:
        raise NotUnderstood(f"an association request of {len(body)} bytes is too short")
    contexts: list[Context] = []
    application, max_pdu = "", 0
    for kind, value in _items(body[68:]):
        if kind == 0x10:
            application = _text(value)
        elif kind == 0x20:
            contexts.append(_context(value))
        elif kind == 0x50:
            max_pdu = _max_pdu(value)
    return AssociateRequest(
        version=int.from_bytes(body[:2], "big"),
        called=_text(body[4:20]),
        calling=_text(body[20:36]),
        application=application,
        contexts=tuple(contexts),
        max_pdu=max_pdu,
        echo=body[4:68],
    )


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def build_associate_ac(
    request: AssociateRequest, answers: Sequence[ContextAnswer], max_pdu: int
) -> bytes:
    """Build an A-ASSOCIATE-AC (PS3.8 9.3.3).

    Args:
        request: what is answered; its AE titles are echoed.
        answers: one for each proposed context.
        max_pdu: largest P-DATA variable field that we take, bytes; 0 = no limit.
    """
    contexts = b"".join(
        _item(
            0x21,
            struct.pack(">BxBx", answer.id, answer.result) + _item(0x40, answer.transfer.encode()),
        )
        for answer in answers
    )
    user = (
        _item(0x51, struct.pack(">I", max_pdu))
        + _item(0x52, IMPLEMENTATION_CLASS_UID.encode())
        + _item(0x55, IMPLEMENTATION_VERSION.encode())
    )
    body = (
        struct.pack(">Hxx", 1)
        + request.echo
        + _item(0x10, APPLICATION_CONTEXT.encode())
        + contexts
        + _item(0x50, user)
    )
    return struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body


def build_associate_rj(rejection: Rejection) -> bytes:
    """Build an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(
        ">BxIxBBB", ASSOCIATE_RJ, 4, rejection.result, rejection.source, rejection.reason
    )


def build_abort(source: int, reason: int) -> bytes:
    """Build an A-ABORT (PS3.8 9.3.8): source 0 user, 2 provider; reason by Table 9-26."""
    return struct.pack(">BxIxxBB", ABORT, 4, source, reason)


def fragments(body: bytes) -> Iterator[tuple[int, bool, bool, memoryview]]:
    """Split a P-DATA-TF body into its presentation data values (PS3.8 9.3.5, Annex E.2).

    Yields:
        Context id, whether it belongs to the command, whether it is the last fragment, the bytes.

    Raises:
        NotUnderstood: a length that does not fit.
    """
    view = memoryview(body)
    position = 0
    while position < len(view):
        if position + 6 > len(view):
            raise NotUnderstood("a presentation data value is cut off")
        length, context, control = struct.unpack_from(">IBB", view, position)
        end = position + 4 + length
        if length < 2 or end > len(view):
            raise NotUnderstood("a presentation data value does not fit its PDU")
        yield context, bool(control & 1), bool(control & 2), view[position + 6 : end]
        position = end


def build_p_data(context: int, command: bytes, max_pdu: int) -> bytes:
    """Wrap a command set into as many P-DATA-TF as the peer's maximum asks for.

    Args:
        context: presentation context id.
        command: encoded command set.
        max_pdu: the peer's limit for the variable field, bytes; 0 = no limit.
    """
    room = max(max_pdu - 6, 2) if max_pdu else len(command)
    out = []
    for start in range(0, len(command), room):
        part = command[start : start + room]
        control = 3 if start + room >= len(command) else 1
        out.append(
            struct.pack(">BxIIBB", P_DATA, len(part) + 6, len(part) + 2, context, control) + part
        )
    return b"".join(out)
