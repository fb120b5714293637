"""DIMSE messages (DICOM PS3.7): command sets, and fragments put together. Bytes only."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import NotUnderstood

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
C_ECHO_RQ, C_ECHO_RSP = 0x0030, 0x8030
C_CANCEL_RQ = 0x0FFF
NO_DATA_SET = 0x0101

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNIZED_OPERATION = 0x0211

MAX_COMMAND_BYTES = 1 << 16
PATIENCE = 16
MAX_COMMENT_CHARACTERS = 64  # Error Comment (0000,0902) is VR LO


@dataclass(frozen=True, slots=True)
class Command:
    """A request's command set (PS3.7 9.3, 10.3).

    Attributes:
        field: Command Field (0000,0100).
        message_id: Message ID (0000,0110).
        sop_class: Affected or Requested SOP Class UID.
        sop_uid: Affected or Requested SOP Instance UID, empty for C-ECHO.
        has_data_set: a data set follows.
    """

    field: int
    message_id: int
    sop_class: str
    sop_uid: str
    has_data_set: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A complete message.

    Attributes:
        context: presentation context id.
        command: its command set.
        data_set: the encoded data set, exactly as received; empty when there is none.
        oversized: the data set passed the limit; its bytes were let go.
    """

    context: int
    command: Command
    data_set: bytes | bytearray
    oversized: bool = False


def _elements(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Elements of group 0000: Implicit VR Little Endian, never nested (PS3.7 6.3.1)."""
    position = 0
    while position < len(raw):
        if position + 8 > len(raw):
            raise NotUnderstood("an element of the command set is cut off")
        group, element, length = struct.unpack_from("<HHI", raw, position)
        end = position + 8 + length
        if group != 0 or end > len(raw):
            raise NotUnderstood("the command set is damaged")
        yield element, raw[position + 8 : end]
        position = end


def parse_command(raw: bytes) -> Command:
    """Read a command set.

    Raises:
        NotUnderstood: damaged, or Command Field or Data Set Type is missing.
    """
    found = dict(_elements(raw))

    def number(element: int) -> int:
        value = found.get(element, b"")
        if len(value) != 2:
            raise NotUnderstood(f"command element (0000,{element:04x}) is missing or damaged")
        return int.from_bytes(value, "little")

    def uid(*elements: int) -> str:
        value = next((found[element] for element in elements if element in found), b"")
        return value.decode("ascii", "replace").strip(" \0")

    field = number(0x0100)
    return Command(
        field=field,
        message_id=number(0x0120 if field == C_CANCEL_RQ else 0x0110),
        sop_class=uid(0x0002, 0x0003),
        sop_uid=uid(0x1000, 0x1001),
        has_data_set=number(0x0800) != NO_DATA_SET,
    )


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _us(element: int, value: int) -> bytes:
    return _element(element, struct.pack("<H", value))


def _ui(element: int, uid: str) -> bytes:
    raw = uid.encode("ascii", "replace")
    return _element(element, raw + b"\0" * (len(raw) % 2))


def _comment(text: str) -> bytes:
    raw = text.encode("ascii", "replace").replace(b"\\", b"/")[:MAX_COMMENT_CHARACTERS]
    return _element(0x0902, raw + b" " * (len(raw) % 2))


def build_response(command: Command, status: int, comment: str = "") -> bytes:
    """Build the response to a request: its field with the high bit set (PS3.7 9.3.1.2, 9.3.5.2).

    Args:
        command: what is answered.
        status: PS3.7 Annex C, PS3.4 Table B.2-1.
        comment: Error Comment; it must carry no PHI, and 64 ASCII characters are sent.
    """
    body = b"".join(
        (
            _ui(0x0002, command.sop_class) if command.sop_class else b"",
            _us(0x0100, command.field | 0x8000),
            _us(0x0120, command.message_id),
            _us(0x0800, NO_DATA_SET),
            _us(0x0900, status),
            _comment(comment) if comment else b"",
            _ui(0x1000, command.sop_uid) if command.sop_uid else b"",
        )
    )
    return _element(0x0000, struct.pack("<I", len(body))) + body


class Assembler:
    """Puts the fragments of one association's messages together (PS3.7 6.3, PS3.8 Annex E).

    A data set beyond `max_bytes` is counted and let go, so that it can be answered; beyond
    `PATIENCE` times that the sender is not believed any more.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._context = 0
        self._command: Command | None = None
        self._raw_command = bytearray()
        self._data_set = bytearray()
        self._size = 0

    @property
    def idle(self) -> bool:
        """Whether no message is under way."""
        return self._command is None and not self._raw_command

    def feed(self, context: int, command: bool, last: bool, part: memoryview) -> Message | None:
        """Take one fragment; give the message that it completes.

        Raises:
            NotUnderstood: fragments out of order, or far too many.
        """
        if self.idle:
            self._context = context
        if context != self._context or command != (self._command is None):
            raise NotUnderstood("a message fragment is out of order")
        return self._feed_command(last, part) if command else self._feed_data(last, part)

    def _feed_command(self, last: bool, part: memoryview) -> Message | None:
        self._raw_command += part
        if len(self._raw_command) > MAX_COMMAND_BYTES:
            raise NotUnderstood("the command set is too long")
        if not last:
            return None
        parsed = parse_command(bytes(self._raw_command))
        self._command = parsed
        return None if parsed.has_data_set else self._complete(parsed)

    def _feed_data(self, last: bool, part: memoryview) -> Message | None:
        self._size += len(part)
        if self._size > PATIENCE * self._max_bytes:
            raise NotUnderstood("the data set is far beyond the limit")
        if self._size <= self._max_bytes:
            self._data_set += part
        elif self._data_set:
            self._data_set = bytearray()
        return self._complete(self._command) if last and self._command else None

    def _complete(self, command: Command) -> Message:
        message = Message(self._context, command, self._data_set, self._size > self._max_bytes)
        self._command, self._size = None, 0
        self._raw_command, self._data_set = bytearray(), bytearray()
        return message
