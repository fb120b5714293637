"""Vertical runs of ink: what each column of the page holds, with sub-pixel edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.forms import F64, U8

I64 = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Runs:
    """All vertical runs of a mask, ordered by column and then from top to bottom.

    Attributes:
        col: (n,) column of each run.
        first, last: (n,) first and last row of each run, px.
        top, bottom: (n,) edges at half darkness in px, where a pixel's centre is an integer.
        start: (cols + 1,) the runs of column x are `start[x]:start[x + 1]`.
    """

    col: I64
    first: I64
    last: I64
    top: F64
    bottom: F64
    start: I64

    @property
    def height(self) -> F64:
        """(n,) height of each run in px, sub-pixel."""
        return self.bottom - self.top

    @property
    def centre(self) -> F64:
        """(n,) middle of each run in px."""
        return (self.bottom + self.top) / 2

    def only(self, chosen: NDArray[np.bool_]) -> Runs:
        """The chosen runs."""
        col = self.col[chosen]
        start = np.searchsorted(col, np.arange(self.start.size))
        first, last = self.first[chosen], self.last[chosen]
        return Runs(col, first, last, self.top[chosen], self.bottom[chosen], start)


def find_runs(mask: U8, darkness: U8, level: float) -> Runs:
    """Find the vertical runs of `mask` (rows, cols) and their edges in `darkness`."""
    rows, cols = mask.shape
    upright = np.zeros((cols, rows + 2), bool)
    upright[:, 1:-1] = mask.T != 0
    edges = np.flatnonzero(upright[:, 1:] != upright[:, :-1])
    col, first = np.divmod(edges[::2], rows + 1)
    last = edges[1::2] % (rows + 1) - 1
    above = _crossing(darkness, first, first - 1, col, level)
    below = _crossing(darkness, last, last + 1, col, level)
    start = np.searchsorted(col, np.arange(cols + 1))
    return Runs(col, first, last, first - above, last + below, start)


def _crossing(darkness: U8, inside: I64, outside: I64, col: I64, level: float) -> F64:
    """How far from pixel `inside` towards `outside` the darkness falls to `level`, 0..1 px."""
    rows = darkness.shape[0]
    dark = darkness[inside, col].astype(np.float64)
    beyond = (outside < 0) | (outside >= rows)
    light = darkness[np.clip(outside, 0, rows - 1), col].astype(np.float64)
    light[beyond] = 0.0
    share = (dark - level) / np.maximum(dark - light, 1.0)
    return np.asarray(np.clip(share, 0.0, 1.0), np.float64)
