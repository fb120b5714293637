"""PID and PV1 to values: who the message is about and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.ecg import Encounter, Name, Patient
from gateway.hl7.reading import Segment

_SEXES = {"M": "M", "F": "F", "O": "O", "U": "U", "A": "O", "N": "O"}
_MOST_NAMES = 10
"""Repetitions of PID-5 that are read: three scripts of a name, and a few former ones."""


def patient_from(pid: Segment | None) -> Patient:
    """Read PID (HL7 v2.5.1 3.4.2); empty text where the sender gave nothing or `""`.

    PID-3 may list several identifiers: the one typed `MR` counts, else the first that has a value.
    Version 2.1 and 2.2 senders put it into PID-2. PID-5 repeats a name in other scripts, which
    XPN-8 may label (table 0465; the letters tell as well), and may list former ones.
    """
    if pid is None:
        return Patient()
    known_as = _identified(pid, 3)
    return replace(
        known_as,
        id=known_as.id or pid.get("2.1").strip(),
        birth_date=_date(pid.get("7.1")),
        sex=_SEXES.get(pid.get("8.1").strip().upper(), ""),
    ).named(_names(pid))


def retired_from(mrg: Segment) -> Patient:
    """Read MRG-1 (HL7 v2.5.1 3.4.10): the identifier whose record was merged into another."""
    return _identified(mrg, 1)


def encounter_from(pv1: Segment | None) -> Encounter:
    """Read PV1 (HL7 v2.5.1 3.4.3); PV1-3 and PV1-7 become plain text joined by `^`."""
    if pv1 is None:
        return Encounter()
    return Encounter(
        visit_number=pv1.get("19.1").strip(),
        patient_class=pv1.get("2.1").strip(),
        location=_joined(pv1, 3, 11),
        attending=_joined(pv1, 7, 7),
    )


def _identified(segment: Segment, field: int) -> Patient:
    """Read a list of identifiers (CX, HL7 v2.5.1 2.A.14): the one typed `MR`, else the first."""
    repeats = range(segment.count(field))
    filled = [repeat for repeat in repeats if segment.get(f"{field}.1", repeat).strip()]
    typed = [repeat for repeat in filled if segment.get(f"{field}.5", repeat).strip() == "MR"]
    repeat = next(iter(typed or filled), 0)
    return Patient(
        id=segment.get(f"{field}.1", repeat).strip(),
        id_authority=segment.get(f"{field}.4.1", repeat).strip(),
        id_type=segment.get(f"{field}.5", repeat).strip(),
    )


def _names(pid: Segment) -> Iterator[Name]:
    for repeat in range(min(pid.count(5), _MOST_NAMES)):
        yield Name(*(pid.get(path, repeat).strip() for path in ("5.1.1", "5.2", "5.3")))


def _date(text: str) -> str:
    """Give `YYYYMMDD`, or nothing for a shorter date or another text."""
    date = text.strip()[:8]
    return date if len(date) == 8 and date.isascii() and date.isdigit() else ""


def _joined(segment: Segment, field: int, parts: int) -> str:
    """Give the first repetition's components as plain text, `point^room^bed`."""
    texts = [segment.get(f"{field}.{part}.1").strip() for part in range(1, parts + 1)]
    return "^".join(text.replace("^", " ") for text in texts).rstrip("^")
