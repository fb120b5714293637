"""PTB-XL records as training sources: scale, injury currents, augmentation, auxiliary targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference import augment
from inference.augment import AugmentConfig
from inference.beats import measure
from inference.errors import Unscorable
from inference.examples import Drawn
from inference.forms import F32, Waveform
from inference.reference import injury
from inference.reference.ptbxl import RATE_HZ, STATEMENTS, SUPERCLASSES, Record
from inference.sources import columns
from inference.tracings import cut

CLASSES = len(SUPERCLASSES) + len(STATEMENTS)
MEASURES = 48
_UNITS_MV = np.array([0.08, 0.2, 0.4, 0.4], np.float32)  # about one standard deviation each
_FARTHEST = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class PtbxlSource:
    """One record, drawn with a scale, perhaps with an injury current.

    Attributes:
        record: the record.
        scales_mv: (n, 12) lead standard deviations to draw from when the record's are lost.
        injured: probability that a normal record is drawn with an injury current.
    """

    record: Record
    scales_mv: F32
    injured: float = 0.0

    @property
    def key(self) -> str:
        """Name the record."""
        return self.record.key

    @property
    def label(self) -> int:
        """Give the stand-in endpoint of the record as it was read."""
        return self.record.label

    def draw(self, config: AugmentConfig, rng: np.random.Generator) -> Drawn:
        """Draw it once."""
        record, label = self.record, float(self.record.label)
        classes = np.concatenate((record.superclasses, record.statements))
        samples = self._millivolts(rng)
        if classes[0] == 1 and label == 0 and rng.random() < self.injured:
            samples = injury.apply(samples, record.peaks, RATE_HZ, injury.draw(rng))
            label, classes = 1.0, _known_of_injured(classes)
        samples, peaks = augment.waveform(samples, record.peaks, RATE_HZ, config, rng)
        measures = np.clip(measure(samples, peaks, RATE_HZ) / _UNITS_MV, -_FARTHEST, _FARTHEST)
        return Drawn(columns(samples), label, classes, measures.ravel())

    def _millivolts(self, rng: np.random.Generator) -> F32:
        if not self.record.scaled:
            return self.record.samples
        scales = self.scales_mv[rng.integers(len(self.scales_mv))].copy()  # (12,) mV
        scales[:6] = scales[:6].mean() * self.record.limb_ratios
        wide = rng.uniform(0.8, 1.25, 2).repeat(6).astype(np.float32)  # limb leads, chest leads
        samples: F32 = self.record.samples * (scales * wide)[:, None]
        return samples


def _known_of_injured(classes: F32) -> F32:
    """No longer normal; whether MI or STTC, and in which statement, are words: left unknown."""
    known = classes.copy()
    known[0], known[1], known[2] = 0, np.nan, np.nan
    known[len(SUPERCLASSES) :] = np.nan
    return known


def usable(record: Record) -> bool:
    """Tell whether a page can be made of the record at all."""
    try:
        cut(Waveform(record.samples, RATE_HZ))
    except Unscorable:
        return False
    return record.peaks.size > 0
