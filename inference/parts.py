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
    cases = with_digests(read_cohort(table))
    check_duplicates(cases)
    uses = assign(cases, folds, test_fold)
    use_of = dict(zip(cases, uses, strict=True))
    usable, refused = load_sources(cases, tell)
    parts = Parts(
        {use: [each for each in usable if use_of[each.case] == use] for use in USES},
        {use: {c: why for c, why in refused.items() if use_of[c] == use} for use in USES},
        hashlib.sha256(table.read_bytes()).hexdigest(),
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
    if not any(given):
        numbers = [int(fold) for fold in deal(cases, folds)]
    elif all(fold.isdigit() for fold in given):
        numbers = [int(fold) for fold in given]
    else:
        raise CohortError("column fold: train, val and test, or a number in every row")
    check_leakage(cases, numbers)
    there = sorted(set(numbers))
    if test_fold not in there or len(there) < 3:
        raise CohortError(f"folds are {there}: at least three, with {test_fold} to test")
    validation = there[(there.index(test_fold) + 1) % len(there)]
    use = {test_fold: "test", validation: "val"}
    return [use.get(number, "train") for number in numbers]
