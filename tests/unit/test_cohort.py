"""Cohort tables: what is wrong is named, and no patient or file is in two folds."""

from datetime import datetime

import numpy as np
import pytest

from inference.cohort import (
    Case,
    check_duplicates,
    check_leakage,
    deal,
    halves,
    read_cohort,
    with_digests,
)
from inference.errors import CohortError


def write(folder, text, files=("a.png", "b.png")):
    for name in files:
        (folder / name).write_bytes(name.encode())
    (folder / "cohort.csv").write_text(text)
    return folder / "cohort.csv"


def test_a_table_is_read_with_its_optional_columns(tmp_path):
    """Paths are relative to the table; a byte-order mark does not matter."""
    table = write(tmp_path, "\ufeffpath,label,patient,sex,age\na.png,1,p1,F,61\nb.png,0,p2,,\n")
    one, two = read_cohort(table)
    assert (one.path, one.label, one.sex, one.age, one.age_band) == (
        tmp_path / "a.png",
        1,
        "F",
        61.0,
        "60-69",
    )
    assert (two.age, two.age_band, two.row) == (None, "", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\na.png,1\n", "no column patient"),
        ("path,label,patient\na.png,yes,p\n", "row 2, column label"),
        ("path,label,patient\na.png,1,p\nc.png,0,q\n", "row 3, column path"),
        ("path,label,patient\na.png,1,\n", "row 2, column patient"),
        ("path,label,patient,age\na.png,1,p,old\n", "row 2, column age: not a number"),
        ("path,label,patient,age\na.png,1,p,nan\n", "row 2, column age: years from 0 to 130"),
        ("path,label,patient,age\na.png,1,p,-5\n", "row 2, column age: years from 0 to 130"),
        ("path,label,patient,age\na.png,1,p,inf\n", "row 2, column age: years from 0 to 130"),
        ("path,label,patient,time\na.png,1,p,spring\n", "row 2, column time"),
        ("path,label,patient\n", "no rows"),
    ],
)
def test_what_is_wrong_is_named_by_row_and_column(tmp_path, text, said):
    """So that a person can mend the table."""
    with pytest.raises(CohortError, match=said):
        read_cohort(write(tmp_path, text))


def test_a_table_that_is_not_there_is_said_to_be_none(tmp_path):
    """Not that it is no CSV; of one in another encoding that is said."""
    with pytest.raises(CohortError, match=r"none\.csv: No such file"):
        read_cohort(tmp_path / "none.csv")
    table = write(tmp_path, "")
    table.write_bytes(b"path,label,patient\n\xff\xfe,1,p\n")
    with pytest.raises(CohortError, match="cannot be read as UTF-8 CSV"):
        read_cohort(table)


def test_a_cohort_is_parted_by_time(tmp_path):
    """By the local time that the table gives, with or without zone; one moment only is no part."""
    text = "path,label,patient,time\na.png,1,p,2026-11-25\nb.png,0,q,2026-11-25T10:11:12+01:00\n"
    times = [case.time for case in read_cohort(write(tmp_path, text))]
    assert times == [datetime(2026, 11, 25), datetime(2026, 11, 25, 10, 11, 12)]
    assert halves([*times, None]) == ["earlier half", "later half", ""]
    early, late = times
    assert halves([early, early, early, late]) == [*["earlier half"] * 3, "later half"]
    assert halves([early, early, None]) == ["", "", ""]


def cases(count, patients, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Case(path=None, label=int(rng.random() < 0.4), patient=f"p{rng.integers(patients)}", row=i)
        for i in range(count)
    ]


def test_folds_keep_patients_whole_and_outcomes_even():
    """Three hundred ECGs of 120 patients: no patient in two folds, prevalence alike."""
    some = cases(300, 120)
    folds = deal(some)
    check_leakage(some, folds)
    labels = np.array([c.label for c in some])
    shares = [labels[folds == f].mean() for f in range(5)]
    assert max(shares) - min(shares) < 0.15
    assert np.bincount(folds).min() > 45
    assert (deal(some) == folds).all()


def test_patients_who_share_a_file_stay_together():
    """The same bytes under two patient numbers are one group."""
    some = [
        Case(None, i % 2, f"p{i}", digest="same" if i in (3, 20) else f"d{i}", row=i)
        for i in range(40)
    ]
    folds = deal(some)
    assert folds[3] == folds[20]
    check_leakage(some, folds)


def test_a_given_split_that_leaks_is_refused():
    """One patient, and one file, in two folds: the rows are named."""
    one = Case(None, 1, "p1", digest="x", row=2)
    with pytest.raises(CohortError, match="rows 2 and 3 have the same patient"):
        check_leakage([one, Case(None, 1, "p1", digest="y", row=3)], ["train", "test"])
    with pytest.raises(CohortError, match="same file content"):
        check_leakage([one, Case(None, 1, "p2", digest="x", row=3)], ["train", "test"])


def test_duplicates_are_found_by_content(tmp_path):
    """Two names, one content: counted; with two labels, refused."""
    table = write(tmp_path, "path,label,patient\na.png,1,p\nb.png,1,p\n")
    (tmp_path / "b.png").write_bytes(b"a.png")
    assert check_duplicates(with_digests(read_cohort(table))) == 1
    table.write_text("path,label,patient\na.png,1,p\nb.png,0,p\n")
    with pytest.raises(CohortError, match="one file with two labels"):
        check_duplicates(with_digests(read_cohort(table)))


def test_too_few_patients_for_the_folds():
    """Three patients do not fill five folds."""
    with pytest.raises(CohortError, match="5 folds"):
        deal([Case(None, i % 2, f"p{i}") for i in range(6)])


def test_a_wfdb_record_is_known_by_its_signals(tmp_path):
    """A record copied under another name is the same content; other signals are not."""

    def record(name, signals):
        lines = [
            f"{name} 2 250 500",
            *(f"{name}.dat 16 1000/mV 16 0 0 0 0 {n}" for n in ("I", "II")),
        ]
        (tmp_path / f"{name}.hea").write_text("\n".join(lines))
        (tmp_path / f"{name}.dat").write_bytes(signals)
        return Case(tmp_path / f"{name}.hea", 1, name)

    cases = [record("a", bytes(2000)), record("b", bytes(2000)), record("c", b"1" * 2000)]
    one, copy, other = (case.digest for case in with_digests(cases))
    assert one == copy
    assert one != other
