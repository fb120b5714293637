"""A round pen's mark of a trace that is a function of time, exact in the vertical.

In one thin column of the page the mark is an interval: the trace, eroded and dilated by a disc.
Its coverage of each pixel is computed, not sampled; horizontally a page is sampled `FINE_PER_MM`
times a millimetre, which puts every sample of 250 Hz at 25 mm/s on a column's edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from inference.forms import F32, F64, U8

FINE_PER_MM = 20

_FULL = 255 << 16  # a pixel full of ink, in fixed point


@dataclass(frozen=True, slots=True)
class Pen:
    """A pen on a raster.

    Attributes:
        stroke_mm: its width.
        px_per_mm: resolution of the page.
        mm_per_s: how fast the paper runs.
    """

    stroke_mm: float
    px_per_mm: int
    mm_per_s: float

    @property
    def fine(self) -> int:
        """Thin columns per pixel."""
        return math.ceil(FINE_PER_MM / self.px_per_mm)

    @property
    def fine_per_mm(self) -> int:
        """Thin columns per mm."""
        return self.fine * self.px_per_mm

    @property
    def radius_px(self) -> float:
        """Half the stroke, in pixels."""
        return self.stroke_mm * self.px_per_mm / 2

    def mark(self, y_px: F64, rate_hz: float, columns: int) -> tuple[F64, F64]:
        """Top and bottom of the pen's mark in each thin column.

        Args:
            y_px: (traces, samples) position in pixels, down; the pen is up at NaN.
            rate_hz: samples per second.
            columns: thin columns to draw; the last sample is held.

        Returns:
            Two (traces, columns) arrays in pixels; +inf and -inf where the pen is up.
        """
        last = y_px.shape[1] - 1
        edges = np.arange(columns + 1) * (rate_hz / self.fine_per_mm / self.mm_per_s)
        edges = np.minimum(edges, last)
        below = np.minimum(edges.astype(np.intp), max(last - 1, 0))
        left = y_px[:, below]
        right = y_px[:, np.minimum(below + 1, last)]
        at = left + (right - left) * (edges - below)  # (traces, columns + 1)
        top = np.minimum(at[:, :-1], at[:, 1:])  # NaN if either edge is
        bottom = np.maximum(at[:, :-1], at[:, 1:])
        up = np.isnan(top)
        if up.any():
            top[up] = np.inf
            bottom[up] = -np.inf
        return self._dilated(top, bottom)

    def _dilated(self, top: F64, bottom: F64) -> tuple[F64, F64]:
        """Widen intervals by a disc: the pen's height at `step` columns from its centre."""
        radius, fine = self.radius_px, self.fine
        wide_top, wide_bottom = top - radius, bottom + radius
        for step in range(1, math.ceil(radius * fine - 0.25)):
            half = math.sqrt(radius**2 - (step / fine) ** 2)
            later, earlier = np.s_[:, step:], np.s_[:, :-step]
            for to, of in ((later, earlier), (earlier, later)):
                np.minimum(wide_top[to], top[of] - half, out=wide_top[to])
                np.maximum(wide_bottom[to], bottom[of] + half, out=wide_bottom[to])
        return wide_top, wide_bottom


def centred(millivolts: F32) -> F64:
    """Give each row less its median; a row without any sample stays NaN."""
    out = np.array(millivolts, np.float64)
    gaps = np.isnan(out)
    if not gaps.any():
        out -= np.median(out, axis=1, keepdims=True)
        return out
    some = ~gaps.all(axis=1)
    out[some] -= np.nanmedian(out[some], axis=1, keepdims=True)
    return out


def coverage(top: F64, bottom: F64, shape: tuple[int, int], fine: int) -> U8:
    """Sum the intervals' exact coverage of each pixel; more than full is full.

    Args:
        top: (rows, columns) upper ends in pixels; nothing is drawn where top >= bottom.
        bottom: (rows, columns) lower ends.
        shape: pixels of the page.
        fine: thin columns per pixel.

    Returns:
        `shape` uint8, 0 = bare, 255 = full of ink.
    """
    height, width = shape
    drawn = top < bottom
    column = np.broadcast_to(np.arange(top.shape[1]) // fine, top.shape)[drawn]
    ends = np.clip(np.concatenate([top[drawn], bottom[drawn]]), 0, height)
    whole = ends.astype(np.intp)
    # an edge at y covers 1 - part of its pixel and all of those below: a step, by running sum
    share = _FULL // fine
    full = np.repeat(np.array([share, -share], np.int32), column.size)
    lower = (full * (ends - whole)).astype(np.int32)
    place = np.concatenate([column, column]) + whole * width
    steps = np.zeros((height + 2) * width, np.int32)
    np.add.at(steps, place, full - lower)
    np.add.at(steps, place + width, lower)
    ink = steps.reshape(height + 2, width)[:height]
    np.cumsum(ink, axis=0, out=ink)
    np.minimum(ink, _FULL, out=ink)
    return ((ink + (1 << 15)) >> 16).astype(np.uint8)
