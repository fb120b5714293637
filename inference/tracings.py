"""From a waveform to what a page of 3 rows x 4 columns and a rhythm strip shows of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.errors import Unscorable
from inference.forms import F32, LEADS, Tracings, Waveform

RATE_HZ = 250.0
"""Samples per second of the tracings: ten to a millimetre at 25 mm/s, so that none is lost."""
WINDOW_S = 2.5
"""Seconds that each of the four columns shows."""
PAGE_S = 4 * WINDOW_S
SHORTEST_S = 9.5
"""A record that leaves more than half a second of the page blank is not judged."""
FLAT_MV = 0.005
"""A lead whose window moves less than this was not connected."""
LARGEST_MV = 50.0
"""No surface ECG reaches this; a scale or a format was misread."""

_LOBES = 3


def cut(waveform: Waveform, start_s: float = 0.0) -> Tracings:
    """Cut the ten seconds that a page shows out of a waveform.

    Args:
        waveform: at least `SHORTEST_S` seconds of all twelve leads after `start_s`.
        start_s: where the page begins, in seconds.

    Returns:
        Tracings at `RATE_HZ`, with whatever baseline the waveform had; NaN where it is NaN.

    Raises:
        Unscorable: `too-short`, `too-few-leads`, `flat-line` or `saturated`.
    """
    first = round(start_s * waveform.rate_hz)
    span = waveform.samples_mv[:, first:]
    if span.shape[1] / waveform.rate_hz < SHORTEST_S:
        seconds = span.shape[1] / waveform.rate_hz
        raise Unscorable(
            "too-short", f"{seconds:.1f} s of ECG; a page needs {PAGE_S:.0f} s of all twelve leads"
        )
    count = round(WINDOW_S * RATE_HZ)  # 625
    # each lead only where it is shown: a quarter of the work
    leads = np.concatenate(
        [
            resample(span[column * 3 : column * 3 + 3], waveform.rate_hz, column * count, count)
            for column in range(4)
        ]
    )  # (12, 625) mV
    rhythm = resample(span[1:2], waveform.rate_hz, 0, 4 * count)[0]  # (2500,) mV
    _check(leads)
    return Tracings(leads_mv=leads, rhythm_mv=rhythm, rate_hz=RATE_HZ)


def resample(samples: F32, rate_hz: float, first: int, count: int) -> F32:
    """Give `count` samples at `RATE_HZ`, beginning at output sample `first`.

    A Hann-windowed sinc of three lobes, whose cut-off follows the lower of the two rates: longer
    ones ring visibly around a pacemaker's spike. What lies outside the
    record is NaN; inside, each output sample next to a NaN is NaN.

    Args:
        samples: (rows, samples) mV at `rate_hz`.
        rate_hz: samples per second of the input.
        first: index of the first wanted output sample.
        count: number of wanted output samples.

    Returns:
        (rows, count) mV.
    """
    if rate_hz == RATE_HZ:
        return _padded(samples[:, first : first + count], count)
    index, weights = _kernel(rate_hz, first, count)  # both (count, taps)
    last = samples.shape[1] - 1
    holes = np.isnan(samples)
    known = np.where(holes, np.float32(0), samples) if holes.any() else samples
    taken = known[:, np.clip(index, 0, last)]  # (rows, count, taps), edges held
    out: F32 = np.einsum("rct,ct->rc", taken, weights).astype(np.float32)
    nearest = np.arange(first, first + count) * rate_hz / RATE_HZ
    out[:, np.round(nearest) > last] = np.nan
    if holes.any():
        below = np.clip(np.floor(nearest).astype(np.intp), 0, last)
        above = np.clip(np.ceil(nearest).astype(np.intp), 0, last)
        out[holes[:, below] | holes[:, above]] = np.nan
    return out


@lru_cache(maxsize=32)
def _kernel(rate_hz: float, first: int, count: int) -> tuple[NDArray[np.intp], F32]:
    """Source indices and weights, both (count, taps), of a windowed-sinc resampler."""
    ratio = max(1.0, rate_hz / RATE_HZ)  # input samples per lobe
    reach = int(np.ceil(_LOBES * ratio))
    at = np.arange(first, first + count) * rate_hz / RATE_HZ
    index = np.floor(at).astype(np.intp)[:, None] + np.arange(-reach + 1, reach + 1)
    distance = (index - at[:, None]) / ratio  # in lobes
    window = np.cos(np.clip(distance / _LOBES, -1, 1) * np.pi / 2) ** 2
    weights = np.sinc(distance) * window
    weights /= weights.sum(axis=1, keepdims=True)
    return index, weights.astype(np.float32)


def _padded(samples: F32, count: int) -> F32:
    """(rows, count): the samples, then NaN."""
    out = np.full((samples.shape[0], count), np.nan, np.float32)
    out[:, : samples.shape[1]] = samples
    return out


def _check(leads: F32) -> None:
    """Refuse what no page should show: missing, flat or impossible leads."""
    missing = np.isnan(leads).mean(axis=1) > 0.25
    if missing.any():
        raise Unscorable("too-few-leads", f"not recorded: {_names(missing)}; all twelve are needed")
    height = np.nanmax(leads, axis=1) - np.nanmin(leads, axis=1)
    if (height < FLAT_MV).any():
        raise Unscorable("flat-line", f"no signal in {_names(height < FLAT_MV)}")
    if (height > LARGEST_MV).any():
        raise Unscorable(
            "saturated", f"more than {LARGEST_MV:.0f} mV in {_names(height > LARGEST_MV)}"
        )


def _names(chosen: NDArray[np.bool_]) -> str:
    return ", ".join(name for name, yes in zip(LEADS, chosen, strict=True) if yes)
