"""Injury currents: ST-T changes of a territory drawn onto a normal record, in step with its beats.

PTB-XL holds few acute infarctions, so the training set draws some: ST shifts with reciprocal
changes, T waves that grow with them or turn over, Q waves with loss of R. Sizes follow the
universal definition of myocardial infarction (Thygesen et al. 2018): 0.1 mV and more at the J
point. Drawn records are simulated and only ever used for training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.beats import Ints
from inference.forms import F32

TERRITORIES: dict[str, tuple[float, ...]] = {
    # I, II, V1..V6; the other limb leads follow by Einthoven and Goldberger
    "inferior": (-0.30, 0.70, -0.15, -0.30, -0.15, 0.00, 0.20, 0.30),
    "inferior-right": (-0.45, 0.60, 0.40, 0.00, -0.20, -0.10, 0.00, 0.10),
    "inferoposterior": (-0.25, 0.65, -0.45, -0.75, -0.55, -0.10, 0.20, 0.35),
    "anteroseptal": (0.10, -0.05, 0.60, 1.00, 0.80, 0.35, 0.05, 0.00),
    "anterior": (0.30, 0.05, 0.35, 0.95, 1.00, 0.75, 0.35, 0.15),
    "anterolateral": (0.55, 0.10, 0.10, 0.55, 0.90, 1.00, 0.80, 0.55),
    "high-lateral": (0.60, -0.10, -0.10, 0.15, 0.00, 0.10, 0.35, 0.45),
    "posterior": (0.00, 0.10, -0.55, -1.00, -0.85, -0.35, 0.05, 0.25),
    "subendocardial": (-0.45, -0.70, 0.30, -0.10, -0.45, -0.90, -1.00, -0.75),
    "lateral-ischaemia": (-0.55, -0.30, 0.20, 0.10, -0.10, -0.60, -0.95, -0.90),
}


@dataclass(frozen=True, slots=True)
class Injury:
    """One drawn injury current.

    Attributes:
        leads: (12,) share of `size_mv` in each lead, signed.
        size_mv: ST shift at the J point of the lead that shows it most, in mV.
        growth: T-wave peak as a multiple of the ST shift; negative turns the T wave over.
        q_mv: depth of the Q wave where the ST segment is raised, in mV; 0 draws none.
        r_loss: share of R lost in the same leads.
    """

    leads: F32
    size_mv: float
    growth: float
    q_mv: float
    r_loss: float


def draw(rng: np.random.Generator) -> Injury:
    """Draw a territory, a stage and a size."""
    share = np.array(TERRITORIES[str(rng.choice(list(TERRITORIES)))], np.float32)
    share = share * rng.uniform(0.7, 1.3, share.shape).astype(np.float32)
    one, two, chest = share[0], share[1], share[2:]
    limb = (one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2)
    leads = np.concatenate((np.array(limb, np.float32), chest))
    leads /= np.abs(leads).max()
    stage = rng.choice(("hyperacute", "acute", "evolved", "old"), p=(0.2, 0.45, 0.25, 0.1))
    size = float(np.exp(rng.uniform(np.log(0.12), np.log(0.5))))
    if stage == "hyperacute":
        return Injury(leads, size * 0.7, float(rng.uniform(1.8, 3.5)), 0.0, 0.0)
    if stage == "acute":
        q_mv = float(rng.uniform(0.1, 0.5)) * float(rng.random() < 0.4)
        return Injury(leads, size, float(rng.uniform(0.8, 2.0)), q_mv, 0.6 * q_mv)
    q_mv = float(rng.uniform(0.15, 0.6))
    r_loss = float(rng.uniform(0.2, 0.8))
    if stage == "evolved":
        return Injury(leads, size * 0.5, -float(rng.uniform(1.5, 4.0)), q_mv, r_loss)
    return Injury(leads, size * 0.15, -float(rng.uniform(2.0, 6.0)), q_mv, r_loss)


def apply(samples_mv: F32, peaks: Ints, rate_hz: float, injury: Injury) -> F32:
    """Add the injury current to each beat of a (12, samples) mV record."""
    spacing = float(np.median(np.diff(peaks))) / rate_hz if peaks.size > 1 else 0.8
    stretch = float(np.clip(np.sqrt(spacing), 0.7, 1.15))  # Bazett: ST-T follows the rate
    st, early, late = _courses(rate_hz, injury.growth, stretch)
    raised = np.clip(injury.leads, 0, 1)[:, None]
    shift = injury.size_mv * injury.leads[:, None] * st  # (12, window) mV
    out = samples_mv.copy()
    before = round(0.1 * rate_hz)
    for peak in peaks:
        start, stop = max(0, peak - before), min(out.shape[1], peak - before + st.size)
        cut = slice(start - (peak - before), stop - (peak - before))
        beat = out[:, start:stop]
        base = np.median(beat[:, : max(1, round(0.05 * rate_hz))], axis=1, keepdims=True)
        lost = injury.r_loss * raised * late[cut] * np.maximum(beat - base, 0)
        out[:, start:stop] = beat - lost + shift[:, cut] - injury.q_mv * raised * early[cut]
    return out


def _courses(rate_hz: float, growth: float, stretch: float) -> tuple[F32, F32, F32]:
    """Time courses over one beat from R - 100 ms: the ST-T shift, the Q wave, the R loss."""
    t = np.arange(round(0.62 * rate_hz)) / rate_hz - 0.1  # s from R
    onset, top, end = 0.045, 0.045 + 0.23 * stretch, 0.045 + 0.36 * stretch
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip((t - 0.02) / (onset - 0.02), 0, 1))
    part = np.clip((t - onset) / (top - onset), 0, 1)
    climb = 1 + (growth - 1) * (0.5 - 0.5 * np.cos(np.pi * part)) ** 1.3
    fall = 0.5 + 0.5 * np.cos(np.pi * np.clip((t - top) / (end - top), 0, 1))
    q_wave = np.exp(-0.5 * ((t + 0.028) / 0.011) ** 2)
    r_wave = np.exp(-0.5 * (t / 0.018) ** 2)
    return tuple(each.astype(np.float32) for each in (rise * climb * fall, q_wave, r_wave))  # type: ignore[return-value]
