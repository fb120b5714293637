"""MSH-1, MSH-2 and the escapes made of them (HL7 v2.5.1 chapter 2.5.4 and 2.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import NotUnderstood
from gateway.text import plain

_DELIMITER_BYTES = frozenset(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2; an empty string where the sender declared none."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def msh_2(self) -> str:
        """MSH-2 as the sender wrote it."""
        parts = (self.component, self.repetition, self.escape, self.subcomponent, self.truncation)
        return "".join(parts)

    def quote(self, text: str) -> str:
        r"""Escape delimiters and line ends in plain text (`\F\`, `\S\`, `\T\`, `\R\`, `\E\`)."""
        letters = {
            self.escape: "E",
            self.field: "F",
            self.component: "S",
            self.subcomponent: "T",
            self.repetition: "R",
        }
        mark = self.escape
        table = {
            ord(char): f"{mark}{letter}{mark}" if mark else " "
            for char, letter in letters.items()
            if char
        }
        table |= {ord("\r"): f"{mark}.br{mark}" if mark else " "}
        table |= {ord("\n"): table[ord("\r")]}
        return text.replace("\r\n", "\n").translate(table)

    def unquote(self, text: str, codec: str = "utf-8") -> str:
        r"""Give the plain text of escaped text.

        Besides the delimiters: `\Xhh..\` is bytes in the message's character set, `\.br\` and its
        kin are line ends, `\H\` and `\N\` (highlighting) vanish. Any other sequence stays as it is,
        so that nothing a sender wrote is lost. Control characters, escaped or not, become U+FFFD.
        """
        mark = self.escape
        if not mark or mark not in text:
            return plain(text)
        pattern = _escape_pattern(mark)
        meant = pattern.sub(lambda found: self._plain(found.group(0), found.group(1), codec), text)
        return plain(meant)

    def _plain(self, whole: str, code: str, codec: str) -> str:
        letters = {
            "E": self.escape,
            "F": self.field,
            "S": self.component,
            "T": self.subcomponent,
            "R": self.repetition,
            "P": self.truncation or "#",
            "H": "",
            "N": "",
        }
        if code in letters:
            return letters[code]
        if code[0] == "X":
            try:
                return bytes.fromhex(code[1:]).decode(codec)
            except UnicodeDecodeError:
                return whole
        if code[1:3] == "sp":
            return "\n" * min(int(code[3:] or 1), 100)
        return "\n" if code[1:3] in {"br", "ce"} else ""


STANDARD = Delimiters()
_PATTERNS: dict[str, re.Pattern[str]] = {}


def _escape_pattern(mark: str) -> re.Pattern[str]:
    """Give the pattern of the escape sequences that we know; at most 31 marks exist."""
    if mark not in _PATTERNS:
        quoted = re.escape(mark)
        known = r"[EFSTRPHN]|X(?:[0-9A-Fa-f]{2})+|\.(?:br|fi|nf|ce|sp\d{0,3}|(?:in|ti)[+-]?\d*)"
        _PATTERNS[mark] = re.compile(f"{quoted}({known}){quoted}")
    return _PATTERNS[mark]


def read_delimiters(body: bytes) -> Delimiters:
    """Read MSH-1 and MSH-2 from the first bytes of a message.

    Raises:
        NotUnderstood: no MSH at the start, or delimiters that are missing, repeated, letters,
            digits, spaces or outside ASCII.
    """
    if not body.startswith(b"MSH") or len(body) < 5:
        raise NotUnderstood("the message does not start with an MSH segment")
    field = body[3:4]
    found = re.split(re.escape(field) + b"|\r|\n", body[4:16], maxsplit=1)[0]
    used = field + found
    if not found or len(found) > 5 or len(set(used)) != len(used):
        raise NotUnderstood("MSH-1 and MSH-2 must be two to six different delimiters")
    if not set(used) <= _DELIMITER_BYTES:
        raise NotUnderstood("a delimiter in MSH-1 or MSH-2 is not a punctuation character")
    padded = [*found.decode("ascii"), "", "", "", ""]
    return Delimiters(field.decode("ascii"), *padded[:5])
