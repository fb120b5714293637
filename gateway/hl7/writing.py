"""Values to the text of our own messages: escapes, times, versions (HL7 v2.5.1 chapter 2)."""

from __future__ import annotations

from datetime import datetime

_ESCAPES = str.maketrans({"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"})


def escape(text: str) -> str:
    """Make text safe inside one (sub)component: delimiters escaped, control characters blanked."""
    printable = "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else " " for c in text)
    return printable.strip().translate(_ESCAPES)


def timestamp(moment: datetime | None) -> str:
    """Write a time as DTM (chapter 2A.22) to the second; the zone only where it is known."""
    if moment is None:
        return ""
    return moment.strftime("%Y%m%d%H%M%S") + moment.strftime("%z")[:5]


def parts(text: str, delimiter: str) -> str:
    """Escape a value whose own text may be structured; of its delimiters the last are dropped."""
    return delimiter.join(escape(part) for part in text.split(delimiter)).rstrip(delimiter)


def since(version: str, wanted: tuple[int, int]) -> bool:
    """Tell whether a version of HL7 is this one, `(major, minor)`, or a later one."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= wanted
