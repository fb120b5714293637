"""Where the traces are: the ink that is trace, the rows it lies in, the pulses beside them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.forms import F64, U8
from inference.paper.grid import Grid
from inference.paper.runs import Runs

_PIECE_MM = 8.0  # wider than a letter
_PULSE_PIECE_MM = 16.0  # wider: the pulse hangs on a trace
_GLYPH_MM = 3.0  # a letter is narrower, and less than 1.5 times as high
_DASH_MM = 1.2  # lower: part of an interrupted, flat trace
_ROW_BLUR_MM = 1.5
_ROW_APART_MM = 8.0
_ROW_LEAST_MM = 30.0  # columns of nearly flat trace that make a row
_PULSE_SIDE_MM = 40.0  # pulses stand in the first or last part of the page


@dataclass(frozen=True, slots=True)
class Pulse:
    """A calibration pulse: 1 mV, so its height is the gain.

    Attributes:
        left, right: columns of its two edges, px.
        width_mm: 5 mm (0.2 s) or less at 25 mm/s; carts draw 10 mm at 50 mm/s.
        top: row of the 1 mV level, px.
        foot: row of the 0 mV level, px.
        height_mm: 10 mm at the standard gain.
    """

    left: int
    right: int
    width_mm: float
    top: float
    foot: float
    height_mm: float


@dataclass(frozen=True, slots=True)
class Pieces:
    """The 8-connected pieces of a mask.

    Attributes:
        labels: (rows, cols) piece of each pixel, 0 = paper.
        width_mm, height_mm: (pieces,) size; 0 for the paper.
    """

    labels: NDArray[np.int32]
    width_mm: F64
    height_mm: F64

    def of(self, runs: Runs) -> NDArray[np.intp]:
        """(n,) the piece of each run."""
        return self.labels[runs.first, runs.col].astype(np.intp)

    def holding(self, pulses: tuple[Pulse, ...]) -> NDArray[np.bool_]:
        """(pieces,) whether a piece is a calibration pulse that stands apart from the trace."""
        chosen = np.zeros(self.width_mm.size, bool)
        for pulse in pulses:
            chosen[self.labels[round(pulse.top), pulse.left]] = True
        return chosen & (self.width_mm < _PULSE_PIECE_MM)

    def wide(self) -> NDArray[np.bool_]:
        """(pieces,) whether a piece is too wide for text and labels."""
        return self.width_mm >= _PIECE_MM

    def glyph(self) -> NDArray[np.bool_]:
        """(pieces,) whether a piece has the size of a letter."""
        narrow = self.width_mm < _GLYPH_MM
        return narrow & (self.height_mm > _DASH_MM) & (self.height_mm < 1.5 * _GLYPH_MM)


def find_pieces(mask: U8, grid: Grid) -> Pieces:
    """Label the connected pieces of a mask."""
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_32S, cv2.CCL_GRANA
    )
    size: F64 = stats / 1.0
    size[0] = 0.0  # the paper
    width = size[:, cv2.CC_STAT_WIDTH] / grid.x_px_per_mm
    height = size[:, cv2.CC_STAT_HEIGHT] / grid.y_px_per_mm
    return Pieces(labels, width, height)


def stroke_of(runs: Runs) -> float:
    """Stroke width in px: the height of the flattest runs."""
    return float(np.percentile(runs.height, 12)) if runs.height.size else 0.0


def find_baselines(runs: Runs, stroke: float, rows: int, grid: Grid) -> tuple[float, ...]:
    """Rows of the page (px, from top to bottom) around which traces run."""
    flat = runs.height <= 2.5 * stroke
    counts = np.bincount(runs.centre[flat].astype(np.intp), minlength=rows).astype(np.float64)
    sigma = _ROW_BLUR_MM * grid.y_px_per_mm
    density = cv2.GaussianBlur(counts.reshape(1, -1), (0, 0), sigma).ravel()
    least = _ROW_LEAST_MM * grid.x_px_per_mm
    reach = int(_ROW_APART_MM * grid.y_px_per_mm)
    found: list[float] = []
    for y in np.argsort(density)[::-1]:
        if any(abs(y - other) < reach for other in found):
            continue
        if density[y] <= 0:
            break
        if counts[max(0, y - reach // 2) : y + reach // 2].sum() >= least:
            found.append(float(y))
        elif len(found) > 15:
            break
    return tuple(sorted(found))


def find_pulses(mask: U8, runs: Runs, stroke: float, grid: Grid) -> tuple[Pulse, ...]:
    """Find calibration pulses near the left and right ends of the ink.

    A pulse is a flat top of 1.2 to 11 mm whose two ends fall straight down to the same level.
    """
    if not runs.col.size:
        return ()
    side = int(_PULSE_SIDE_MM * grid.x_px_per_mm)
    first, last = int(runs.col[0]), int(runs.col[-1])
    spans = [(first, min(last, first + side)), (max(first, last - side), last)]
    found: list[Pulse] = []
    for begin, end in spans:
        for left, right, top in _plateaus(runs, begin, end, stroke, grid):
            pulse = _pulse(mask, left, right, top, stroke, grid)
            if pulse and pulse not in found:
                found.append(pulse)
    return tuple(found)


def _plateaus(
    runs: Runs, begin: int, end: int, stroke: float, grid: Grid
) -> list[tuple[int, int, float]]:
    """(left, right, y) of flat thin stretches of 1.2 to 11 mm."""
    thin, centre = runs.height <= 2.2 * stroke, runs.centre
    step = 0.25 * grid.y_px_per_mm
    alive: list[tuple[int, float, float, float]] = []  # left, y of the first, lowest, highest
    out = []
    for col in range(begin, end + 2):
        here = range(runs.start[col], runs.start[col + 1]) if col <= end else range(0)
        levels = [float(centre[i]) for i in here if thin[i]]
        going = []
        for left, y, low, high in alive:
            near = [level for level in levels if abs(level - y) <= step]
            if near:
                levels.remove(near[0])
                going.append((left, y, min(low, near[0]), max(high, near[0])))
                continue
            width = (col - left) / grid.x_px_per_mm
            if 1.2 <= width <= 11 and high - low <= 1.6 * step:
                out.append((left, col - 1, y))
        alive = going + [(col, level, level, level) for level in levels]
    return out


def _pulse(mask: U8, left: int, right: int, top: float, stroke: float, grid: Grid) -> Pulse | None:
    reach = max(2, int(0.8 * grid.x_px_per_mm))
    feet = []
    for begin, end in ((left - reach, left + 1), (right, right + reach + 1)):
        beside: NDArray[np.bool_] = np.asarray(mask[int(top) :, max(0, begin) : end].any(axis=1))
        if not beside[: int(stroke) + 1].any():
            return None
        start = int(beside.argmax())
        gap = np.flatnonzero(~beside[start:])
        feet.append(top + start + (gap[0] if gap.size else beside.size - start) - 1)
    if abs(feet[0] - feet[1]) > 0.8 * grid.y_px_per_mm:
        return None
    middle = mask[int(top + 2 * stroke) : int(min(feet) - 2 * stroke), left + reach : right - reach]
    if middle.size and middle.any():
        return None
    foot = sum(feet) / 2 - stroke / 2
    height = (foot - top) / grid.y_px_per_mm
    if not any(abs(height - gain) <= 0.08 * gain for gain in (5.0, 10.0, 20.0)):
        return None
    return Pulse(left, right, (right - left + 1) / grid.x_px_per_mm, top, foot, float(height))
