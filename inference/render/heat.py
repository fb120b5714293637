"""Heat over a page: a tint under the traces that tells where the network looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from inference.forms import F32, U8, Tracings
from inference.render.layout import Page, Style, lay_out
from inference.render.look import HEIGHT_MM, ROW_MM, WIDTH_MM
from inference.render.paper import page

WARM = (255, 96, 0)
"""The colour of heat, RGB."""
STRONGEST = 0.65
"""Share of that colour where heat is 1; the grid stays readable."""
ROWS = 4
_PX_PER_MM = 5


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """A map of the panel, and what it is in a sentence.

    Attributes:
        words: for people.
        strength: (h, w) over the whole panel, 0 to 1.
    """

    words: str
    strength: F32


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """What of a map lies over one row of a page: its place in mm, and (rows, cols) 0 to 1."""

    x_mm: float
    top_mm: float
    width_mm: float
    height_mm: float
    strength: F32


def stretched(values: F32) -> F32:
    """Give (h, w) values from their lowest, 0, to their highest, 1."""
    low = float(values.min())
    return np.asarray((values - low) / max(float(values.max()) - low, 1e-9), np.float32)


def of_gradcam(cam: F32, layer: int) -> Heat:
    """Tell Grad-CAM, (h, w) 0 to 1, and the size of its fields on paper."""
    field = f"{HEIGHT_MM / cam.shape[0]:.0f} x {WIDTH_MM / cam.shape[1]:.0f} mm"
    found = "what raises the score" if cam.any() else "nothing raises the score"
    return Heat(f"Grad-CAM after layer {layer}: {found}; fields of {field}", cam)


def of_gate(gate: F32, layer: int) -> Heat:
    """Tell an attention gate, (h, w) 0 to 1, and between which values it lies."""
    words = f"Attention after layer {layer}: gate {gate.min():.2f} (white) to "
    return Heat(words + f"{gate.max():.2f} (orange)", stretched(gate))


def fine(strength: F32, px_per_mm: float) -> F32:
    """Give a map of the panel at a resolution, bilinear between its fields."""
    size = (round(WIDTH_MM * px_per_mm), ROWS * round(ROW_MM * px_per_mm))
    return np.asarray(cv2.resize(strength, size, interpolation=cv2.INTER_LINEAR), np.float32)


def bands(laid: Page, strength: F32, px_per_mm: float) -> Iterator[Band]:
    """Part a map among the page's rows: the panel has them without the space between."""
    left = min(trace.x_mm for trace in laid.leads)
    parts = np.split(fine(strength, px_per_mm), ROWS)
    for baseline, part in zip(sorted({t.baseline_mm for t in laid.leads}), parts, strict=True):
        yield Band(left, baseline - ROW_MM / 2, WIDTH_MM, ROW_MM, part)


def over(tracings: Tracings, heat: Heat) -> U8:
    """Lay heat over the page that a clinician reads: (rows, cols, 3) RGB, the words above it."""
    style = Style(header=(heat.words,), px_per_mm=_PX_PER_MM)
    laid, paper = lay_out(tracings, style), page(tracings, style)
    strength = np.zeros(paper.shape[:2], np.float32)
    for band in bands(laid, heat.strength, _PX_PER_MM):
        top, left = round(band.top_mm * _PX_PER_MM), round(band.x_mm * _PX_PER_MM)
        tall, wide = band.strength.shape
        strength[top : top + tall, left : left + wide] = band.strength
    tint = 1 - STRONGEST * strength[..., None] * (1 - np.array(WARM, np.float32) / 255)
    return np.asarray(paper * tint, np.uint8)
