"""A cohort table: which ECG files, with which outcome, of which patient.

CSV with a header. Columns: `path` (relative to the table), `label` (0 or 1), `patient`, and
optionally `fold`, `site`, `sex`, `age` (years), `time` (ISO 8601). One row an ECG.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.decode import content_of
from inference.errors import CohortError, Undecodable

REQUIRED = ("path", "label", "patient")
OLDEST = 130.0  # years

Tell = Callable[[str, int, int], None]
"""Told of slow work as it goes on: what is done, how many are done, of how many."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a cohort.

    Attributes:
        path: the ECG file; of a WFDB record, its header.
        label: 1 for the outcome, else 0.
        patient: groups the ECGs of one person; never shown in a report.
        fold, site, sex: as given, empty when absent.
        age: years, None when absent.
        time: when it was recorded, local and without its zone; None when absent.
        digest: SHA-256 of the ECG's bytes, empty until `with_digests`.
        row: line in the table, for messages.
    """

    path: Path
    label: int
    patient: str
    fold: str = ""
    site: str = ""
    sex: str = ""
    age: float | None = None
    time: datetime | None = None
    digest: str = ""
    row: int = 0

    @property
    def key(self) -> str:
        """Name the row without PHI."""
        return f"row {self.row}"

    @property
    def age_band(self) -> str:
        """Give the decade of life used in subgroup tables, one band below 40 and one from 80."""
        if self.age is None:
            return ""
        decade = int(self.age // 10) * 10
        return "0-39" if decade < 40 else "80+" if decade >= 80 else f"{decade}-{decade + 9}"


def read_cohort(table: Path) -> list[Case]:
    """Read and check a cohort table.

    Raises:
        CohortError: naming the row and column of the first thing that is wrong.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            missing = [name for name in REQUIRED if name not in names]
            if missing:
                raise CohortError(f"{table.name}: no column {', '.join(missing)}")
            cases = [_case(table, row, dict(each)) for row, each in enumerate(reader, start=2)]
    except OSError as error:
        raise CohortError(f"{table}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CohortError(f"{table.name} cannot be read as UTF-8 CSV") from error
    if not cases:
        raise CohortError(f"{table.name}: no rows")
    return cases


def _case(table: Path, row: int, given: dict[str, str | None]) -> Case:
    def value(name: str) -> str:
        return (given.get(name) or "").strip()

    def wrong(column: str, what: str) -> CohortError:
        return CohortError(f"{table.name} row {row}, column {column}: {what}")

    if value("label") not in ("0", "1"):
        raise wrong("label", "0 or 1 is needed")
    if not value("patient"):
        raise wrong("patient", "empty; without it one person could be in two folds")
    path = table.parent / value("path")
    if not value("path") or not path.is_file():
        raise wrong("path", "no such file")
    return Case(
        path=path,
        label=int(value("label")),
        patient=value("patient"),
        fold=value("fold"),
        site=value("site"),
        sex=value("sex"),
        age=_age(value("age"), wrong),
        time=_time(value("time"), wrong),
        row=row,
    )


Wrong = Callable[[str, str], CohortError]
"""Makes the error of a row from a column and what is wrong there."""


def _age(given: str, wrong: Wrong) -> float | None:
    if not given:
        return None
    try:
        age = float(given)
    except ValueError:
        raise wrong("age", "not a number of years") from None
    if not 0 <= age <= OLDEST:  # nor what is no number
        raise wrong("age", f"years from 0 to {OLDEST:g} are needed")
    return age


def _time(given: str, wrong: Wrong) -> datetime | None:
    try:
        return datetime.fromisoformat(given).replace(tzinfo=None) if given else None
    except ValueError:
        raise wrong("time", "no date or time in ISO 8601, like 2026-11-25T10:11") from None


def halves(times: Sequence[datetime | None]) -> list[str]:
    """Part a cohort by time, as temporal validation does: `earlier half`, `later half`.

    Empty where the time is unknown, and everywhere when all times are the same.
    """
    known = sorted(time for time in times if time is not None)
    if not known or known[0] == known[-1]:
        return [""] * len(times)
    middle = next(time for time in known[len(known) // 2 :] if time > known[0])
    return [
        "" if time is None else "earlier half" if time < middle else "later half" for time in times
    ]


def with_digests(cases: Sequence[Case]) -> list[Case]:
    """Hash each ECG's bytes; of a WFDB record those of its signals, whatever it is called."""
    return [replace(case, digest=_digest(case.path)) for case in cases]


def _digest(path: Path) -> str:
    try:
        files = content_of(path)
        content = b"".join(file.read_bytes() for file in files)
    except (Undecodable, FileNotFoundError):
        content = path.read_bytes()  # no record: decoding will refuse it with its reason
    return hashlib.sha256(content).hexdigest()


def check_leakage(cases: Sequence[Case], folds: Sequence[object]) -> None:
    """Refuse a split that puts one file or one patient into two folds.

    Raises:
        CohortError: with the rows.
    """
    for what, value in (("file content", "digest"), ("patient", "patient")):
        seen: dict[str, tuple[object, int]] = {}
        for case, fold in zip(cases, folds, strict=True):
            held = str(getattr(case, value))
            if not held:
                continue
            other = seen.setdefault(held, (fold, case.row))
            if other[0] != fold:
                raise CohortError(
                    f"rows {other[1]} and {case.row} have the same {what} "
                    f"but lie in folds {other[0]} and {fold}"
                )


def check_duplicates(cases: Sequence[Case]) -> int:
    """Count repeated files; the same file with two outcomes is an error.

    Raises:
        CohortError: with the rows.
    """
    first: dict[str, Case] = {}
    repeats = 0
    for case in cases:
        other = first.setdefault(case.digest, case)
        repeats += other is not case
        if other.label != case.label:
            raise CohortError(f"rows {other.row} and {case.row} are one file with two labels")
    return repeats


def deal(cases: Sequence[Case], count: int = 5, seed: int = 1) -> NDArray[np.intp]:
    """Deal whole patients into `count` folds, stratified by outcome.

    Patients who share a file are kept together. Within each stratum (patient with or without the
    outcome) patients are shuffled and go to the fold that has the fewest of their kind so far.

    Returns:
        (cases,) fold numbers, 0 to count - 1.

    Raises:
        CohortError: too few patients of one kind to fill the folds.
    """
    groups = _groups(cases)
    strata: dict[int, list[list[int]]] = {0: [], 1: []}
    for members in groups:
        strata[max(cases[i].label for i in members)].append(members)
    of = np.zeros(len(cases), np.intp)
    rng = np.random.default_rng(seed)
    for label, stratum in strata.items():
        if len(stratum) < count:
            raise CohortError(
                f"patients with label {label}: {len(stratum)}; {count} folds need more"
            )
        filled = Counter(dict.fromkeys(range(count), 0))
        for place in rng.permutation(len(stratum)):
            fold = min(range(count), key=lambda f: (filled[f], f))
            of[stratum[place]] = fold
            filled[fold] += len(stratum[place])
    return of


def _groups(cases: Sequence[Case]) -> list[list[int]]:
    """Join rows that share a patient or a file: connected components."""
    parent = list(range(len(cases)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, case in enumerate(cases):
        for held in (("patient", case.patient), ("digest", case.digest)):
            if held[1]:
                parent[root(i)] = root(first.setdefault(held, i))
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(len(cases)):
        members[root(i)].append(i)
    return list(members.values())
