"""Never the wrong patient: header and ADT are compared, and the visit is that of ECG time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.arrivals import PATIENT, take

from gateway.ecg import Encounter, Name, Patient
from gateway.identity import (
    Visit,
    Word,
    disagreement,
    find_visit,
    newest_word,
    unlike_scripts,
)
from gateway.store import Store

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
XIAO_MING = Patient(family="王", given="小明", birth_date="19500101", sex="M")
ROMANISED = Patient(family="Wang", given="XiaoMing", birth_date="19500101", sex="M")


def people() -> st.SearchStrategy[Patient]:
    """Anybody, most often somebody whose names resemble those of the others."""
    parts = st.sampled_from(["", "Wang", "王", "Иванов", "やまだ", "Żółć", "Zolc", "W", "12"])
    parts |= st.text(max_size=4)
    return st.builds(
        Patient,
        family=parts,
        given=parts,
        birth_date=st.sampled_from(["", "19500101", "19500102", "19000101"]),
        sex=st.sampled_from(["", "M", "F", "O", "U"]),
        also_named=st.lists(st.builds(Name, parts, parts), max_size=3).map(tuple),
    )


@pytest.mark.parametrize(
    ("header", "adt"),
    [
        (Patient(family="Müller"), Patient(family="MUELLER")),
        (Patient(family="Müller"), Patient(family="Muller")),
        (Patient(family="O'Neill-Smith"), Patient(family="ONEILL SMITH")),
        (Patient(family="Strauß"), Patient(family="STRAUSS")),
        (Patient(family="Żółć", given="Łukasz"), Patient(family="ZOLC", given="Lukasz")),
        (Patient(family="Müller-Małek"), Patient(family="MUELLER MALEK")),
        (Patient(family="Sørensen"), Patient(family="Sorensen")),
        (Patient(family="DOE JANE"), Patient(family="Doe", given="Jane")),
        (Patient(family="王小明"), Patient(family="王", given="小明")),
        (Patient(family="Sørensen"), Patient(family="Soerensen")),
        (Patient(family="Kjærgård"), Patient(family="KJAERGAARD")),
        (Patient(family="Kjærgård"), Patient(family="Kjaergard")),
        (Patient(family="Đoković"), Patient(family="Djokovic")),
        (Patient(family="Đặng"), Patient(family="Dang")),
        (Patient(family="Þórðarson"), Patient(family="Thordarson")),
        (Patient(family="Ħobż"), Patient(family="HOBZ")),
        (Patient(family="Iş\N{LATIN SMALL LETTER DOTLESS I}k"), Patient(family="ISIK")),
        (Patient(family="Cœur"), Patient(family="COEUR")),
        (Patient(family="ﾔﾏﾀﾞ"), Patient(family="やまだ")),
        (Patient(family="ヤマダ"), Patient(family="やまだ")),
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
        (Patient(family="DOE JANET"), Patient(family="Doe", given="Jane"), "family"),
        (Patient(given="Anna"), Patient(given="Berta"), "given"),
        (Patient(sex="M"), Patient(sex="f"), "sex"),
    ],
)
def test_another_person(header: Patient, adt: Patient, field: str):
    """A difference in one field is named, never its value."""
    assert disagreement(header, adt) == field
    assert disagreement(adt, header) == field


@settings(deadline=None)
@given(people())
def test_nobody_disagrees_with_himself(person: Patient):
    """Whatever a name is made of, it agrees with itself."""
    assert disagreement(person, person) == ""
    assert not unlike_scripts(person, person)


@settings(deadline=None)
@given(people(), people())
def test_no_side_is_asked_first(header: Patient, adt: Patient):
    """Header and ADT weigh the same."""
    assert disagreement(header, adt) == disagreement(adt, header)
    assert unlike_scripts(header, adt) == unlike_scripts(adt, header)


@pytest.mark.parametrize(
    ("header", "adt", "field"),
    [
        ([("Wang", "XiaoMing"), ("王", "小明")], [("王", "小明")], ""),
        ([("Wang", "XiaoMing")], [("王", "小明"), ("WANG", "XIAOMING")], ""),
        ([("Yamada", "Tarou"), ("山田", "太郎")], [("山田", "太郎"), ("ﾔﾏﾀﾞ", "ﾀﾛｳ")], ""),
        ([("Yamada", "Tarou"), ("", ""), ("やまだ", "たろう")], [("ヤマダ", "タロウ")], ""),
        ([("Wang", "XiaoMing")], [("王", "小明"), ("WANG", "HSIAOMING")], "given"),
        ([("Li", "XiaoMing"), ("李", "小明")], [("王", "小明"), ("WANG", "XIAOMING")], "family"),
        ([("Doe", "Jane")], [("Roe", "Jane"), ("Doe", "Jane")], ""),
        ([("張", "三")], [("张", "三")], "family"),
    ],
)
def test_one_name_that_both_sides_write_alike_is_enough(header, adt, field: str):
    """Every representation is compared with every one; with a script in common one must agree."""
    here, there = (Patient().named(Name(*name) for name in side) for side in (header, adt))
    assert disagreement(here, there) == disagreement(there, here) == field
    assert not unlike_scripts(here, there)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, ""),
        ({"birth_date": "195001011200"}, ""),
        ({"sex": ""}, ""),
        ({"family": "王小明", "given": ""}, ""),
        ({"family": "Wang"}, ""),
        ({"birth_date": "19500102"}, "birth-date"),
        ({"birth_date": ""}, "family"),
        ({"family": "Wang", "birth_date": ""}, "given"),
        ({"sex": "F"}, "sex"),
        ({"family": "Li"}, "family"),
    ],
)
def test_without_a_common_script_the_birth_date_vouches(changes: dict[str, str], field: str):
    """`Wang` is neither `王` nor another name: both sides must know the same birth date."""
    adt = replace(XIAO_MING, **changes)
    assert disagreement(ROMANISED, adt) == field
    assert unlike_scripts(ROMANISED, adt) == (changes.get("family") != "Li")


@pytest.mark.parametrize("unknown", ["19000101", "00000000"])
def test_a_birth_date_that_stands_for_none_vouches_for_nobody(unknown: str):
    """Two systems that fill in the same date for an unknown one do not agree on a person."""
    header, adt = (replace(side, birth_date=unknown) for side in (ROMANISED, XIAO_MING))
    assert disagreement(header, adt) == "family"


@pytest.mark.parametrize("header", ["12345", "Wang小明"])
def test_what_is_no_other_script_is_another_name(header: str):
    """Digits are no script, and a name in two scripts can be compared with each of them."""
    assert disagreement(replace(ROMANISED, family=header), XIAO_MING) == "family"


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
