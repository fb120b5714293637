"""What a score owes to parts of the page that are no trace: cover them, read and score it again.

Needs no more than the runtime that serves.
"""

from __future__ import annotations

import numpy as np

from inference.errors import Unscorable
from inference.forms import LEADS, U8, Picture, Tracings
from inference.render import Style, page
from inference.render.layout import Page, lay_out
from inference.runtime import probability
from inference.score import Scorer

_HEADER = ("DOE^JANE   ID 4711   F 61 y", "2026-11-25 10:11:12   sinus rhythm, see report")

Box = tuple[float, float, float, float]
"""Top, bottom, left and right, mm from the page's top left corner."""


def occlusion(scorer: Scorer, tracings: Tracings, lead: int) -> dict[str, float | None]:
    """Draw the page with a header, cover one part after another, and read and score it again.

    Gives the change of the score without the header, the leads' labels, the calibration pulses and
    the line below the traces. To compare with: the change when nothing but the place of the page
    changes (0.5 mm, so that its pixels are read anew), and with the trace of `lead` upside down.
    None where what is left cannot be scored.
    """
    style = Style(header=_HEADER, px_per_mm=6)
    laid, paper = lay_out(tracings, style), page(tracings, style)
    whole = _score_of(scorer, paper)
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
    found = {name: _score_of(scorer, pixels) for name, pixels in changed.items()}
    return {
        name: None if whole is None or score is None else score - whole
        for name, score in found.items()
    }


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


def _score_of(scorer: Scorer, paper: U8) -> float | None:
    try:
        given = scorer.prepare(Picture(paper)).steps.input
    except Unscorable:
        return None
    logits = scorer.runtime.logits(given[None, None])
    return float(probability(logits, scorer.bundle)[0])
