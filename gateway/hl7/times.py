"""HL7 time stamps (HL7 v2.5.1 2.A.22 DTM, 2.A.77 TS)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo

from gateway.clock import plausible
from gateway.hl7.reading import Message

_TIME = re.compile(
    r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(?:(\d\d)(?:\.(\d{1,6})\d*)?)?(?:([+-])(\d\d)(\d\d))?"
)


def parse_time(text: str, default: tzinfo | None = None) -> datetime | None:
    """Read `YYYYMMDDHH[MM[SS[.S]]][+/-ZZZZ]`.

    Args:
        text: the field.
        default: the zone of the message's MSH-7, which holds for every time of the message that
            has none of its own (HL7 v2.5.1 2.15.9.7).

    Returns:
        Naive when neither is known. None for anything less precise than an hour (a bare date is
        not a time of acquisition), for a filler like year 1 and for what is no time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    *clock, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in clock)
    try:
        zone = default
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        micro = int((fraction or "").ljust(6, "0"))
        time = datetime(year, month, day, hour, minute, second, micro, zone)
    except ValueError:
        return None
    return time if plausible(time) else None


def zone_of(message: Message) -> tzinfo | None:
    """Give the zone of MSH-7, which holds for the whole message; None when it names none."""
    sent = parse_time(message.get("MSH-7.1"))
    return sent.tzinfo if sent else None
