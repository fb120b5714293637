"""The reference run: which record goes where, and how the network is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference.reference import ptbxl
from inference.reference.sources import CLASSES, MEASURES, PtbxlSource, usable
from inference.train import Plan, TrainConfig

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


def split(folder: Path, test_fold: int = 0) -> Split:
    """Split `ptbxl/`: one fold of `raw` to test, the next to validate, all else to train.

    PTB-XL's own folds keep patients apart between `train`, `val` and `raw`; inside `raw` a patient
    may appear twice and cannot be told, so its folds are by record.
    """
    records = [r for r in ptbxl.read(folder) if usable(r)]
    raw = sorted((r for r in records if not r.scaled), key=lambda r: int(r.key.split(":")[1]))
    of = folds(np.array([r.label for r in raw]))
    validation_fold = (test_fold + 1) % FOLDS
    held = {r.key for r, fold in zip(raw, of, strict=True) if fold in (test_fold, validation_fold)}
    training = [r for r in records if r.key not in held]
    scales = ptbxl.lead_scales(training)
    plain = [PtbxlSource(r, scales) for r in raw]
    return Split(
        training=[PtbxlSource(r, scales, INJURED) for r in training],
        validation=[s for s, fold in zip(plain, of, strict=True) if fold == validation_fold],
        test=[s for s, fold in zip(plain, of, strict=True) if fold == test_fold],
    )


def pretraining(folder: Path) -> Split:
    """Give the records that no fold of `raw` holds: one start for the networks of all folds.

    PTB-XL's `train` trains, `val` validates. Of `raw` only the leads' amplitudes are used, which
    the z-scored records lack; no label and no course of a lead.
    """
    records = [r for r in ptbxl.read(folder) if usable(r)]
    scales = ptbxl.lead_scales(records)
    return Split(
        training=[PtbxlSource(r, scales, INJURED) for r in records if r.part == "train"],
        validation=[PtbxlSource(r, scales) for r in records if r.part == "val"],
        test=[],
    )


def plan(parts: Split) -> Plan:
    """Give the training plan of a split."""
    return Plan(parts.training, parts.validation, CLASSES, MEASURES)


def config(epochs: int, **changes: object) -> TrainConfig:
    """Give the reference settings."""
    return replace(TrainConfig(epochs=epochs, peak_lr=5e-4, batch=16), **changes)  # type: ignore[arg-type]
