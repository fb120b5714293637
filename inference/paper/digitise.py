"""From the runs of a followed trace to a curve in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.forms import F32, F64
from inference.paper.grid import Grid
from inference.paper.runs import I64, Runs

_STEEP = 1.6  # stroke widths: a taller run holds more than a nearly flat stroke

_AROUND_MM = 2.0  # level of the trace around a letter
_STEM_MM = 0.8  # a letter's stem with its blur; a QRS complex is wider
_STICKS_OUT_MM = 0.4
_LETTER_MM = 4.0
_CROSSING_MM = 4.0  # of a line above and below the trace; complexes in one column have up to 3.5
_THINNER = 0.75  # of the pen's width
_BRIDGE_MM = 1.5  # a longer interruption is a hole


@dataclass(frozen=True, slots=True)
class Curve:
    """One row's trace in mm from the page's upper left corner, x ascending, y downwards.

    Attributes:
        x_mm: (n,) centres of columns. y_mm: (n,) centre line of the stroke.
        sharp: (n,) whether a point is the tip of a steep peak or dip.
    """

    x_mm: F64
    y_mm: F64
    sharp: NDArray[np.bool_]

    @property
    def begin(self) -> float:
        """First x in mm."""
        return float(self.x_mm[0])

    @property
    def end(self) -> float:
        """Last x in mm."""
        return float(self.x_mm[-1])


def digitise(
    runs: Runs, chosen: list[int], stroke: float, grid: Grid, labels: Sequence[tuple[float, float]]
) -> Curve:
    """The centre line of the chosen runs.

    In a flat part that is the middle of the run. In a column that holds both legs of a peak the
    run hangs from the peak, so the line passes half a stroke inside its extreme end; where a run
    is neither flat nor extreme the line crosses the column steeply, in its middle on the whole.

    Args:
        runs: runs of the page.
        chosen: indices into `runs`, ordered by column.
        stroke: stroke width in px.
        grid: for mm.
        labels: (begin, end) in mm of stretches where a lead's label may touch the trace.
    """
    index = np.asarray(chosen, np.intp)
    col, top, bottom = runs.col[index], runs.top[index], runs.bottom[index]
    zone = np.zeros(col.size, bool)
    for begin, end in labels:
        first, last = np.searchsorted(col, (begin * grid.x_px_per_mm, end * grid.x_px_per_mm))
        zone[first:last] = True
    _drop_stems(top, bottom, zone, stroke, grid)
    _drop_crossings(top, bottom, stroke, grid)
    steep = bottom - top > _STEEP * stroke
    apart = np.diff(col) > 2
    peak = steep & _extreme(-top, apart)
    dip = steep & _extreme(bottom, apart)
    y = (top + bottom) / 2
    y = np.where(peak & ~dip, top + stroke / 2, y)
    y = np.where(dip & ~peak, bottom - stroke / 2, y)
    x = col + np.where(peak, _vertex(-top, apart), np.where(dip, _vertex(bottom, apart), 0.0))
    xs, ys, doubled = _doubled(col.astype(np.float64), top, bottom, peak & dip, stroke)
    x = np.concatenate([np.delete(x, doubled), xs])
    y = np.concatenate([np.delete(y, doubled), ys])
    sharp = np.concatenate([np.delete(peak | dip, doubled), np.ones(xs.size, bool)])
    order = np.argsort(x, kind="stable")
    return Curve(x[order] / grid.x_px_per_mm, y[order] / grid.y_px_per_mm, sharp[order])


def _drop_stems(top: F64, bottom: F64, zone: NDArray[np.bool_], stroke: float, grid: Grid) -> None:
    """Cut letters off the runs in the zone, in place.

    The stem of a letter is one stroke wide from end to end; a QRS complex, two legs, is wider.
    """
    if not zone.any():
        return
    reach = int(_AROUND_MM * grid.x_px_per_mm)
    level = _running_median((top + bottom) / 2, reach)
    widest = max(2, int(_STEM_MM * grid.x_px_per_mm))
    for edge, other, sign in ((top, bottom, -1.0), (bottom, top, 1.0)):
        out = sign * (edge - level) > stroke / 2 + _STICKS_OUT_MM * grid.y_px_per_mm
        for first, last in _stretches(out):
            if not zone[first:last].all():
                continue
            height = np.abs(edge[first:last] - level[first:last]).max() / grid.y_px_per_mm
            if last - first <= widest and height <= _LETTER_MM:
                edge[first:last] = other[first:last] + sign * stroke


def _drop_crossings(top: F64, bottom: F64, stroke: float, grid: Grid) -> None:
    """Cut off, in place, thin lines that cross the trace: a grid's line that came through as ink.

    It stands out far above and below at once and is thinner than the pen; what the pen draws, a
    pacing spike even, is at least as wide as the pen, and a small complex within one column is low.
    """
    level = _running_median((top + bottom) / 2, int(_AROUND_MM * grid.x_px_per_mm))
    least = _CROSSING_MM * grid.y_px_per_mm
    for first, last in _stretches((level - top > least) & (bottom - level > least)):
        beside = (max(first - 1, 0), min(last, top.size - 1))
        flat = all(bottom[at] - top[at] <= _STEEP * stroke for at in beside)
        if flat and last - first <= max(1.0, _THINNER * stroke):
            top[first:last], bottom[first:last] = (
                edge[list(beside)].mean() for edge in (top, bottom)
            )


def _running_median(values: F64, reach: int) -> F64:
    padded = np.pad(values, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return np.asarray(np.median(windows, axis=1), np.float64)


def _stretches(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, behind last) of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _extreme(value: F64, apart: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a column's value is above both neighbours, a plateau counting once at its start."""
    rise = np.ones(value.size, bool)
    fall = np.ones(value.size, bool)
    rise[1:] = (value[1:] > value[:-1]) | apart
    fall[:-1] = (value[:-1] >= value[1:]) | apart
    return rise & fall


