"""Never the wrong patient: header and ADT are compared, and the visit is that of ECG time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.arrivals import PATIENT, take

from gateway.ecg import Encounter, Patient
from gateway.identity import Visit, Word, disagreement, find_visit, newest_word
from gateway.store import Store

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "adt"),
    [
        (Patient(family="Müller"), Patient(family="MUELLER")),
        (Patient(family="Müller"), Patient(family="Muller")),
        (Patient(family="O'Neill-Smith"), Patient(family="ONEILL SMITH")),
        (Patient(family="Strauß"), Patient(family="STRAUSS")),
        (Patient(given="A."), Patient(given="Anna")),
        (Patient(given="Anna Maria"), Patient(given="ANNA")),
        (Patient(birth_date="19500101"), Patient(birth_date="195001011200")),
        (Patient(family="Test"), Patient()),
        (Patient(birth_date="19500101"), Patient(birth_date="")),
        (Patient(sex="O"), Patient(sex="F")),
    ],
)
def test_same_person_written_in_two_ways(header: Patient, adt: Patient):
    """Case, accents, punctuation, initials and empty fields are no disagreement."""
    assert disagreement(header, adt) == ""
    assert disagreement(adt, header) == ""


@pytest.mark.parametrize(
    ("header", "adt", "field"),
    [
        (Patient(birth_date="19500101"), Patient(birth_date="19500110"), "birth-date"),
        (Patient(family="Test"), Patient(family="Best"), "family"),
        (Patient(family="Test"), Patient(family="Tester"), "family"),
        (Patient(given="Anna"), Patient(given="Berta"), "given"),
        (Patient(sex="M"), Patient(sex="f"), "sex"),
    ],
)
def test_another_person(header: Patient, adt: Patient, field: str):
    """A difference in one field is named, never its value."""
    assert disagreement(header, adt) == field
    assert disagreement(adt, header) == field


@given(st.text(), st.text(), st.sampled_from(["", "M", "F", "O", "U"]))
def test_nobody_disagrees_with_himself(family: str, given_name: str, sex: str):
    """Whatever a name is made of, it agrees with itself."""
    person = Patient(id="1", family=family, given=given_name, sex=sex)
    assert disagreement(person, person) == ""


def test_visit_at_ecg_time(store: Store):
    """The visit is the one before the ECG; a later word counts for identity."""
    visit = Encounter("V1", "E", "ED")
    store.encounters.put("P1", "", visit, NOON - timedelta(hours=1), PATIENT)
    store.encounters.put("P1", "", Encounter("V2"), NOON + timedelta(hours=1), PATIENT)
    ecg = store.ecgs.get(take(store, acquired_at=NOON).ecg_id)
    assert find_visit(ecg, store.encounters) == Visit(visit, known=True)
    other = Patient(id="P1", family="Other")
    store.encounters.put("P1", "", Encounter("V2"), NOON + timedelta(hours=2), other)
    assert find_visit(ecg, store.encounters) == Visit(visit, "family", known=True)


def test_time_without_zone_and_unknown_time(store: Store):
    """A naive acquisition time is in this machine's zone; a missing one is the arrival."""
    store.encounters.put("P1", "", Encounter("V1"), NOON, PATIENT)
    naive = (NOON + timedelta(minutes=1)).astimezone().replace(tzinfo=None)
    early = (NOON - timedelta(minutes=1)).astimezone().replace(tzinfo=None)
    for identity, moment, number in (("a", naive, "V1"), ("b", None, "V1"), ("c", early, None)):
        ecg = store.ecgs.get(take(store, identity, acquired_at=moment).ecg_id)
        found = find_visit(ecg, store.encounters).encounter
        assert (found.visit_number if found else None) == number


def test_doubt_is_the_newest_word(store: Store):
    """What ADT says now counts, as a code without the value; no word is no doubt."""
    ecg = store.ecgs.get(take(store, acquired_at=NOON).ecg_id)
    assert newest_word(ecg, store.encounters) == Word()
    store.encounters.put("P1", "", Encounter("V1"), NOON, PATIENT)
    assert newest_word(ecg, store.encounters) == Word()
    other = Patient(id="P1", family="Other")
    store.encounters.put("P1", "", Encounter("V1"), NOON + timedelta(hours=1), other)
    assert newest_word(ecg, store.encounters) == Word("patient-mismatch-family")


def test_a_merged_patient_is_named_by_the_identifier_that_is_left(store: Store):
    """A40: visit and newest word are those of the other record, and so is the identifier."""
    ecg = store.ecgs.get(take(store, acquired_at=NOON).ecg_id)
    store.encounters.put("P1", "", Encounter("V1"), NOON - timedelta(hours=1), PATIENT)
    store.encounters.merge("P1", "", "P9", "HOSP")
    merged = replace(PATIENT, id="P9", id_authority="HOSP")
    visit = find_visit(ecg, store.encounters)
    assert (visit.encounter, visit.merged) == (Encounter("V1"), merged)
    assert newest_word(ecg, store.encounters) == Word(merged=merged)
    other = replace(merged, family="Other")
    store.encounters.put("P9", "HOSP", Encounter("V1"), NOON, other)
    assert newest_word(ecg, store.encounters) == Word("patient-mismatch-family", merged)


def test_patient_unknown_to_adt(store: Store):
    """Without ADT there is no visit and nothing to disagree with."""
    assert find_visit(store.ecgs.get(take(store).ecg_id), store.encounters) == Visit()
