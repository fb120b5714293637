"""From a page to a panel: upright, measured, with the rows of traces located."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.errors import Unscorable
from inference.forms import F32, U8, Picture
from inference.paper import rows
from inference.paper.flatten import flatten
from inference.paper.grid import Grid, measure
from inference.paper.ink import Ink, find_ink, grid_layer
from inference.paper.lines import erase_lines
from inference.paper.runs import Runs, find_runs

_SKEW_DEG = 0.12  # 0.5 mm over 250 mm
_BENT_MM = 0.4  # scans have up to 0.3
_PASSES = 3  # each takes what bend the last one left
_LONG_SIDE = 1600  # px: a larger page is scaled down to 5.4 px/mm on A4 ...
_WANTED = 4.0  # px/mm ... but not below this, where the ECG is a small part of the page
_COARSEST = 2.4  # px/mm; a 1 px stroke is 0.4 mm wide then
_SMALLEST = 200  # px a side
_LEAST_ROWS = 3


@dataclass(frozen=True, slots=True)
class Panel:
    """An upright, measured page whose rows of traces are known.

    Attributes:
        page: (rows, cols[, 3]) uint8, the page after turning and scaling.
        ink: its ink.
        grid: resolution.
        runs: vertical runs of ink that may be trace: no lines, pulses or anything beside.
        sure: (n,) bool, runs of pieces that are too wide for text.
        stroke: stroke width in px.
        baselines: rows of the page around which traces run, from top to bottom, px.
        pulses: calibration pulses. separators: columns of lead separators, px.
    """

    page: U8
    ink: Ink
    grid: Grid
    runs: Runs
    sure: NDArray[np.bool_]
    stroke: float
    baselines: tuple[float, ...]
    pulses: tuple[rows.Pulse, ...]
    separators: tuple[int, ...]


def find_panel(picture: Picture) -> Panel:
    """Put a page upright, measure its grid and find the rows of its traces.

    Whether it lies on its side or stands on its head only its traces tell, so `inference.trace`
    turns it by quarters where it must (`turned`).

    Raises:
        Unscorable: `low-resolution`, `blank`, `not-an-ecg`, `no-grid` or `too-few-leads`.
    """
    pixels = np.ascontiguousarray(picture.pixels)
    if min(pixels.shape[:2]) < _SMALLEST:
        raise Unscorable("low-resolution", f"{pixels.shape[1]}x{pixels.shape[0]} px are too few")
    shrink = min(1.0, _LONG_SIDE / max(pixels.shape[:2]))
    stated = 1 / picture.mm_per_px if picture.mm_per_px else 0.0
    ink, grid, page = _measured(_shrunk(pixels, shrink), stated * shrink)
    if shrink < 1 and grid.y_px_per_mm < _WANTED:
        shrink = min(1.0, shrink * _WANTED / grid.y_px_per_mm)
        ink, grid, page = _measured(_shrunk(pixels, shrink), stated * shrink)
    if min(grid.x_px_per_mm, grid.y_px_per_mm) < _COARSEST:
        raise Unscorable(
            "low-resolution", f"{grid.y_px_per_mm:.1f} px/mm; at least {_COARSEST} are needed"
        )
    panel = _located(page, ink, grid)
    if len(panel.baselines) >= _LEAST_ROWS:
        return panel
    on_side = turned(panel, 1)
    if len(on_side.baselines) >= _LEAST_ROWS:
        return on_side
    raise Unscorable(
        "too-few-leads",
        f"rows of traces: {len(panel.baselines)}; at least {_LEAST_ROWS} are needed",
    )


def turned(panel: Panel, quarters: int) -> Panel:
    """The same page turned by so many times 90 degrees, counter-clockwise."""
    return _located(*_rotated(panel.page, panel.grid, quarters))


def _shrunk(pixels: U8, factor: float) -> U8:
    if factor >= 1:
        return pixels
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _measured(pixels: U8, stated: float) -> tuple[Ink, Grid, U8]:
    """Ink and grid of a page, flat and level; `stated` px/mm help where the grid is faint."""
    ink = find_ink(pixels)
    try:
        grid = measure(layer := grid_layer(pixels, ink), stated)
    except Unscorable:
        if not stated:
            raise
        return ink, Grid(stated, stated, 0.0, 0.0), pixels
    if grid.bend_mm > _BENT_MM:
        return _flat(pixels, layer, grid)
    if abs(grid.skew_deg) > _SKEW_DEG:
        pixels = _levelled(pixels, grid.skew_deg)
        ink = find_ink(pixels)
        grid = measure(grid_layer(pixels, ink), stated)
    return ink, grid, pixels


def _flat(pixels: U8, layer: F32, bent: Grid) -> tuple[Ink, Grid, U8]:
    """A photographed page made flat, at the mean of its resolutions."""
    px_per_mm = float(np.sqrt(bent.x_px_per_mm * bent.y_px_per_mm))
    for _ in range(_PASSES):
        pixels = flatten(pixels, layer, 5 * px_per_mm)
        ink = find_ink(pixels)
        grid = measure(layer := grid_layer(pixels, ink), px_per_mm)
        if grid.bend_mm <= _BENT_MM:
            return ink, replace(grid, x_px_per_mm=px_per_mm, y_px_per_mm=px_per_mm), pixels
    raise Unscorable("no-grid", "the page is warped: its grid lines are not at right angles")


def _rotated(page: U8, grid: Grid, quarters: int) -> tuple[U8, Ink, Grid]:
    turned = np.ascontiguousarray(np.rot90(page, quarters))
    if quarters % 2:
        grid = replace(grid, x_px_per_mm=grid.y_px_per_mm, y_px_per_mm=grid.x_px_per_mm)
    return turned, find_ink(turned), grid


def _levelled(pixels: U8, degrees: float) -> U8:
    """Turn about the centre so that lines falling by `degrees` become level."""
    high, wide = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), degrees, 1.0)
    paper = tuple(np.median(pixels[::16, ::16], axis=(0, 1)).ravel().tolist())
    return np.asarray(
        cv2.warpAffine(pixels, turn, (wide, high), flags=cv2.INTER_LINEAR, borderValue=paper),
        np.uint8,
    )


def _located(pixels: U8, ink: Ink, grid: Grid) -> Panel:
    everything = find_runs(ink.mask, ink.darkness, ink.level)
    rest, separators = erase_lines(ink.mask, everything, grid)
    runs = find_runs(rest, ink.darkness, ink.level)
    pieces = rows.find_pieces(rest, grid)
    of_run, wide = pieces.of(runs), pieces.wide()
    traces = runs.only(wide[of_run])
    stroke = rows.stroke_of(traces)
    pulses = rows.find_pulses(rest, runs, stroke, grid)
    apart = pieces.holding(pulses)
    wide &= ~apart
    traces = runs.only(wide[of_run])
    if not traces.col.size:
        return Panel(pixels, ink, grid, traces, np.zeros(0, bool), 0.0, (), pulses, separators)
    beside = (runs.col < traces.col[0]) | (runs.col > traces.col[-1])
    maybe = ~beside & (wide | ~(apart | pieces.glyph()))[of_run]
    baselines = rows.find_baselines(traces, stroke, rest.shape[0], grid)
    kept, sure = runs.only(maybe), wide[of_run][maybe]
    return Panel(pixels, ink, grid, kept, sure, stroke, baselines, pulses, separators)