def _vertex(value: F64, apart: NDArray[np.bool_]) -> F64:
    """Where between the columns an extreme lies: -0.5 to 0.5, of equally steep sides."""
    left, right = np.zeros(value.size), np.zeros(value.size)
    left[1:] = np.where(apart, 0.0, value[1:] - value[:-1])
    right[:-1] = np.where(apart, 0.0, value[:-1] - value[1:])
    ends = np.concatenate([[True], apart]) | np.concatenate([apart, [True]])
    steeper = np.maximum(np.maximum(left, right), 1e-9)
    return np.asarray(np.where(ends, 0.0, (left - right) / (2 * steeper)).clip(-0.5, 0.5))


def _doubled(
    x: F64, top: F64, bottom: F64, both: NDArray[np.bool_], stroke: float
) -> tuple[F64, F64, I64]:
    """A column with a peak and a dip gives two points, the peak first."""
    where = np.flatnonzero(both)
    xs = np.concatenate([x[where] - 0.25, x[where] + 0.25])
    ys = np.concatenate([top[where] + stroke / 2, bottom[where] - stroke / 2])
    return xs, ys, where


def sample(curve: Curve, begin_mm: float, step_mm: float, count: int) -> F32:
    """(count,) y in mm at even steps, NaN in holes and beyond the curve's ends.

    The tip of a steep peak moves to the nearest sample, or interpolation would cut it off.
    """
    at = begin_mm + np.arange(count) * step_mm
    y = np.interp(at, curve.x_mm, curve.y_mm)
    tips = np.round((curve.x_mm[curve.sharp] - begin_mm) / step_mm).astype(np.intp)
    inside = (tips >= 0) & (tips < count)
    y[tips[inside]] = curve.y_mm[curve.sharp][inside]
    after = np.clip(np.searchsorted(curve.x_mm, at), 1, curve.x_mm.size - 1)
    hole = curve.x_mm[after] - curve.x_mm[after - 1] > _BRIDGE_MM
    beyond = (at < curve.begin - _BRIDGE_MM) | (at > curve.end + _BRIDGE_MM)
    y[hole | beyond] = np.nan
    return np.asarray(y, np.float32)
