"""The page as a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inference.forms import F64, U8, Tracings, Waveform
from inference.render.ink import Pen, coverage
from inference.render.layout import Page, Style, Text, Trace, lay_out
from inference.render.text import inked, legible

INK = (20, 20, 28)
MINOR = (250, 221, 221)
MAJOR = (240, 178, 178)
_DEFAULT = Style()


def page(source: Waveform | Tracings, style: Style = _DEFAULT) -> U8:
    """Draw the page that a clinician reads.

    Args:
        source: a waveform, or tracings (3x4 in the standard order only).
        style: layout, speed, gain, header lines, resolution.

    Returns:
        (210 * px_per_mm, 297 * px_per_mm, 3) RGB uint8, A4 in landscape.
    """
    laid = lay_out(source, style)
    px = style.px_per_mm
    paper = np.full((round(laid.height_mm * px), round(laid.width_mm * px), 3), 255, np.uint8)
    if style.grid == "pink":
        _rule(paper, laid, px)
    _ink(paper, laid, style)
    return _written(paper, laid, px)


def _rule(paper: U8, laid: Page, px: int) -> None:
    """Millimetre paper, in place: thin lines each millimetre, stronger ones each five."""
    left, top = round(laid.left_mm * px), round(laid.top_mm * px)
    right, bottom = round(laid.right_mm * px), round(laid.bottom_mm * px)
    heavy = max(1, px // 5)
    for colour, step, width in ((MINOR, px, 1), (MAJOR, 5 * px, heavy)):
        for offset in range(width):
            paper[top : bottom + heavy, left + offset : right + heavy : step] = colour
            paper[top + offset : bottom + heavy : step, left : right + heavy] = colour


def _ink(paper: U8, laid: Page, style: Style) -> None:
    """Lay the traces' ink over the paper, in place."""
    pen = Pen(style.stroke_mm, style.px_per_mm, style.speed_mm_per_s)
    height, width = paper.shape[:2]
    shape = (len(laid.traces), width * pen.fine)
    top, bottom = np.full(shape, np.inf), np.full(shape, -np.inf)
    for number, trace in enumerate(laid.traces):
        first = round(trace.x_mm * pen.fine_per_mm)
        columns = round(_drawn_mm(trace, style) * pen.fine_per_mm)
        ends = pen.mark(_down_px(trace, pen), trace.rate_hz, columns)
        top[number, first : first + columns] = ends[0][0]
        bottom[number, first : first + columns] = ends[1][0]
    # one picture of ink for all traces: where they cross there is no more than full
    _lay(paper, coverage(top, bottom, (height, width), pen.fine))


def _lay(paper: U8, amount: U8) -> None:
    """Lay ink, 0 to 255, over paper of its size, in place."""
    where = np.nonzero(amount)
    share = amount[where][:, None].astype(np.float32) / 255
    blend = paper[where] * (1 - share) + np.array(INK, np.float32) * share
    paper[where] = np.rint(blend).astype(np.uint8)


def _down_px(trace: Trace, pen: Pen) -> F64:
    """(1, samples): the trace's course in pixels from the top."""
    down = (trace.baseline_mm - trace.up_mm.astype(np.float64)) * pen.px_per_mm
    return down[None]


def _drawn_mm(trace: Trace, style: Style) -> float:
    """How much of its width a trace has samples for."""
    return min(trace.width_mm, trace.up_mm.size / trace.rate_hz * style.speed_mm_per_s)


def _written(paper: U8, laid: Page, px: int) -> U8:
    """Write the lines; one with other letters than ASCII is drawn as a whole."""
    image = Image.fromarray(paper)
    draw = ImageDraw.Draw(image)
    lines = [(text, legible(text.words, _has)) for text in laid.texts]
    for text, words in lines:
        if words.isascii():
            font = ImageFont.load_default(text.size_mm * px)
            draw.text((text.x_mm * px, text.baseline_mm * px), words, INK, font, anchor="ls")
    paper = np.array(image, np.uint8)
    for text, words in lines:
        if not words.isascii():
            _lay(*_drawn(paper, text, words, px))
    return paper


def _drawn(paper: U8, text: Text, words: str, px: int) -> tuple[U8, U8]:
    """Give the part of the paper where a line is drawn, and its ink."""
    em = round(text.size_mm * px)
    top = round(text.baseline_mm * px) - em - em // 2
    left = round(text.x_mm * px) - em
    ink = inked(words, em)[:, : paper.shape[1] - left]
    return paper[top : top + ink.shape[0], left : left + ink.shape[1]], ink


def _has(letter: str) -> bool:
    """Tell whether Pillow's own font, of which we use ASCII, has a letter."""
    return letter.isascii() and letter.isprintable()
