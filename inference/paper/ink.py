"""Ink and paper: how dark each pixel is against its surroundings, and where the ink is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.errors import Unscorable
from inference.forms import F32, U8

_PAPER_CELL = 8  # px: paper brightness is measured on cells of this size ...
_PAPER_REACH = 31  # ... and smoothed over this many cells
_TRACE_SHARE = 0.01  # of a page's pixels: traces cover about that much ...
_INK_SHARE = 0.003  # ... and text, often darker than a scanned trace, less
_FAINTEST_INK = 50  # grey levels between paper and ink
_MOST_INK = 0.25  # share of the page; more is a photograph or a black page


@dataclass(frozen=True, slots=True)
class Ink:
    """A page split into its ink and its paper.

    Attributes:
        darkness: (rows, cols) uint8; 0 = paper, larger = darker in *every* colour channel, so a
            coloured grid hardly shows.
        level: darkness at the edge of a stroke (half of the trace's own darkness).
        mask: (rows, cols) uint8, 1 where darkness >= level.
    """

    darkness: U8
    level: float
    mask: U8


def find_ink(pixels: U8) -> Ink:
    """Separate ink from paper and coloured grid.

    Args:
        pixels: (rows, cols) grey or (rows, cols, 3) RGB.

    Raises:
        Unscorable: `blank` when there is no ink, `not-an-ecg` when most of the page is dark.
    """
    value = brightest(pixels)
    darkness: U8 = cv2.bitwise_not(cv2.divide(value, _paper(value), scale=255))
    counts = np.bincount(darkness[::2, ::2].ravel(), minlength=256)
    text, trace = _darkest(counts, _INK_SHARE), _darkest(counts, _TRACE_SHARE)
    if text < _FAINTEST_INK:
        raise Unscorable("blank", "no ink on the page")
    level = max(trace / 2, text / 4)
    mask = np.asarray(cv2.threshold(darkness, int(level), 1, cv2.THRESH_BINARY)[1], np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 1), np.uint8))
    if cv2.countNonZero(mask) > _MOST_INK * mask.size:
        raise Unscorable("not-an-ecg", "most of the page is dark")
    return Ink(darkness, level, mask)


def brightest(pixels: U8) -> U8:
    """The brightest channel of each pixel: dark only where all colours are, so not in a grid."""
    return _channels(pixels, cv2.max)


def faintest(pixels: U8) -> U8:
    """The darkest channel of each pixel: shows grid lines of any colour."""
    return _channels(pixels, cv2.min)


def grid_layer(pixels: U8, ink: Ink) -> F32:
    """(rows, cols) float32 with the grid lines and without the ink; zero mean outside the ink."""
    layer = 255 - faintest(pixels).astype(np.float32)
    around = cv2.dilate(ink.mask, np.ones((5, 5), np.uint8))
    paper = cv2.bitwise_xor(around, 1)
    layer -= cv2.mean(layer, paper)[0]
    return np.asarray(layer * paper, np.float32)


def _channels(pixels: U8, pick: object) -> U8:
    if pixels.ndim == 2:
        return pixels
    red, green, blue = cv2.split(pixels)
    return np.asarray(pick(pick(red, green), blue), np.uint8)  # type: ignore[operator]


def _paper(value: U8) -> U8:
    """Brightness of the paper around each pixel, so that shades and vignettes do not matter."""
    rows, cols = value.shape
    small = cv2.resize(
        value,
        (max(1, cols // _PAPER_CELL), max(1, rows // _PAPER_CELL)),
        interpolation=cv2.INTER_AREA,
    )
    smooth = cv2.medianBlur(cv2.dilate(small, np.ones((3, 3), np.uint8)), _PAPER_REACH)
    return np.asarray(cv2.resize(smooth, (cols, rows), interpolation=cv2.INTER_LINEAR), np.uint8)


def _darkest(counts: NDArray[np.intp], share: float) -> int:
    """The darkness that the darkest `share` of the pixels reaches, from their histogram."""
    from_dark = np.cumsum(counts[::-1])
    return 255 - int(np.searchsorted(from_dark, share * from_dark[-1]))
