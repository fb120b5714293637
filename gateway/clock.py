"""What moment a time of a source names, and which times name none."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

_YEARS = range(1900, 2200)


def plausible(taken: datetime) -> bool:
    """Tell a time from the fillers of software that knows none, such as the first day of year 1.

    Arithmetic with zones fails at both ends of the calendar, too.
    """
    return taken.year in _YEARS


def moment(taken: datetime, received: datetime, zone: tzinfo | None = None) -> datetime:
    """Give the moment, UTC, of an acquisition time.

    In the hour after the clocks are put back a time without a zone names two moments; the one
    nearer to arrival counts, so that a fresh ECG of that hour is not an hour old.

    Args:
        taken: acquisition time; one with a zone of its own is simply that moment.
        received: when it arrived, aware.
        zone: of a naive time; None means this machine's.
    """
    if taken.tzinfo is not None:
        return taken.astimezone(UTC)
    both = (taken.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return min(both, key=lambda either: abs(either - received))
