"""A photographed page made flat: its own grid says where each of its points belongs.

The 5 mm lines are a wave across the page. Multiplied by a wave of about their pitch and blurred,
what is left is the phase by which the lines run ahead there, as in an interferogram; unwrapped from
the clearest place outwards it tells each place in squares of the grid. Smooth polynomials through
these places follow tilt, perspective and a gentle curl. Creases they cannot follow.
"""

from __future__ import annotations

import heapq

import cv2
import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from inference.errors import Unscorable
from inference.forms import F32, F64, U8

_ROUNDS = ((2, 0.3), (3, 0.3), (3, 0.2))
"""Degree of the polynomials, which are the next round's waves, and what is no stray, squares."""
_SURE = 0.5  # a round begins with the clearer half of the places ...
_REFITS = 4  # ... and takes in others that agree
_CELL = 0.5  # squares; the phase is measured in each cell ...
_BLUR = 1.8  # cells: ... and those around it
_CLEAR = 0.35  # of the median strength: there are lines
_STRAYS = 0.35  # largest share of strays among the places with lines, some of which are text
_LARGEST = 1.3  # the flat page over the photograph, each way
_POWERS = np.add.outer(range(4), range(4))

_C64 = NDArray[np.complex64]


def flatten(pixels: U8, layer: F32, pitch: float) -> U8:
    """Redraw a page so that its grid is square, at the same mean resolution.

    Args:
        pixels: (rows, cols[, 3]) the page.
        layer: (rows, cols) its grid lines without its ink.
        pitch: mean px per 5 mm.

    Raises:
        Unscorable: `no-grid` where the lines do not lie on a smooth sheet.
    """
    x, y, across, down = _places(layer, pitch)
    left, top = across.min() - _CELL, down.min() - _CELL
    cols = round((across.max() + _CELL - left) * pitch)
    rows = round((down.max() + _CELL - top) * pitch)
    if cols > _LARGEST * pixels.shape[1] or rows > _LARGEST * pixels.shape[0]:
        raise Unscorable("no-grid", "the page is warped: its grid lines run apart")
    u, v = (across - left) * pitch / cols, (down - top) * pitch / rows  # 0..1
    even = (np.arange(cols) / cols, np.arange(rows) / rows)
    source = [_grid(even, _fit(u, v, at)).astype(np.float32) for at in (x, y)]
    paper = tuple(np.median(pixels[::16, ::16], axis=(0, 1)).ravel().tolist())
    flat = cv2.remap(pixels, source[0], source[1], cv2.INTER_CUBIC, borderValue=paper)
    return np.asarray(flat, np.uint8)


def _places(layer: F32, pitch: float) -> tuple[F64, F64, F64, F64]:
    """(n,) x and y in px of places with lines, and the same in squares, across and down."""
    step = max(2, round(_CELL * pitch))
    rows, cols = (size // step * step for size in layer.shape)
    pixels = (np.arange(cols) / cols, np.arange(rows) / rows)  # 0..1
    cells = (pixels[0][::step] + step / 2 / cols, pixels[1][::step] + step / 2 / rows)
    s, t = np.meshgrid(*cells)
    fits = [np.zeros((4, 4)), np.zeros((4, 4))]
    fits[0][1, 0], fits[1][0, 1] = cols / pitch, rows / pitch
    for degree, most in _ROUNDS:
        local = [_local(layer, _grid(pixels, each), step) for each in fits]
        squares = [
            _grid(cells, each) + _unwrapped(ahead) / (2 * np.pi)
            for each, ahead in zip(fits, local, strict=True)
        ]
        strength = np.min([abs(each) / np.median(abs(each)) for each in local], axis=0)
        clear = strength > _CLEAR
        kept = clear & (strength > np.quantile(strength, _SURE))
        for _ in range(_REFITS):
            fits = [_fit(s[kept], t[kept], each[kept], degree) for each in squares]
            off = [_grid(cells, c) - each for c, each in zip(fits, squares, strict=True)]
            kept = clear & (np.hypot(*off) < most)
    if kept.sum() < (1 - _STRAYS) * clear.sum():
        raise Unscorable("no-grid", "the page is warped: its grid lines are not at right angles")
    return s[kept] * cols - 0.5, t[kept] * rows - 0.5, squares[0][kept], squares[1][kept]


def _local(layer: F32, wave: F64, step: int) -> _C64:
    """(rows, cols) of cells: strength and phase of the layer's lines against a wave in squares."""
    rows, cols = wave.shape
    turns = np.asarray(2 * np.pi * (wave % 1.0), np.float32)
    out = []
    for part in (np.cos(turns), -np.sin(turns)):
        cells = layer[:rows, :cols] * part
        cells = cv2.resize(cells, (cols // step, rows // step), interpolation=cv2.INTER_AREA)
        out.append(cv2.GaussianBlur(cells, (0, 0), _BLUR))
    return np.asarray(out[0] + 1j * out[1], np.complex64)


def _unwrapped(local: _C64) -> F64:
    """Phases in radians without jumps, from the strongest cell to ever weaker neighbours."""
    rows, cols = local.shape
    strength = np.abs(local)
    phase = np.zeros(local.shape)
    first = divmod(int(strength.argmax()), cols)
    phase[first] = np.angle(local[first])
    known = np.zeros(local.shape, bool)
    known[first] = True
    heap = [(-strength[first], first)]
    while heap:
        row, col = here = heapq.heappop(heap)[1]
        for cell in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
            if 0 <= cell[0] < rows and 0 <= cell[1] < cols and not known[cell]:
                phase[cell] = phase[here] + np.angle(local[cell] * np.conj(local[here]))
                known[cell] = True
                heapq.heappush(heap, (-strength[cell], cell))
    return phase


def _grid(at: tuple[F64, F64], coefficients: F64) -> F64:
    """(rows, cols) of a polynomial over all of `at`: (cols,) and (rows,)."""
    values = polynomial.polygrid2d(at[0], at[1], coefficients)
    return np.asarray(values, np.float64).T


def _fit(s: F64, t: F64, values: F64, degree: int = 3) -> F64:
    """(4, 4) coefficients of the polynomial in s and t that is nearest to the values."""
    out, used = np.zeros((4, 4)), degree >= _POWERS
    terms = polynomial.polyvander2d(s, t, (3, 3))[:, used.ravel()]
    out[used] = np.linalg.lstsq(terms, values, rcond=None)[0]
    return out
