"""The forms an ECG takes on its way to a score.

    file bytes ── decode ──> Waveform ──────────────── cut ──> Tracings ── draw ──> panel ─> input
                         └─> Picture ── paper, trace ─────────────┘

A *waveform* is calibrated samples. A *picture* is a page that shows traces. *Tracings* are what a
3x4 + rhythm page shows of an ECG: for each lead a voltage over its window of time. Both ways end
in `Tracings`, and one function draws them, so every source has the one look the network knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve standard leads, in the standard order."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Waveform:
    """A calibrated 12-lead recording.

    Attributes:
        samples_mv: (12, samples) mV, rows in the order of `LEADS`; NaN where nothing was recorded.
        rate_hz: samples per second.
        facts: what the decoder found besides (format, filters, derived leads); no PHI.
    """

    samples_mv: F32
    rate_hz: float
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A page that shows an ECG.

    Attributes:
        pixels: (rows, cols) grey or (rows, cols, 3) RGB, uint8, 255 = white.
        mm_per_px: physical pixel size when the source states it (PDF), else None.
        facts: what the decoder found besides; no PHI.
    """

    pixels: U8
    mm_per_px: float | None = None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """How a page was read.

    Attributes:
        layout: `3x4`, `6x2`, `12x1`, `4x3`, with `-cabrera` and the number of rhythm strips, `+1`.
        px_per_mm: resolution along the time axis, as the page was worked on.
        misfit: root mean square of what breaks Einthoven's law over that of the leads, 0 to 1.
        gain_mm_per_mv: 5, 10 or 20, of the calibration pulses; 10 where the page shows none.
        pulses: how many of them were found.
    """

    layout: str
    px_per_mm: float
    misfit: float
    gain_mm_per_mv: float
    pulses: int


@dataclass(frozen=True, slots=True)
class Tracings:
    """What a page of 3 rows x 4 columns and one rhythm strip shows.

    Attributes:
        leads_mv: (12, samples) mV, rows in the order of `LEADS`; each row holds the 2.5 s that its
            column shows: I II III at 0-2.5 s, aVR aVL aVF at 2.5-5 s, V1-V3 at 5-7.5 s, V4-V6 at
            7.5-10 s. NaN where the trace could not be followed.
        rhythm_mv: (samples x 4,) mV, lead II over 10 s; NaN where there is none.
        rate_hz: samples per second of both.
        read: how they were read off a page; None: a waveform's.
    """

    leads_mv: F32
    rhythm_mv: F32
    rate_hz: float
    read: Read | None = None
