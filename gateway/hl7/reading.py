"""HL7 v2 text to values: delimiters, escapes, repeats, components, character sets.

Reads versions 2.1 to 2.8 alike (HL7 v2.5.1 chapter 2): a segment is a name and fields, whatever
its version calls them. Unknown segments and trailing fields are kept. Nothing here logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import NotUnderstood
from gateway.hl7.charsets import codec_for
from gateway.hl7.delimiters import STANDARD, Delimiters, read_delimiters

NULL = '""'
MAX_LINES = 1_000_000
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_PATH = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment.

    Attributes:
        name: three characters, `PID`.
        fields: raw text by HL7 position; `fields[0]` is the name, and of MSH `fields[1]` is MSH-1.
        delimiters: of the message. codec: Python's name of the message's character set.
    """

    name: str
    fields: tuple[str, ...]
    delimiters: Delimiters = STANDARD
    codec: str = "utf-8"

    def get(self, path: str, repeat: int = 0) -> str:
        """Give plain text at `field[.component[.subcomponent]]` of one repetition.

        Args:
            path: `"3.1"` is component 1 of field 3; without a component the whole repetition.
            repeat: repetition of the field, from 0.

        Returns:
            Unescaped text; empty when absent, and for the HL7 null `""` (ask `is_null`).
        """
        raw = self.raw(path, repeat)
        return "" if raw == NULL else self.delimiters.unquote(raw, self.codec)

    def is_null(self, path: str, repeat: int = 0) -> bool:
        """Tell whether the sender wrote `""`: delete the value, as opposed to saying nothing."""
        return self.raw(path, repeat) == NULL

    def raw(self, path: str, repeat: int = 0) -> str:
        """Give the text as it was sent, escapes kept."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise ValueError(f"not an HL7 position: {path}")
        field, component, subcomponent = match.groups()
        text = self._repetition(int(field), repeat)
        if component is not None:
            text = _part(text, self.delimiters.component, int(component))
        if subcomponent is not None:
            text = _part(text, self.delimiters.subcomponent, int(subcomponent))
        return text

    def count(self, field: int) -> int:
        """Count the repetitions of a field; 0 when it is empty or absent."""
        text = self.fields[field] if field < len(self.fields) else ""
        separator = self.delimiters.repetition
        if not text or self._is_msh_2(field):
            return int(bool(text))
        return text.count(separator) + 1 if separator else 1

    def _is_msh_2(self, field: int) -> bool:
        return self.name == "MSH" and field <= 2

    def _repetition(self, field: int, repeat: int) -> str:
        text = self.fields[field] if field < len(self.fields) else ""
        if self._is_msh_2(field):
            return text
        return _part(text, self.delimiters.repetition, repeat + 1)


def _part(text: str, separator: str, number: int) -> str:
    """Give the part with this number, from 1."""
    if not separator or separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator)
    return parts[number - 1] if 0 < number <= len(parts) else ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        segments: in the order sent; the first is MSH.
        delimiters: MSH-1 and MSH-2. codec: Python's name of the character set it was read with.
        notes: what was tolerated, in words without PHI.
    """

    segments: tuple[Segment, ...]
    delimiters: Delimiters
    codec: str
    notes: tuple[str, ...] = ()

    def get(self, path: str, repeat: int = 0) -> str:
        """Give plain text at e.g. `PID-3.1` of the first such segment; empty when absent."""
        segment = self.first(path[:3])
        return segment.get(path[4:], repeat) if segment else ""

    def first(self, name: str) -> Segment | None:
        """Give the first segment of this name."""
        return next((segment for segment in self.segments if segment.name == name), None)

    def all(self, name: str) -> tuple[Segment, ...]:
        """Give every segment of this name, in order."""
        return tuple(segment for segment in self.segments if segment.name == name)


def read(data: bytes, charset: str = "") -> Message:
    """Read one message.

    Args:
        data: the message without its MLLP frame.
        charset: an HL7 table 0211 name that overrides MSH-18, for senders that declare it wrongly.

    Raises:
        NotUnderstood: no MSH, unusable delimiters, bytes outside the character set, or a second
            MSH (two messages in one frame could mix two patients).
    """
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n \t")
    delimiters = read_delimiters(body)
    codec, notes = codec_for(charset or _msh_18(body, delimiters))
    try:
        text = body.decode(codec)
    except UnicodeDecodeError as error:
        raise NotUnderstood(f"byte {error.start} is outside the character set {codec}") from None
    lines, line_notes = _lines(text, delimiters)
    segments = tuple(_segment(line, delimiters, codec) for line in lines)
    if sum(segment.name == "MSH" for segment in segments) != 1:
        raise NotUnderstood("more than one MSH segment in one message")
    return Message(segments, delimiters, codec, (*notes, *line_notes))


def _msh_18(body: bytes, delimiters: Delimiters) -> str:
    line = re.split(b"[\r\n]", body, maxsplit=1)[0].decode("latin-1")
    fields = line.split(delimiters.field)
    text = fields[17] if len(fields) > 17 else ""
    repetition = delimiters.repetition
    return "~".join(text.split(repetition)) if repetition else text


def _lines(text: str, delimiters: Delimiters) -> tuple[list[str], list[str]]:
    r"""Cut text into segments; a line that is none continues the field before it.

    Senders wrap base64 and put line ends into notes, though HL7 has `\.br\` for that.
    """
    if text.count("\r") + text.count("\n") > MAX_LINES:
        raise NotUnderstood(f"more than {MAX_LINES} lines in one message")
    notes = ["line feeds, where HL7 has CR"] if "\n" in text else []
    if not text.endswith(("\r", "\n")):
        notes.append("no CR after the last segment")
    segments: list[list[str]] = []
    for line in text.replace("\r\n", "\r").replace("\n", "\r").split("\r"):
        if _SEGMENT.fullmatch(line[:3]) and line[3:4] in {"", delimiters.field}:
            segments.append([line])
        elif line.strip() and segments:
            segments[-1].append(line)
    if any(len(parts) > 1 for parts in segments):
        notes.append("a line end inside a field")
    return ["\n".join(parts) for parts in segments], notes


def _segment(line: str, delimiters: Delimiters, codec: str) -> Segment:
    fields = line.split(delimiters.field)
    name = fields[0]
    if name == "MSH":
        fields.insert(1, delimiters.field)
    return Segment(name, tuple(fields), delimiters, codec)
