"""The reference run: which record goes where, and how the network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.bank import Bank
from inference.reference import ptbxl
from inference.reference.sources import CLASSES, MEASURES, PtbxlSource, usable
from inference.train import Plan

FOLDS = 5
INJURED = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Records of the development cohort by their use."""

    training: list[PtbxlSource]
    validation: list[PtbxlSource]
    test: list[PtbxlSource]


def folds(labels: np.ndarray, seed: int = 2025) -> np.ndarray:
    """Deal records into `FOLDS` folds, stratified by label: (records,) fold numbers."""
    of = np.empty(labels.size, np.intp)
    rng = np.random.default_rng(seed)
    for value in (0, 1):
        places = rng.permutation(np.flatnonzero(labels == value))
        of[places] = np.arange(places.size) % FOLDS
    return of


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The development cohort.

    PTB-XL's own folds keep patients apart between `train`, `val` and `raw`; inside `raw` a patient
    may appear twice and cannot be told, so its folds are by record.

    Attributes:
        records: all that a page can be made of.
        fold_of: key of a record of `raw` to its fold.
    """

    records: list[ptbxl.Record]
    fold_of: dict[str, int]

    def split(self, test_fold: int = 0) -> Split:
        """Give one fold of `raw` to test, the next to validate, all else to train."""
        held = (test_fold, (test_fold + 1) % FOLDS)
        training = [r for r in self.records if self.fold_of.get(r.key) not in held]
        scales = ptbxl.lead_scales(training)
        plain = {fold: [PtbxlSource(r, scales) for r in self.of_fold(fold)] for fold in held}
        return Split(
            training=[PtbxlSource(r, scales, INJURED) for r in training],
            validation=plain[held[1]],
            test=plain[held[0]],
        )

    def of_fold(self, fold: int) -> list[ptbxl.Record]:
        """Give the records of one fold of `raw`, by number."""
        records = [r for r in self.records if self.fold_of.get(r.key) == fold]
        return sorted(records, key=_number)

    def slot(self, number: int) -> list[PtbxlSource]:
        """Give every record for one slot of a bank, that `drawn` deals out to folds.

        Records without a scale borrow it from one fold of `raw`, a slot the next one's.
        """
        scales = ptbxl.lead_scales(self.of_fold(number % FOLDS))
        return [PtbxlSource(r, scales, INJURED) for r in self.records]

    def drawn(self, folder: Path, slots: int, test_fold: int) -> Bank:
        """Open a bank of `slots` slots for the training records of a split.

        Slots that borrowed scales from the folds that test and validate are left out.
        """
        held = (test_fold, (test_fold + 1) % FOLDS)
        places = [i for i, r in enumerate(self.records) if self.fold_of.get(r.key) not in held]
        return Bank(folder, places, [s for s in range(slots) if s % FOLDS not in held])


def read(folder: Path) -> Cohort:
    """Read `ptbxl/` and deal `raw` into folds.

    Raises:
        CohortError: as `ptbxl.read`.
    """
    records = [r for r in ptbxl.read(folder) if usable(r)]
    raw = sorted((r for r in records if not r.scaled), key=_number)
    dealt = folds(np.array([r.label for r in raw]))
    return Cohort(records, {r.key: int(fold) for r, fold in zip(raw, dealt, strict=True)})


def _number(record: ptbxl.Record) -> int:
    return int(record.key.split(":")[1])


def plan(parts: Split, drawn: Bank | None = None) -> Plan:
    """Give the training plan of a split, with its examples where they were drawn ahead."""
    return Plan(parts.training, parts.validation, CLASSES, MEASURES, drawn)
