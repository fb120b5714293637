"""R peaks and what is measured around them, on all twelve leads at once.

Used where a number must be tied to a part of the beat: the measurements that help training, and
the share of saliency in PR, QRS, ST and T.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.forms import F32, Tracings

Ints = NDArray[np.intp]

BAND_HZ = (6.0, 22.0)
REFRACTORY_S = 0.27
QUANTITIES = ("st_mv", "t_mv", "r_mv", "s_mv")
"""Per lead, in mV against PR: ST at J + 60 ms, T peak with its sign, top and bottom of QRS."""
SEGMENTS_S: dict[str, tuple[float, float]] = {
    "PR": (-0.20, -0.05),
    "QRS": (-0.05, 0.06),
    "ST": (0.06, 0.16),
    "T": (0.16, 0.40),
}
"""Windows around the R peak, in seconds."""


def r_peaks(samples_mv: F32, rate_hz: float) -> Ints:
    """Find the R peaks from the summed, band-passed slope energy of all leads.

    Args:
        samples_mv: (leads, samples) in mV or any unit per lead; NaN counts as zero.
        rate_hz: samples per second.

    Returns:
        Sample indices in ascending order; empty when there is no clear rhythm.
    """
    energy = _energy(np.nan_to_num(samples_mv), rate_hz)  # (samples,)
    if energy.size < rate_hz or energy.max() <= 0:
        return np.empty(0, np.intp)
    second = max(1, round(rate_hz))
    tops = [energy[i : i + second].max() for i in range(0, energy.size - second + 1, second)]
    floor = 0.30 * float(np.median(tops))
    candidates = np.flatnonzero(
        (energy[1:-1] >= energy[:-2]) & (energy[1:-1] > energy[2:]) & (energy[1:-1] > floor)
    )
    return _spaced(candidates + 1, energy, round(REFRACTORY_S * rate_hz))


def page_rows(tracings: Tracings) -> F32:
    """Give the page's four rows over its ten seconds, each lead level: (4, samples) mV."""
    leads = tracings.leads_mv  # (12, window)
    level = np.nan_to_num(leads - np.median(np.nan_to_num(leads), 1, keepdims=True))
    three = level.reshape(4, 3, -1).transpose(1, 0, 2).reshape(3, -1)  # column, row, window
    strip = tracings.rhythm_mv[None, : three.shape[1]]
    return np.concatenate((three, np.nan_to_num(strip))).astype(np.float32)


def _energy(samples: F32, rate_hz: float) -> F32:
    count = samples.shape[1]
    frequencies = np.fft.rfftfreq(count, 1 / rate_hz)
    low, high = BAND_HZ
    gain = 1 / (1 + (frequencies / high) ** 6) * (1 - 1 / (1 + (frequencies / low) ** 6))
    band = np.fft.irfft(np.fft.rfft(samples, axis=1) * gain, count, axis=1)
    scale = np.quantile(np.abs(band), 0.98, axis=1, keepdims=True)
    total = (np.minimum(np.abs(band) / np.maximum(scale, 1e-6), 3.0) ** 2).sum(0)
    width = max(1, round(0.06 * rate_hz))
    smooth = np.convolve(total, np.hanning(width + 2)[1:-1], mode="same")
    return smooth.astype(np.float32)


def _spaced(candidates: Ints, energy: F32, gap: int) -> Ints:
    """Keep the strongest candidates that are at least `gap` samples apart."""
    taken = np.zeros(energy.size + 2 * gap, bool)
    kept = []
    for at in candidates[np.argsort(-energy[candidates], kind="stable")]:
        if not taken[at + gap]:
            kept.append(at)
            taken[at : at + 2 * gap] = True
    return np.sort(np.array(kept, np.intp))


def median_beat(
    samples_mv: F32, peaks: Ints, rate_hz: float, before_s: float = 0.25, after_s: float = 0.45
) -> F32 | None:
    """Give the median over the beats around each R peak, (leads, window); None without a beat."""
    before, after = round(before_s * rate_hz), round(after_s * rate_hz)
    whole = peaks[(peaks >= before) & (peaks + after < samples_mv.shape[1])]
    if whole.size == 0:
        return None
    index = whole[:, None] + np.arange(-before, after)  # (beats, window)
    beat: F32 = np.median(samples_mv[:, index], axis=1).astype(np.float32)
    return beat


def measure(samples_mv: F32, peaks: Ints, rate_hz: float) -> F32:
    """Measure the median beat: (leads, 4) mV in the order of `QUANTITIES`; NaN without a beat."""
    beat = median_beat(samples_mv, peaks, rate_hz)
    if beat is None:
        return np.full((samples_mv.shape[0], len(QUANTITIES)), np.nan, np.float32)

    start, stop = round(0.16 * rate_hz), round(0.20 * rate_hz)  # R - 90 ms to R - 50 ms
    levelled: F32 = beat - np.median(beat[:, start:stop], axis=1, keepdims=True)

    def part(start_s: float, stop_s: float) -> F32:
        return levelled[:, round((0.25 + start_s) * rate_hz) : round((0.25 + stop_s) * rate_hz)]

    spacing = float(np.median(np.diff(peaks))) / rate_hz if peaks.size > 1 else 0.8
    t_wave = part(0.16, min(0.42, max(0.24, 0.6 * spacing)))
    top = np.abs(t_wave).argmax(1)
    qrs = part(-0.05, 0.06)
    columns = (
        part(0.10, 0.12).mean(1),
        t_wave[np.arange(len(beat)), top],
        np.maximum(qrs.max(1), 0),
        np.minimum(qrs.min(1), 0),
    )
    return np.stack(columns, 1).astype(np.float32)
