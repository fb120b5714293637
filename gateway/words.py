"""How console and result PDF write values for people."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.store.rows import EcgRow
from inference.electrodes import warning
from inference.guard import in_words
from inference.thresholds import written


def clock(value: datetime | None) -> str:
    """Show a time in UTC to the second; a naive one is shown as the source gave it."""
    if value is None:
        return "—"
    if value.tzinfo is None:
        return f"{value:%Y-%m-%d %H:%M:%S} (no zone)"
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def local(value: datetime | None) -> str:
    """Show a time by its own clock, as the ward knows it; a naive one has none to name."""
    if value is None:
        return "at an unknown time"
    zone = value.isoformat(timespec="seconds")[19:] if value.tzinfo else "(no zone)"
    return f"{value:%Y-%m-%d %H:%M:%S} {zone}"


def day(value: str) -> str:
    """Show `YYYYMMDD` as a date; anything else as it came."""
    whole = len(value) == 8 and value.isdecimal()
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if whole else value or "?"


def components(value: str) -> str:
    """Show a composite value of HL7, such as a location (PV1-3), without its separators."""
    return " ".join(part for part in value.split("^") if part)


def score(row: EcgRow) -> str:
    """Show a score in as many places as its threshold needs."""
    return "—" if row.score is None else written(row.score.probability, row.score.threshold)


def threshold(row: EcgRow) -> str:
    """Show the threshold of a score."""
    return "—" if row.score is None else written(row.score.threshold)


def guard(row: EcgRow) -> str:
    """Show what the input-domain guard measured, each number with its bound, a warning first."""
    return " · ".join(filter(None, (warning(row.guard), *in_words(row.guard))))
