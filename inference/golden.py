"""Golden ECGs: simulated, so that a bundle carries no patient's data."""

from __future__ import annotations

import numpy as np

from inference.forms import F32
from inference.simulate import KINDS, simulate

RATE_HZ = 250.0
_SEED = 20250


def waveforms() -> F32:
    """Give one ECG of each simulated kind: (kinds, 12, 2500) mV at 250 Hz, rounded to 1 uV."""
    made = [simulate(kind, _SEED, rate_hz=RATE_HZ).samples_mv for kind in KINDS]
    return np.stack(made).round(3).astype(np.float32)
