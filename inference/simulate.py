"""A physiological 12-lead simulator: a moving dipole seen through a torso's lead matrix.

Each beat is a sum of Gaussian bumps of the heart vector (McSharry et al. 2003; Sameni et al.
2007), projected onto eight leads by the matrix of Dower (1980); the other limb leads follow from
Einthoven and Goldberger. Simulated ECGs are for demonstrations and tests; they are no evidence.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference.forms import F64, Waveform

_LEAD_MATRIX = np.array(
    [  # rows I II V1..V6 from x (left), y (down), z (back); Dower 1980
        (0.632, -0.235, 0.059),
        (0.235, 1.066, -0.132),
        (-0.515, 0.157, -0.917),
        (0.044, 0.164, -1.387),
        (0.882, 0.098, -1.277),
        (1.213, 0.127, -0.601),
        (1.125, 0.127, -0.086),
        (0.831, 0.076, 0.230),
    ]
)


@dataclass(frozen=True, slots=True)
class Bump:
    """A Gaussian of the heart vector.

    Attributes:
        at_s: centre, seconds after the R peak.
        width_s: standard deviation in seconds.
        vector: peak (x left, y down, z back) in mV.
        repolarisation: its time follows the square root of the RR interval (Bazett 1920).
    """

    at_s: float
    width_s: float
    vector: tuple[float, float, float]
    repolarisation: bool = False


@dataclass(frozen=True, slots=True)
class Heart:
    """How one kind of heart beats.

    Attributes:
        bumps: of one beat.
        rate_bpm: lowest and highest mean heart rate.
        irregular: standard deviation of RR over its mean, beat by beat (atrial fibrillation).
        fibrillation_mv: amplitude of the fibrillatory waves.
        spike_mv: amplitude of a pacemaker's pulse, `_SPIKE_AT_S` before the R peak.
    """

    bumps: tuple[Bump, ...]
    rate_bpm: tuple[float, float] = (58.0, 88.0)
    irregular: float = 0.0
    fibrillation_mv: float = 0.0
    spike_mv: float = 0.0


_SPIKE_AT_S = -0.085
_SPIKE_VECTOR = np.array((-0.3, -0.9, 0.3))

_P = (Bump(-0.168, 0.020, (0.045, 0.095, -0.035)), Bump(-0.140, 0.020, (0.060, 0.070, 0.030)))
_QRS = (
    Bump(-0.026, 0.0075, (-0.13, -0.08, -0.28)),
    Bump(-0.004, 0.0100, (0.98, 0.82, 0.10)),
    Bump(0.014, 0.0095, (0.30, 0.05, 0.88)),
    Bump(0.033, 0.0085, (-0.12, -0.14, 0.22)),
)
_T = (
    Bump(0.225, 0.046, (0.12, 0.075, -0.10), repolarisation=True),
    Bump(0.275, 0.032, (0.16, 0.100, -0.12), repolarisation=True),
)
_LEFT_BLOCK = (
    Bump(-0.030, 0.018, (0.35, 0.30, 0.45)),
    Bump(0.012, 0.022, (0.75, 0.32, 0.98)),
    Bump(0.058, 0.018, (0.62, -0.05, 0.55)),
)
_LEFT_BLOCK_T = (
    Bump(0.160, 0.055, (-0.10, -0.02, -0.15)),
    Bump(0.275, 0.045, (-0.24, -0.06, -0.30), repolarisation=True),
)
_PACED = (
    Bump(-0.025, 0.020, (0.30, -0.40, 0.30)),
    Bump(0.020, 0.024, (0.55, -0.85, 0.80)),
    Bump(0.066, 0.018, (0.30, -0.45, 0.40)),
    Bump(0.170, 0.055, (-0.05, 0.12, -0.10)),
    Bump(0.290, 0.048, (-0.16, 0.36, -0.30), repolarisation=True),
)


def _scaled(bumps: tuple[Bump, ...], size: float, width: float = 1.0) -> tuple[Bump, ...]:
    """The same bumps, taller and wider."""
    return tuple(
        replace(
            bump,
            width_s=bump.width_s * width,
            at_s=bump.at_s if bump.repolarisation else bump.at_s * width,
            vector=(bump.vector[0] * size, bump.vector[1] * size, bump.vector[2] * size),
        )
        for bump in bumps
    )


def _injury(x: float, y: float, z: float) -> tuple[Bump, ...]:
    """A shifted ST segment: a plateau from the J point into the T wave."""
    return (
        Bump(0.062, 0.016, (0.55 * x, 0.55 * y, 0.55 * z)),
        Bump(0.098, 0.026, (0.80 * x, 0.80 * y, 0.80 * z)),
        Bump(0.150, 0.038, (1.00 * x, 1.00 * y, 1.00 * z)),
        Bump(0.215, 0.042, (0.85 * x, 0.85 * y, 0.85 * z), repolarisation=True),
    )


_HEARTS = {
    "normal": Heart(_P + _QRS + _T),
    "stemi-anterior": Heart(_P + _QRS + _T + _injury(0.16, 0.02, -0.30), (72, 104)),
    "stemi-inferior": Heart(_P + _QRS + _T + _injury(-0.10, 0.30, 0.02), (52, 84)),
    "stemi-lateral": Heart(_P + _QRS + _T + _injury(0.32, -0.14, 0.06), (70, 100)),
    "ischaemia": Heart(_P + _QRS + _scaled(_T, 0.45) + _injury(-0.19, -0.15, 0.05), (84, 116)),
    "hyperkalaemia": Heart(
        (
            Bump(-0.235, 0.034, (0.030, 0.045, 0.0)),
            *_scaled(_QRS, 0.85, 1.75),
            Bump(0.285, 0.030, (0.62, 0.48, -0.52), repolarisation=True),
        ),
        (52, 78),
    ),
    "lbbb": Heart(_P + _LEFT_BLOCK + _LEFT_BLOCK_T),
    "rbbb": Heart(
        _P
        + _QRS[:3]
        + (
            Bump(0.058, 0.017, (-0.40, -0.06, -0.62)),
            Bump(0.086, 0.015, (-0.22, 0.02, -0.30)),
            Bump(0.270, 0.040, (0.24, 0.15, 0.10), repolarisation=True),
        )
    ),
    "af": Heart(_QRS + _T, (84, 128), irregular=0.19, fibrillation_mv=0.06),
    "paced": Heart(_PACED, (60, 72), spike_mv=2.4),
}

KINDS = tuple(_HEARTS)
"""Every kind of ECG that can be simulated."""


def simulate(kind: str, seed: int, seconds: float = 10.0, rate_hz: float = 500.0) -> Waveform:
    """Simulate one recording; the same arguments give the same samples.

    Args:
        kind: one of `KINDS`.
        seed: which patient: heart rate, axis, amplitudes, electrode places and noise follow it.
        seconds: length.
        rate_hz: samples per second.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in _HEARTS:
        raise ValueError(f"unknown kind {kind!r}; one of {', '.join(KINDS)}")
    heart = _HEARTS[kind]
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    times = np.arange(round(seconds * rate_hz)) / rate_hz  # (samples,) s
    peaks = _beats(heart, rng, seconds)
    vector = _heart_vector(heart, rng, times, peaks)  # (3, samples) mV
    places = _LEAD_MATRIX * rng.normal(1.0, 0.06, _LEAD_MATRIX.shape)
    eight = places @ vector + _noise(rng, times)  # (8, samples) mV
    facts = {"format": "simulated", "kind": kind}
    return Waveform(samples_mv=_twelve(eight), rate_hz=float(rate_hz), facts=facts)


