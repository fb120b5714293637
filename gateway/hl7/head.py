"""MSH as far as it can be read, so that even an unreadable message gets an answer to its sender."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import NotUnderstood
from gateway.hl7.charsets import codec_for
from gateway.hl7.delimiters import STANDARD, Delimiters, read_delimiters
from gateway.text import plain

_FRAME_BYTES = b"\x0b\x1c"  # in an answer they would break its frame
MODES = frozenset({"AL", "NE", "ER", "SU"})


@dataclass(frozen=True, slots=True)
class Head:
    """MSH of a message, raw text as sent but for control characters (HL7 v2.5.1 2.15.9).

    Attributes:
        delimiters: MSH-1, MSH-2. codec: Python's name of the character set.
        application, facility: MSH-3, MSH-4. to_application, to_facility: MSH-5, MSH-6.
        code, trigger: MSH-9.1, MSH-9.2. control_id: MSH-10. processing: MSH-11.1.
        version: MSH-12.1. accept, acknowledge: MSH-15, MSH-16. charset: MSH-18.
    """

    delimiters: Delimiters = STANDARD
    codec: str = "latin-1"
    application: str = ""
    facility: str = ""
    to_application: str = ""
    to_facility: str = ""
    code: str = ""
    trigger: str = ""
    control_id: str = ""
    processing: str = ""
    version: str = ""
    accept: str = ""
    acknowledge: str = ""
    charset: str = ""

    @property
    def enhanced(self) -> bool:
        """The sender chose enhanced acknowledgement (HL7 v2.5.1 2.9.3) by MSH-15 or MSH-16."""
        return self.accept in MODES or self.acknowledge in MODES

    @property
    def peer(self) -> str:
        """`MSH-3.1^MSH-4.1`: how the sender is called in our records."""
        return f"{self._first(self.application)}^{self._first(self.facility)}"

    def _first(self, text: str) -> str:
        separator = self.delimiters.component
        part = text.split(separator, maxsplit=1)[0] if separator else text
        return self.delimiters.unquote(part, self.codec)


def read_head(data: bytes, charset: str = "") -> Head:
    """Read MSH leniently; what cannot be read is empty. Never raises for any bytes.

    Args:
        data: the first bytes of a message, or all of it.
        charset: overrides MSH-18, as in `gateway.hl7.reading.read`.
    """
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n \t")
    line = re.split(b"[\r\n]", body, maxsplit=1)[0].translate(None, _FRAME_BYTES)
    try:
        delimiters = read_delimiters(line)
    except NotUnderstood:
        delimiters = STANDARD
    separator = delimiters.field.encode("ascii")
    if not line.startswith(b"MSH" + separator):
        return Head()
    declared = line.split(separator)[17:18]
    codec = codec_for(charset or (declared[0].decode("latin-1") if declared else ""))[0]
    try:
        text = line.decode(codec)
    except UnicodeDecodeError:
        codec, text = "latin-1", line.decode("latin-1")
    return _head(["MSH", delimiters.field, *text.split(delimiters.field)[1:]], delimiters, codec)


def _head(fields: list[str], delimiters: Delimiters, codec: str) -> Head:
    def field(number: int) -> str:
        return plain(fields[number].strip()) if number < len(fields) else ""

    def component(number: int, part: int = 1) -> str:
        parts = field(number).split(delimiters.component)
        return parts[part - 1].strip() if part <= len(parts) else ""

    return Head(
        delimiters=delimiters,
        codec=codec,
        application=field(3),
        facility=field(4),
        to_application=field(5),
        to_facility=field(6),
        code=component(9),
        trigger=component(9, 2),
        control_id=field(10),
        processing=component(11),
        version=component(12),
        accept=field(15).upper(),
        acknowledge=field(16).upper(),
        charset=field(18),
    )
