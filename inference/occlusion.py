"""What a score owes to parts of the page that are no trace: cover them, read and score it again.

Needs no more than the runtime that serves.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from inference import trace
from inference.errors import Unscorable
from inference.forms import LEADS, U8, Picture, Tracings
from inference.paper import Panel, find_panel
from inference.preprocess import preprocess
from inference.render import Style, page, panel
from inference.render.layout import Page, lay_out
from inference.runtime import probability
from inference.score import Scorer
from inference.trace import Placed

_HEADER = ("DOE^JANE   ID 4711   F 61 y", "2026-11-25 10:11:12   sinus rhythm, see report")
_CLEAR_MM = 3.0  # between the traces and what is covered above and below them
_OWN_MM = 0.6  # ink so near to a curve is its own; more would leave stubs of separators: waves

Box = tuple[float, float, float, float]
"""Top, bottom, left and right, mm from the page's top left corner."""
Changes = dict[str, float | None]


def occlusion(scorer: Scorer, tracings: Tracings, lead: int) -> Changes:
    """Draw the page with a header, cover one part after another, and read and score it again.

    Gives the change of the score without the header, the leads' labels, the calibration pulses and
    the line below the traces. To compare with: the change when nothing but the place of the page
    changes (0.5 mm, so that its pixels are read anew), with the trace of `lead` upside down, and
    without it. None where what is left cannot be scored.
    """
    style = Style(header=_HEADER, px_per_mm=6)
    laid, paper = lay_out(tracings, style), page(tracings, style)
    changed = {}
    for name, boxes in _covers(laid).items():
        changed[name] = paper.copy()
        for box in boxes:
            top, bottom, left, right = (max(0, round(mm * style.px_per_mm)) for mm in box)
            changed[name][top:bottom, left:right] = 255
    changed["page moved 0.5 mm"] = np.roll(paper, style.px_per_mm // 2, (0, 1))
    turned = tracings.leads_mv.copy()
    turned[lead] *= -1
    upside_down = Tracings(turned, tracings.rhythm_mv, tracings.rate_hz)
    changed[f"{LEADS[lead]} upside down"] = page(upside_down, style)
    return _changes(scorer, paper, changed) | without(scorer, tracings, lead)


def on_print(scorer: Scorer, picture: Picture, lead: int) -> Changes:
    """Cover what is no trace on a page that a cart printed, and read and score it again.

    Gives the change of the score when all above, below or left of the traces has the colour of the
    paper, and when all other ink has: labels, separators, pulses and text; the grid stays, for it
    tells the page's scale. To compare with: the page moved by half a pixel, which is to read it
    anew, and without `lead`. Of a page that had to be turned only the last.

    Raises:
        Unscorable: the traces of the page cannot be placed.
    """
    found = find_panel(picture)
    placed = trace.place(found)
    apart = without(scorer, trace.tracings(placed), lead)
    if not _upright(found, placed):
        return {**apart}
    paper = found.page
    changed = {name: _painted(paper, where) for name, where in _beside(found, placed).items()}
    changed["moved 0.5 px"] = _moved(paper, 0.5)
    changes = _changes(scorer, paper, changed)
    return {f"print: {name}": change for name, change in changes.items()} | apart


def without(scorer: Scorer, tracings: Tracings, lead: int) -> Changes:
    """Give the change of the score when the panel shows nothing of a lead; no guard is asked."""
    covered = tracings.leads_mv.copy()
    covered[lead] = np.nan
    less = Tracings(covered, tracings.rhythm_mv, tracings.rate_hz)
    whole, left = (_score(scorer, preprocess(panel(each), scorer.bundle.recipe).input)
                   for each in (tracings, less))  # fmt: skip
    return {f"{LEADS[lead]} covered": left - whole}


def _covers(laid: Page) -> dict[str, list[Box]]:
    labels = [text for text in laid.texts if text.words in LEADS]
    first = min(trace.x_mm for trace in laid.leads)
    return {
        "header": [(0, laid.top_mm - 1, 0, laid.width_mm)],
        "labels": [
            (t.baseline_mm - t.size_mm, t.baseline_mm + 1, t.x_mm - 0.5, t.x_mm + 8) for t in labels
        ],
        "pulses": [(laid.top_mm, laid.bottom_mm, laid.left_mm, first - 1.5)],
        "line below": [(laid.bottom_mm + 1, laid.height_mm, 0, laid.width_mm)],
    }


def _beside(found: Panel, placed: Placed) -> dict[str, np.ndarray]:
    """What is covered on a print: name to (rows, cols) bool."""
    x_scale, y_scale = found.grid.x_px_per_mm, found.grid.y_px_per_mm
    rows, cols = (np.arange(size) for size in found.page.shape[:2])
    top = min(float(curve.y_mm.min()) for curve in placed.curves) - _CLEAR_MM
    bottom = max(float(curve.y_mm.max()) for curve in placed.curves) + _CLEAR_MM
    whole = np.ones(found.page.shape[:2], bool)
    ink = cv2.dilate(found.ink.mask, np.ones((3, 3), np.uint8)) > 0
    return {
        "all above": whole & (rows < top * y_scale)[:, None],
        "all below": whole & (rows > bottom * y_scale)[:, None],
        "all left": whole & (cols < (placed.begin_mm - 0.5) * x_scale),
        "all other ink": ink & ~_own(found, placed),
    }


def _upright(found: Panel, placed: Placed) -> bool:
    """Whether the curves lie on the page's ink: of a page that was turned they do not."""
    curve = placed.curves[0]
    cols = np.rint(curve.x_mm * found.grid.x_px_per_mm).astype(int).clip(0, found.page.shape[1] - 1)
    rows = np.rint(curve.y_mm * found.grid.y_px_per_mm).astype(int).clip(0, found.page.shape[0] - 1)
    return bool((found.ink.mask[rows, cols] > 0).mean() > 0.5)


def _own(found: Panel, placed: Placed) -> np.ndarray:
    """(rows, cols) bool, what lies within `_OWN_MM` of a followed curve."""
    near = np.zeros(found.page.shape[:2], np.uint8)
    scale = np.array([found.grid.x_px_per_mm, found.grid.y_px_per_mm])
    thick = round(2 * _OWN_MM * float(scale.mean()))
    for curve in placed.curves:
        points = np.rint(np.stack((curve.x_mm, curve.y_mm), axis=1) * scale).astype(np.int32)
        cv2.polylines(near, [points], isClosed=False, color=1, thickness=thick)
    return near > 0


def _painted(paper: U8, where: np.ndarray) -> U8:
    """The page with the colour of its paper there."""
    painted = paper.copy()
    painted[where] = np.median(paper[::8, ::8], axis=(0, 1)).astype(np.uint8)
    return painted


def _moved(paper: U8, px: float) -> U8:
    """The page moved to the right and down."""
    size, shift = paper.shape[1::-1], np.array([[1, 0, px], [0, 1, px]], np.float32)
    moved = cv2.warpAffine(
        paper, shift, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _changes(scorer: Scorer, paper: U8, changed: Mapping[str, U8]) -> Changes:
    whole = _score_of(scorer, paper)
    found = {name: _score_of(scorer, pixels) for name, pixels in changed.items()}
    return {
        name: None if whole is None or score is None else score - whole
        for name, score in found.items()
    }


def _score_of(scorer: Scorer, paper: U8) -> float | None:
    try:
        return _score(scorer, scorer.prepare(Picture(paper)).steps.input)
    except Unscorable:
        return None


def _score(scorer: Scorer, given: np.ndarray) -> float:
    logits = scorer.runtime.logits(given[None, None])
    return float(probability(logits, scorer.bundle)[0])
