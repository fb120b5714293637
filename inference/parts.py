"""A cohort in three parts, split by patient: to train, to validate, to test."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.cohort import (
    Case,
    Tell,
    check_duplicates,
    check_leakage,
    deal,
    read_cohort,
    silent,
    with_digests,
)
from inference.errors import CohortError
from inference.sources import CohortSource, load_sources

USES = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A cohort, decoded and split.

    Attributes:
        sources: use (`train`, `val`, `test`) to its ECGs.
        refused: use to its rows that cannot be used, each with the reason.
        digest: SHA-256 of the table.
    """

    sources: Mapping[str, list[CohortSource]]
    refused: Mapping[str, Mapping[Case, str]]
    digest: str

    def split(self) -> str:
        """Give the use of every row of the table, as CSV."""
        usable = [(each.case.row, use) for use in USES for each in self.sources[use]]
        rows = sorted(usable + [(case.row, use) for use in USES for case in self.refused[use]])
        return "\n".join(["row,use", *(f"{row},{use}" for row, use in rows)]) + "\n"


def read_parts(table: Path, folds: int, test_fold: int, tell: Tell = silent) -> Parts:
    """Read, check, split and decode a cohort.

    Args:
        table: the cohort.
        folds: as in `assign`.
        test_fold: as in `assign`.
        tell: told of the decoding.

    Raises:
        CohortError: the table cannot be used, or its folds leak.
    """
    cases = _checked(table)
    return _split(table, cases, [assign(cases, folds, test_fold)], tell)[0]


def read_folds(table: Path, folds: int, tell: Tell = silent) -> dict[int, Parts]:
    """Read and decode a cohort once; give its parts by the fold that tests, for every fold.

    Raises:
        CohortError: the table cannot be used, its folds leak, or it names one split only.
    """
    cases = _checked(table)
    if {case.fold for case in cases} <= set(USES):
        raise CohortError(
            f"{table.name}, column fold: {', '.join(USES)} are one split; all folds need a number "
            "in every row, or no such column"
        )
    numbers = _numbers(cases, folds)
    there = sorted(set(numbers))
    uses = [_uses(numbers, test_fold) for test_fold in there]
    return dict(zip(there, _split(table, cases, uses, tell), strict=True))


def _checked(table: Path) -> list[Case]:
    cases = with_digests(read_cohort(table))
    check_duplicates(cases)
    return cases


def _split(
    table: Path, cases: Sequence[Case], splits: Sequence[Sequence[str]], tell: Tell
) -> list[Parts]:
    """Decode a cohort once and part it by each of some splits, a use for every case."""
    usable, refused = load_sources(cases, tell)
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    return [_parts(dict(zip(cases, uses, strict=True)), usable, refused, digest) for uses in splits]


def _parts(
    use_of: Mapping[Case, str],
    usable: Sequence[CohortSource],
    refused: Mapping[Case, str],
    digest: str,
) -> Parts:
    parts = Parts(
        {use: [each for each in usable if use_of[each.case] == use] for use in USES},
        {use: {c: why for c, why in refused.items() if use_of[c] == use} for use in USES},
        digest,
    )
    for use in USES:
        if len({source.label for source in parts.sources[use]}) != 2:
            told = Counter(parts.refused[use].values())
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(told.items()))
            raise CohortError(
                f"the {use} part needs usable ECGs of both labels; not usable: {why or 'none'}"
            )
    return parts


def assign(cases: Sequence[Case], folds: int, test_fold: int) -> list[str]:
    """Give each case its use, from the `fold` column (train, val, test, or numbers) or dealt.

    Args:
        cases: rows of the table.
        folds: how many are dealt, by patient, where the column is empty.
        test_fold: which of them tests; the next one validates, the rest trains.

    Raises:
        CohortError: unknown names, or a file or patient in two parts.
    """
    given = [case.fold for case in cases]
    if set(given) <= set(USES):
        check_leakage(cases, given)
        return given
    return _uses(_numbers(cases, folds), test_fold)


def _numbers(cases: Sequence[Case], folds: int) -> list[int]:
    """Give each case the number of its fold, from the `fold` column or dealt."""
    given = [case.fold for case in cases]
    if not any(given):
        numbers = [int(fold) for fold in deal(cases, folds)]
    elif all(fold.isdigit() for fold in given):
        numbers = [int(fold) for fold in given]
    else:
        raise CohortError("column fold: train, val and test, or a number in every row")
    check_leakage(cases, numbers)
    return numbers


def _uses(numbers: Sequence[int], test_fold: int) -> list[str]:
    there = sorted(set(numbers))
    if test_fold not in there or len(there) < 3:
        raise CohortError(f"folds are {there}: at least three, with {test_fold} to test")
    validation = there[(there.index(test_fold) + 1) % len(there)]
    use = {test_fold: "test", validation: "val"}
    return [use.get(number, "train") for number in numbers]
