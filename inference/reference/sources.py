"""PTB-XL records as training sources: scale, injury currents, augmentation, auxiliary targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference import augment
from inference.augment import AugmentConfig
from inference.beats import measure
from inference.errors import Unscorable
from inference.examples import Drawn
from inference.forms import F32, Tracings, Waveform
from inference.reference import injury
from inference.reference.ptbxl import RATE_HZ, SUPERCLASSES, Record
from inference.tracings import cut

CLASSES = len(SUPERCLASSES)
MEASURES = 48
_UNITS_MV = np.array([0.08, 0.2, 0.4, 0.4], np.float32)  # about one standard deviation each
_FARTHEST = 6.0
_WINDOW = 625  # samples that each column shows


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
        record, label, classes = self.record, float(self.record.label), self.record.superclasses
        samples = self._millivolts(rng)
        if classes[0] == 1 and label == 0 and rng.random() < self.injured:
            samples = injury.apply(samples, record.peaks, RATE_HZ, injury.draw(rng))
            label, classes = 1.0, _known_of_injured(classes)
        samples, peaks = augment.waveform(samples, record.peaks, RATE_HZ, config, rng)
        measures = np.clip(measure(samples, peaks, RATE_HZ) / _UNITS_MV, -_FARTHEST, _FARTHEST)
        return Drawn(_page(samples), label, classes, measures.ravel())

    def _millivolts(self, rng: np.random.Generator) -> F32:
        if not self.record.scaled:
            return self.record.samples
        scales = self.scales_mv[rng.integers(len(self.scales_mv))].copy()  # (12,) mV
        scales[:6] = scales[:6].mean() * self.record.limb_ratios
        wide = rng.uniform(0.8, 1.25, 2).repeat(6).astype(np.float32)  # limb leads, chest leads
        samples: F32 = self.record.samples * (scales * wide)[:, None]
        return samples


def _known_of_injured(classes: F32) -> F32:
    """No longer normal; whether MI or STTC is a matter of words, so both are left unknown."""
    known = classes.copy()
    known[0], known[1], known[2] = 0, np.nan, np.nan
    return known


def _page(samples_mv: F32) -> Tracings:
    """Cut as `inference.tracings.cut` does at 250 Hz, without its refusals: flat leads happen."""
    columns = samples_mv[:, : 4 * _WINDOW].reshape(4, 3, 4, _WINDOW)  # column, row, window
    leads = columns[np.arange(4), :, np.arange(4)].reshape(12, _WINDOW)
    return Tracings(leads, samples_mv[1, : 4 * _WINDOW], RATE_HZ)


def usable(record: Record) -> bool:
    """Tell whether a page can be made of the record at all."""
    try:
        cut(Waveform(record.samples, RATE_HZ))
    except Unscorable:
        return False
    return record.peaks.size > 0