def _beats(heart: Heart, rng: np.random.Generator, seconds: float) -> F64:
    """Times of the R peaks, from before the record's start to after its end.

    A sinus rhythm breathes: RR swings with respiration and, slower, with blood pressure
    (Task Force of the ESC and NASPE 1996).
    """
    mean_s = 60 / rng.uniform(*heart.rate_bpm)
    breath_hz, phase = rng.uniform(0.2, 0.3), rng.uniform(0, 2 * np.pi)
    paced = heart.spike_mv > 0
    peaks = [-mean_s * rng.uniform(0.2, 1.0)]
    while peaks[-1] < seconds + 1:
        swing = 0.03 * np.sin(2 * np.pi * breath_hz * peaks[-1] + phase)
        slow = 0.02 * np.sin(2 * np.pi * 0.1 * peaks[-1] + phase)
        stray = rng.normal(0, heart.irregular or 0.008)
        length = mean_s * (1 + (0 if paced else swing + slow + stray))
        peaks.append(peaks[-1] + max(length, 0.34))
    return np.array(peaks)


def _heart_vector(heart: Heart, rng: np.random.Generator, times: F64, peaks: F64) -> F64:
    """(3, samples) mV: every beat's bumps, turned and scaled to one patient."""
    turn = _rotation(rng.normal(0, np.radians(8), 3)) * rng.uniform(0.8, 1.2)
    out = np.zeros((3, times.size))
    for before, peak in zip(
        np.concatenate([[2 * peaks[0] - peaks[1]], peaks]), peaks, strict=False
    ):
        stretch = np.sqrt(np.clip(peak - before, 0.4, 1.4) / 0.85)
        size = rng.normal(1, 0.02)
        for bump in heart.bumps:
            late = stretch if bump.repolarisation else 1.0
            away = (times - peak - bump.at_s * late) / (bump.width_s * late)
            near = np.abs(away) < 6
            shape = np.zeros_like(times)
            shape[near] = np.exp(-0.5 * away[near] ** 2)
            out += size * np.outer(turn @ np.array(bump.vector), shape)
        if heart.spike_mv:
            pulse = np.abs(times - peak - _SPIKE_AT_S) < 0.0015
            out += heart.spike_mv * np.outer(_SPIKE_VECTOR, pulse)
    return out + _fibrillation(heart, rng, times)


