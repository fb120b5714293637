"""ADT messages to what the cache of encounters learns from them (HL7 v2.5.1 chapter 3.3).

A01 admit, A04 register ──> a visit begins        A11 cancel admit ──> it never was
A02 transfer, A08 update ─> its place, its people A13 cancel discharge ──> it goes on
A03 discharge ────────────> it ends               A31 update person ──> no visit changes
                                                  A40 merge ──> two patients are one
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

from gateway.ecg import Encounter, Patient
from gateway.errors import WrongContent
from gateway.hl7.people import encounter_from, patient_from, retired_from
from gateway.hl7.reading import Message, Segment
from gateway.hl7.times import parse_time, zone_of
from gateway.store.encounters import Encounters
from gateway.store.rows import EncounterRow

TRIGGERS = frozenset({"A01", "A02", "A03", "A04", "A08", "A11", "A13", "A31", "A40"})
_BEGINS = frozenset({"A01", "A04", "A13"})
_OF_THE_PERSON = frozenset({"A31", "A40"})
_T = TypeVar("_T", Patient, Encounter)


@dataclass(frozen=True, slots=True)
class Admission:
    """What an ADT message says of one patient.

    Attributes:
        trigger: MSH-9.2.
        patient, encounter: of PID and PV1. at: of the event, aware, UTC.
        retired: the identifier of MRG-1, whose record is now that of `patient` (A40).
    """

    trigger: str
    patient: Patient
    encounter: Encounter
    at: datetime
    retired: Patient = field(default_factory=Patient)


def admissions_from(
    message: Message, now: Callable[[], datetime], zone: tzinfo | None = None
) -> tuple[Admission, ...]:
    """Read an ADT message: one admission, or each pair of PID and MRG of an A40.

    The time is EVN-6 (when it happened), else EVN-2, else MSH-7, else now; a time without a zone is
    in that of MSH-7, else in `zone`, else in this machine's.

    Raises:
        WrongContent: no patient identifier, or a merge of nobody.
    """
    zone = zone_of(message) or zone
    times = (parse_time(message.get(path), zone) for path in ("EVN-6.1", "EVN-2.1", "MSH-7.1"))
    at = (next((time for time in times if time), None) or now()).astimezone(UTC)
    trigger = message.get("MSH-9.2").strip()
    if trigger == "A40":
        return _merges(message, at)
    patient = _identified(message.first("PID"))
    return (Admission(trigger, patient, encounter_from(message.first("PV1")), at),)


def file(admission: Admission, cache: Encounters) -> None:
    """Change the cache as the message says.

    A field that the message leaves empty keeps what was known (HL7 v2.5.1 2.5.3.1), within a visit.

    Raises:
        StoreUnavailable: it cannot be changed.
    """
    who = (admission.patient.id, admission.patient.id_authority)
    visit = admission.encounter.visit_number
    if admission.trigger == "A40":
        cache.merge(admission.retired.id, admission.retired.id_authority, *who)
    elif admission.trigger == "A11" and visit:
        cache.forget(*who, visit)
    elif admission.trigger == "A13" and visit:
        cache.resume(*who, visit)
    known = cache.known(*who, admission.at)
    patient = _renewed(admission.patient, known.patient) if known else admission.patient
    over = bool(visit) and cache.has_ended(*who, visit)
    encounter, ended = _visit(admission, known, over=over)
    cache.put(*who, encounter, admission.at, patient, ended=ended)


def _merges(message: Message, at: datetime) -> tuple[Admission, ...]:
    merges = []
    pid: Segment | None = None
    for segment in message.segments:
        if segment.name == "PID":
            pid = segment
        elif segment.name == "MRG":
            retired = retired_from(segment)
            if not retired.id:
                raise WrongContent("MRG-1 has no patient identifier")
            merges.append(Admission("A40", _identified(pid), Encounter(), at, retired))
    if not merges:
        raise WrongContent("a merge without MRG segment")
    return tuple(merges)


def _identified(pid: Segment | None) -> Patient:
    patient = patient_from(pid)
    if not patient.id:
        raise WrongContent("PID-3 has no patient identifier")
    return patient


def _visit(
    admission: Admission, known: EncounterRow | None, *, over: bool
) -> tuple[Encounter, bool]:
    """Give the visit that holds from the event on, and whether there is none, or none any more.

    Args:
        admission: what the message says.
        known: what held before.
        over: the visit that the message names had ended.
    """
    said, trigger = admission.encounter, admission.trigger
    before, ended = (known.encounter, known.ended) if known else (Encounter(), True)
    same = len({said.visit_number, before.visit_number} - {""}) < 2
    cancelled = trigger == "A11" and bool(said.visit_number)
    late_word = not same and (trigger == "A03" or (over and trigger not in _BEGINS))
    if cancelled or late_word or trigger in _OF_THE_PERSON:
        return before, ended
    anew = not same or (ended and trigger in {"A01", "A04"})
    visit = said if anew else _completed(said, before)
    if visit == Encounter() or trigger in {"A03", "A11"}:
        return visit, True
    had_ended = over or (same and ended and before != Encounter())
    return visit, had_ended and trigger not in _BEGINS


def _renewed(said: Patient, known: Patient) -> Patient:
    """Fill what was left empty; what a name was in other scripts says nothing of a new one."""
    told_name = bool(said.family or said.given)
    return _completed(said, replace(known, also_named=()) if told_name else known)


def _completed(said: _T, known: _T) -> _T:
    """Fill what was left empty."""
    told: dict[str, Any] = {item.name: getattr(said, item.name) for item in fields(said)}
    return replace(known, **{name: value for name, value in told.items() if value})
