"""Never the wrong patient: what the ECG's header says of a patient must agree with ADT.

The visit is the one that ADT knew of at ECG time. Identity is compared with the newest word of
ADT on the same identifier, whenever that came, because a wrong header is wrong at any time. Once
ADT has merged an identifier into another, results name the other (HL7 v2.5.1 3.3.40: the first
"would then logically never be referenced in future transactions").

A name may come in several scripts (PS3.5 6.2.1, XPN-8): one that both sides write alike is enough.
Where they share no script, identifier, birth date and sex decide
(`docs/decisions/0016-names-without-a-common-script.md`).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from gateway.clock import moment
from gateway.ecg import Encounter, Name, Patient
from gateway.store.rows import EcgRow, EncounterRow

_IN_TWO_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "đ": "dj", "ð": "dh"}
)
_WHOLE = {"ł": "l", "đ": "d", "ð": "d", "ħ": "h", "\N{LATIN SMALL LETTER DOTLESS I}": "i"}
_WHOLE |= {"ø": "o", "æ": "ae", "œ": "oe", "þ": "th"}
_HIRAGANA = {chr(code): chr(code - 0x60) for code in range(0x30A1, 0x30F7)}
_BASE = str.maketrans(_WHOLE | _HIRAGANA)
"""Letters that Unicode does not take apart, and katakana, to what they are compared as."""

_OLDEST = "1901"
"""Nobody alive was born before; systems write 19000101 or 00000000 for an unknown birth date."""


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
        unlike_scripts: header and ADT write the name in scripts that cannot be compared.
        known: ADT has told of the patient, whenever that was.
        merged: the patient under the identifier that ADT merged theirs into; None for no merge.
    """

    encounter: Encounter | None = None
    disagreement: str = ""
    unlike_scripts: bool = False
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
    return Visit(
        encounter,
        disagreement(patient, newest.patient),
        unlike_scripts(patient, newest.patient),
        known=True,
        merged=_merged(patient, newest),
    )


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
    and punctuation; an initial agrees with the name that it begins. Names without a common script
    differ unless both sides know the same birth date.
    """
    match, part = _compare_names(header, adt)
    unproven = match is _Match.UNLIKE and not _born_alike(header.birth_date, adt.birth_date)
    differs = {
        "birth-date": _dates_differ(header.birth_date, adt.birth_date),
        part: match is _Match.OTHER or unproven,
        "sex": {header.sex.upper(), adt.sex.upper()} == {"M", "F"},
    }
    return next((field for field, yes in differs.items() if yes), "")


def unlike_scripts(header: Patient, adt: Patient) -> bool:
    """Tell whether two descriptions write the name in scripts that cannot be compared."""
    return _compare_names(header, adt)[0] is _Match.UNLIKE


def _taken_at(ecg: EcgRow) -> datetime:
    """Give acquisition time; a naive one is in this machine's zone, a missing one is arrival."""
    return moment(ecg.acquired_at or ecg.received_at, ecg.received_at)


def _dates_differ(one: str, other: str) -> bool:
    return bool(one and other) and one[:8] != other[:8]


def _born_alike(one: str, other: str) -> bool:
    return one[:8] == other[:8] >= _OLDEST


class _Match(IntEnum):
    """What comes of comparing two names; of the parts of one, the greatest counts."""

    NONE = 0
    SAME = 1
    UNLIKE = 2
    OTHER = 3


def _compare_names(header: Patient, adt: Patient) -> tuple[_Match, str]:
    """Compare each name with each: one that is the same is enough.

    Returns:
        What came of it, and the part that decided, `given` before `family`: where only given names
            differ, a family name is the same.
    """
    found = dict(sorted(_compare(one, other) for one in header.names for other in adt.names))
    order = (_Match.SAME, _Match.OTHER, _Match.UNLIKE, _Match.NONE)
    return next((match, found[match]) for match in order if match in found)


def _compare(one: Name, other: Name) -> tuple[_Match, str]:
    """Compare two names; some write all of it into one component, `DOE JANE` for `DOE^JANE`."""
    whole = [_spellings(name.family + name.given) for name in (one, other)]
    if any(whole[0] & whole[1]):
        return _Match.SAME, "family"
    family = _compare_parts(one.family, other.family)
    given = _compare_parts(one.given, other.given, initials=True)
    return (family, "family") if family >= given else (given, "given")


def _compare_parts(one: str, other: str, *, initials: bool = False) -> _Match:
    ours, theirs = _spellings(one), _spellings(other)
    if not all(ours | theirs):
        return _Match.NONE
    begins = any(a.startswith(b) or b.startswith(a) for a in ours for b in theirs)
    if ours & theirs or (initials and begins):
        return _Match.SAME
    scripts = _scripts(ours), _scripts(theirs)
    return _Match.UNLIKE if all(scripts) and scripts[0].isdisjoint(scripts[1]) else _Match.OTHER


def _scripts(spellings: set[str]) -> set[str]:
    """Name the scripts of letters: `LATIN`, `CJK`, as the names of letters in Unicode begin."""
    letters = {letter for spelling in spellings for letter in spelling if letter.isalpha()}
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in letters}


def _spellings(name: str) -> set[str]:
    """Give the ways in which carts and ADT write a name: `Müller`, `MUELLER`, `Muller`."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return {_letters(folded), _letters(folded.translate(_IN_TWO_LETTERS))}


def _letters(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).translate(_BASE)
    return "".join(character for character in plain if character.isalnum())