def _fibrillation(heart: Heart, rng: np.random.Generator, times: F64) -> F64:
    """(3, samples) mV of fibrillatory waves: a few drifting oscillations of 5 to 8 Hz."""
    out = np.zeros((3, times.size))
    if not heart.fibrillation_mv:
        return out
    for _ in range(3):
        drift = np.cumsum(rng.normal(0, 1, times.size)) * (times[1] - times[0]) ** 0.5
        phase = 2 * np.pi * rng.uniform(5, 8) * times + drift + rng.uniform(0, 2 * np.pi)
        axis = np.array((-0.3, 0.5, -0.9)) * rng.normal(1, 0.2, 3)
        out += heart.fibrillation_mv * np.outer(axis, np.sin(phase)) / 1.7
    return out


def _rotation(angles: F64) -> F64:
    """A rotation by small angles about x, y and z in radians."""
    cx, cy, cz = np.cos(angles)
    sx, sy, sz = np.sin(angles)
    about_x = np.array([(1, 0, 0), (0, cx, -sx), (0, sx, cx)])
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_z = np.array([(cz, -sz, 0), (sz, cz, 0), (0, 0, 1)])
    turned: F64 = about_z @ about_y @ about_x
    return turned


def _noise(rng: np.random.Generator, times: F64) -> F64:
    """(8, samples) mV: breathing, muscles and mains, as a filtered cart leaves them."""
    leads = len(_LEAD_MATRIX)
    breath = np.sin(2 * np.pi * rng.uniform(0.2, 0.3) * times + rng.uniform(0, 2 * np.pi))
    drift = np.sin(2 * np.pi * rng.uniform(0.05, 0.12) * times + rng.uniform(0, 2 * np.pi))
    mains = np.sin(2 * np.pi * 50 * times + rng.uniform(0, 2 * np.pi))
    muscle = rng.normal(0, 0.007, (leads, times.size))
    muscle[:, 1:] = (muscle[:, 1:] + muscle[:, :-1]) / 2
    muscle += np.outer(rng.normal(0, 0.025, leads), breath)
    muscle += np.outer(rng.normal(0, 0.025, leads), drift)
    muscle += np.outer(rng.normal(0, 0.002, leads), mains)
    return muscle


def _twelve(eight: F64) -> NDArray[np.float32]:
    """(12, samples) mV in the standard order, from I, II and V1 to V6."""
    one, two = eight[:2]
    limbs = (one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2)
    return np.stack([*limbs, *eight[2:]]).astype(np.float32)
