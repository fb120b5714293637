"""Text of others as it may be kept and passed on."""

from __future__ import annotations

_KEPT = frozenset(b"\t\n\r")
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), 127) if code not in _KEPT}


def plain(text: str) -> str:
    """Give text whose control characters, except tab and line ends, are U+FFFD.

    PostgreSQL takes no NUL in text, and an HL7 frame ends at others. They are marked, not dropped:
    an identifier without one could be another patient's.
    """
    return text if text.isprintable() else text.translate(_CONTROLS)
