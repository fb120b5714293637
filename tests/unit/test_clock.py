"""Times without a zone: which moment they name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.clock import moment

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("taken", "zone", "expected"),
    [
        (datetime(2026, 7, 1, 12, 0), BERLIN, utc(2026, 7, 1, 10, 0)),
        (datetime(2026, 7, 1, 12, 0), NEW_YORK, utc(2026, 7, 1, 16, 0)),
        (datetime(2026, 1, 1, 12, 0), BERLIN, utc(2026, 1, 1, 11, 0)),
        (utc(2026, 7, 1, 12, 0), BERLIN, utc(2026, 7, 1, 12, 0)),
    ],
)
def test_a_zone_makes_a_moment(taken: datetime, zone: ZoneInfo, expected: datetime):
    """A naive time is in the given zone, summer or winter; an aware one is what it is."""
    assert moment(taken, expected, zone) == expected


@pytest.mark.parametrize("received", [utc(2026, 10, 25, 0, 31), utc(2026, 10, 25, 1, 31)])
def test_in_the_repeated_hour_an_ecg_is_fresh(received: datetime):
    """02:30 comes twice when the clocks are put back; a fresh ECG is fresh in both."""
    taken = datetime(2026, 10, 25, 2, 30)
    assert received - moment(taken, received, BERLIN) == timedelta(minutes=1)


def test_without_a_zone_it_is_this_machines():
    """The same naive time, read where we are."""
    now = datetime(2026, 7, 1, 12, 0)
    assert moment(now, utc(2026, 7, 1)) == now.astimezone(UTC)
