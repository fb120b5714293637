"""A cohort's files as training sources: decoded and followed once, drawn anew every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference import augment
from inference.augment import AugmentConfig
from inference.beats import r_peaks
from inference.cohort import Case, Tell, silent
from inference.decode import decode_file
from inference.errors import Undecodable, Unscorable
from inference.examples import NO_TARGETS, Drawn
from inference.forms import F32, Tracings, Waveform
from inference.prepare import tracings_of
from inference.tracings import PAGE_S, RATE_HZ, WINDOW_S, resample


@dataclass(frozen=True, slots=True, eq=False)
class CohortSource:
    """One ECG of a cohort.

    Attributes:
        case: its row.
        form: `waveform` or `page`. format: of its file, like `dicom-waveform` or `pdf`.
        samples: (12, 2500) mV at 250 Hz of a waveform without gaps; else None.
        tracings: what its page shows.
    """

    case: Case
    form: str
    samples: F32 | None
    tracings: Tracings
    format: str = ""

    @property
    def key(self) -> str:
        """Name the row."""
        return self.case.key

    @property
    def label(self) -> int:
        """Give the outcome."""
        return self.case.label

    def draw(self, config: AugmentConfig, rng: np.random.Generator) -> Drawn:
        """Draw it once; a page's traces keep their places, a waveform may begin anywhere."""
        if config == augment.NONE:
            return Drawn(self.tracings, float(self.label), NO_TARGETS, NO_TARGETS)
        if self.samples is None:
            shown = _page(self.tracings, config, rng)
        else:
            peaks = r_peaks(self.samples, RATE_HZ)
            samples, _ = augment.waveform(self.samples, peaks, RATE_HZ, config, rng)
            shown = columns(samples)
        return Drawn(shown, float(self.label), NO_TARGETS, NO_TARGETS)


def _page(tracings: Tracings, config: AugmentConfig, rng: np.random.Generator) -> Tracings:
    gains = rng.uniform(1 - config.lead_gain, 1 + config.lead_gain, 13)
    gains = gains * rng.uniform(1 - config.gain, 1 + config.gain)
    leads = np.asarray(tracings.leads_mv * gains[:12, None], np.float32)
    return Tracings(leads, np.asarray(tracings.rhythm_mv * gains[12], np.float32), tracings.rate_hz)


def columns(samples_mv: F32) -> Tracings:
    """Cut (12, >= 2500) mV at 250 Hz as `inference.tracings.cut` does, without its refusals."""
    window = round(WINDOW_S * RATE_HZ)
    four = samples_mv[:, : 4 * window].reshape(4, 3, 4, window)  # column, row, window
    leads = four[np.arange(4), :, np.arange(4)].reshape(12, window)
    return Tracings(leads, samples_mv[1, : 4 * window], RATE_HZ)


def load_sources(
    cases: Sequence[Case], tell: Tell = silent
) -> tuple[list[CohortSource], dict[Case, str]]:
    """Decode every file once; give the usable ones, and the reason of each that is not."""
    sources, refused = [], {}
    for done, case in enumerate(cases, start=1):
        try:
            sources.append(_source(case))
        except (Unscorable, Undecodable) as error:
            refused[case] = getattr(error, "reason", "undecodable")
        tell("reading ECGs", done, len(cases))
    return sources, refused


def _source(case: Case) -> CohortSource:
    decoded = decode_file(case.path)
    tracings, kind = tracings_of(decoded), decoded.facts.get("format", "")
    if not isinstance(decoded, Waveform):
        return CohortSource(case, "page", None, tracings, kind)
    samples = resample(decoded.samples_mv, decoded.rate_hz, 0, round(PAGE_S * RATE_HZ))
    whole = None if np.isnan(samples).any() else samples
    return CohortSource(case, "waveform", whole, tracings, kind)
