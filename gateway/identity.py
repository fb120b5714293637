"""Never the wrong patient: what the ECG's header says of a patient must agree with ADT.

The visit is the one that ADT knew of at ECG time. Identity is compared with the newest word of
ADT on the same identifier, whenever that came, because a wrong header is wrong at any time. Once
ADT has merged an identifier into another, results name the other (HL7 v2.5.1 3.3.40: the first
"would then logically never be referenced in future transactions").
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from gateway.clock import moment
from gateway.ecg import Encounter, Patient
from gateway.store.rows import EcgRow, EncounterRow

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Adt(Protocol):
    """What is asked of `store.encounters`."""

    def at(self, patient_id: str, authority: str, when: datetime) -> EncounterRow | None:
        """Give what held at a time."""

    def latest(self, patient_id: str, authority: str) -> EncounterRow | None:
        """Give the newest word."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What ADT says of an ECG.

    Attributes:
        encounter: the visit at ECG time; None when ADT knows of none.
        disagreement: the first field in which header and ADT differ (`birth-date`, `family`,
            `given` or `sex`); empty when they agree or ADT does not know the patient.
        known: ADT has told of the patient, whenever that was.
        merged: the patient under the identifier that ADT merged theirs into; None for no merge.
    """

    encounter: Encounter | None = None
    disagreement: str = ""
    known: bool = False
    merged: Patient | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """The newest word of ADT on the patient of an ECG.

    Attributes:
        doubt: why it puts the patient in doubt, as a code; empty if it does not.
        merged: the patient under the identifier that ADT merged theirs into; None for no merge.
    """

    doubt: str = ""
    merged: Patient | None = None


def find_visit(ecg: EcgRow, adt: Adt) -> Visit:
    """Look up the visit of an ECG and compare the two descriptions of its patient.

    Raises:
        StoreUnavailable: the cache cannot be read.
    """
    patient = ecg.patient
    newest = adt.latest(patient.id, patient.id_authority)
    if newest is None:
        return Visit()
    found = adt.at(patient.id, patient.id_authority, _taken_at(ecg))
    encounter = found.encounter if found is not None else None
    differs = disagreement(patient, newest.patient)
    return Visit(encounter, differs, known=True, merged=_merged(patient, newest))


def newest_word(ecg: EcgRow, adt: Adt) -> Word:
    """Look up what ADT says of the patient of an ECG by now.

    Raises:
        StoreUnavailable: the cache cannot be read.
    """
    patient = ecg.patient
    newest = adt.latest(patient.id, patient.id_authority)
    if newest is None:
        return Word()
    return Word(mismatch(disagreement(patient, newest.patient)), _merged(patient, newest))


def _merged(patient: Patient, newest: EncounterRow) -> Patient | None:
    if newest.patient_id == patient.id:
        return None
    authority = newest.authority or patient.id_authority
    return replace(patient, id=newest.patient_id, id_authority=authority)


def mismatch(field: str) -> str:
    """Name the disagreement in a field as a reason; empty for none."""
    return field and f"patient-mismatch-{field}"


def disagreement(header: Patient, adt: Patient) -> str:
    """Name the first field in which two descriptions of one patient differ; empty if none does.

    A field that one side leaves empty does not differ. Names are compared without case, accents
    and punctuation; an initial agrees with the name that it begins.
    """
    differs = {
        "birth-date": _dates_differ(header.birth_date, adt.birth_date),
        "family": _names_differ(header.family, adt.family),
        "given": _names_differ(header.given, adt.given, initials=True),
        "sex": {header.sex.upper(), adt.sex.upper()} == {"M", "F"},
    }
    return next((field for field, yes in differs.items() if yes), "")


def _taken_at(ecg: EcgRow) -> datetime:
    """Give acquisition time; a naive one is in this machine's zone, a missing one is arrival."""
    return moment(ecg.acquired_at or ecg.received_at, ecg.received_at)


def _dates_differ(one: str, other: str) -> bool:
    return bool(one and other) and one[:8] != other[:8]


def _names_differ(one: str, other: str, *, initials: bool = False) -> bool:
    ours, theirs = _spellings(one), _spellings(other)
    if not all(ours | theirs) or ours & theirs:
        return False
    return not (initials and any(a.startswith(b) or b.startswith(a) for a in ours for b in theirs))


def _spellings(name: str) -> set[str]:
    """Give the ways in which carts and ADT write a name: `Müller`, `MUELLER`, `Muller`."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return {_letters(folded), _letters(folded.translate(_GERMAN))}


def _letters(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name)
    return "".join(character for character in plain if character.isalnum())
