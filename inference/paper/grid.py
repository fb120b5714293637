"""The grid: its pitch tells mm from px, its lines tell the skew.

An ECG grid has a bold line every 5 mm and a thin one every 1 mm, so the mean brightness along a
strip of the page is a periodic signal whose spectrum has lines at k / (5 mm). Spectra of narrow
strips are averaged by magnitude, which a small skew does not blur; the phase of the 5 mm line
from strip to strip then gives the skew, and what it strays from that the bend of a
photographed page.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.errors import Unscorable
from inference.forms import F32, F64

C128 = NDArray[np.complex128]

_BINS = 8192  # zero-padded FFT length
_STRIP = 64  # px
_HARMONICS = np.arange(1, 6)
_PITCHES = np.exp(np.arange(np.log(7.0), np.log(160.0), 0.001))  # px per 5 mm
_CLEAR = 0.45  # mean log ratio of the harmonics over the spectrum's floor
_PARTS = 4  # of a strip, whose phases show whether its lines are straight and even
_HALF_PAGE_MM = 125.0


@dataclass(frozen=True, slots=True)
class Grid:
    """What the grid says of the page.

    Attributes:
        x_px_per_mm, y_px_per_mm: resolution along and across the traces.
        skew_deg: how much the lines fall to the right.
        clarity: mean log ratio of the grid's spectral lines over the floor.
        bend_mm: how far its lines are from straight, even and at right angles, root mean square.
    """

    x_px_per_mm: float
    y_px_per_mm: float
    skew_deg: float
    clarity: float
    bend_mm: float = 0.0


def measure(layer: F32, stated: float = 0.0) -> Grid:
    """Measure pitch and skew of the grid in a layer without ink (rows, cols).

    Args:
        layer: grid lines bright on zero.
        stated: px/mm as the source states them, or 0; tells a grid of 1 mm lines alone from one
            of 5 mm lines alone.

    Raises:
        Unscorable: `no-grid` when no clear grid is found.
    """
    along_x = _profiles(layer, 0)  # (strips, cols)
    along_y = _profiles(layer, 1)  # (strips, rows)
    spectrum_x, spectrum_y = _spectrum(along_x), _spectrum(along_y)
    score = (_comb(spectrum_x) + _comb(spectrum_y)) / 2
    clarity = float(score.max())
    if clarity < _CLEAR:
        raise Unscorable("no-grid", "no grid of 1 mm and 5 mm squares was found on the page")
    # overtones of a sharp grid score alike: the longest pitch is the 5 mm square
    pitch = float(_PITCHES[np.flatnonzero(score > 0.85 * clarity)[-1]])
    near = np.abs(np.log(_PITCHES / pitch)) < 0.03
    pitch = float(_PITCHES[near][score[near].argmax()])
    if stated and abs(np.log(pitch / stated)) < abs(np.log(pitch / (5 * stated))):
        pitch *= 5
    pitch_x, pitch_y = _refine(spectrum_x, pitch), _refine(spectrum_y, pitch)
    fall, lean = _phases(along_y, pitch_y), _phases(along_x, pitch_x)
    falling, leaning = _slope(fall.sum(axis=1), pitch_y), -_slope(lean.sum(axis=1), pitch_x)
    aslant_mm = _HALF_PAGE_MM * np.tan(np.radians(abs(falling - leaning)))
    bend_mm = float(max(_bend(fall), _bend(lean), aslant_mm))
    return Grid(pitch_x / 5, pitch_y / 5, (falling + leaning) / 2, clarity, bend_mm)


def _profiles(layer: F32, axis: int) -> F32:
    """Mean over strips of `_STRIP` px across `axis`, high-passed and windowed: (strips, n)."""
    across = layer if axis == 0 else np.ascontiguousarray(layer.T)
    strips = across.shape[0] // _STRIP
    if strips < 3 or across.shape[1] < 3 * _STRIP:
        raise Unscorable("low-resolution", f"{layer.shape[1]}x{layer.shape[0]} px are too few")
    cut = across[: strips * _STRIP].reshape(strips, _STRIP, -1)
    mean = cut.mean(axis=1)
    mean -= cv2.blur(mean, (161, 1))
    return np.asarray(mean * np.hanning(mean.shape[1]), np.float32)


def _spectrum(profiles: F32) -> F64:
    """Magnitude spectrum averaged over strips, divided by its own floor."""
    magnitude = np.abs(np.fft.rfft(profiles, _BINS, axis=1)).mean(axis=0)
    floor = cv2.blur(magnitude.reshape(1, -1), (401, 1)).ravel()
    return np.asarray(magnitude / np.maximum(floor, 1e-9), np.float64)


def _comb(spectrum: F64) -> F64:
    """How well each pitch of `_PITCHES` explains the spectrum."""
    at = _HARMONICS[:, None] * _BINS / _PITCHES[None]
    height = np.interp(at, np.arange(spectrum.size), spectrum)
    logs = np.clip(np.log(np.maximum(height, 1e-3)), -0.5, 2.5)
    return np.asarray(logs.mean(axis=0), np.float64)


def _refine(spectrum: F64, pitch: float) -> float:
    """The pitch from the exact places of its harmonics, the higher ones counting more."""
    total, weights = 0.0, 0.0
    for k in range(1, 11):
        centre = k * _BINS / pitch
        reach = max(2, int(0.006 * centre))
        first = int(centre) - reach
        window = spectrum[first : first + 2 * reach + 1]
        if window.size < 3:
            break
        top = int(window.argmax())
        if window[top] < 2.0 or top in (0, window.size - 1):
            continue
        before, peak, after = window[top - 1 : top + 2]
        vertex = first + top + 0.5 * (before - after) / (before - 2 * peak + after)
        weight = k * k * np.log(peak)
        total += weight * vertex / k
        weights += weight
    return _BINS * weights / total if weights else pitch


def _phases(profiles: F32, pitch: float) -> C128:
    """(strips, parts) strength and phase of the lines of `pitch` in each part of each strip."""
    wave = profiles * np.exp(-2j * np.pi * np.arange(profiles.shape[1]) / pitch)
    first = np.arange(_PARTS) * profiles.shape[1] // _PARTS
    return np.asarray(np.add.reduceat(wave, first, axis=1), np.complex128)


def _bend(phases: C128) -> float:
    """What is left of the phases when they rise evenly from strip to strip and part to part, mm."""
    strip, part = np.indices(phases.shape)
    for axis, place in ((0, strip), (1, part)):
        after, before = np.delete(phases, 0, axis), np.delete(phases, -1, axis)
        phases = phases * np.exp(-1j * np.angle(np.sum(after * np.conj(before))) * place)
    rest = np.angle(phases * np.conj(phases.sum()))
    return float(5 * np.sqrt(np.average(rest**2, weights=np.abs(phases))) / (2 * np.pi))


def _slope(phase: C128, pitch: float) -> float:
    """Degrees by which the lines of `pitch` drift from strip to strip; phase (strips,)."""
    drift = np.sum(phase[1:] * np.conj(phase[:-1]))
    centres = np.arange(phase.size) * _STRIP
    step = np.angle(drift) / _STRIP
    rest = phase * np.exp(-1j * step * centres)
    rest = np.angle(rest * np.conj(rest.sum()))
    weight = np.abs(phase)
    middle = np.average(centres, weights=weight)
    lean = np.sum(weight * (centres - middle) * rest) / np.sum(weight * (centres - middle) ** 2)
    slope = -(step + lean) * pitch / (2 * np.pi)
    return float(np.degrees(np.arctan(slope)))
