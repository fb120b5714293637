"""A PDF of vectors: the page that a clinician reads, and the sheet that it is drawn on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image
from reportlab import rl_config
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import registerFont, stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.pdfgen.pathobject import PDFPathObject

from inference.forms import F32, Tracings, Waveform
from inference.render.font import DRAWN, DrawnFont
from inference.render.heat import STRONGEST, WARM
from inference.render.layout import Page, Style, Text, Trace, lay_out
from inference.render.paper import INK, MAJOR, MINOR
from inference.render.text import runs

PLAIN, BOLD = "Helvetica", "Helvetica-Bold"
_MINOR_MM, _MAJOR_MM = 0.1, 0.2
_DEFAULT = Style()
_A4 = Page((), (), 0)
registerFont(DrawnFont())
rl_config.useA85 = 0  # streams are bytes: as text they would take a quarter more

Colour = tuple[int, int, int]


def page_pdf(source: Waveform | Tracings, style: Style = _DEFAULT) -> bytes:
    """Give the page of `inference.render.page` as a PDF; the same ECG gives the same bytes."""
    laid, sheet = lay_out(source, style), Sheet("12-lead ECG")
    if style.grid == "pink":
        sheet.rule(laid)
    sheet.pen(style.stroke_mm)
    for trace in laid.traces:
        sheet.trace(trace, style.speed_mm_per_s)
    for text in laid.texts:
        sheet.write(text)
    return sheet.done()


class Sheet:
    """Pages of A4 in landscape; lengths are in mm from the top left corner, down."""

    def __init__(self, title: str) -> None:
        """Begin with an empty page."""
        self._out = io.BytesIO()
        size = (_A4.width_mm * mm, _A4.height_mm * mm)
        self._canvas = Canvas(self._out, pagesize=size, pageCompression=1, invariant=1)
        self._canvas.setTitle(title)
        self._begin()

    def _begin(self) -> None:
        self._canvas.translate(0, _A4.height_mm * mm)
        self._canvas.scale(mm, -mm)
        self._canvas.setLineJoin(1)
        self._canvas.setLineCap(1)

    def next(self) -> None:
        """Turn to a new page."""
        self._canvas.showPage()
        self._begin()

    def done(self) -> bytes:
        """Give the PDF."""
        self._canvas.showPage()
        self._canvas.save()
        return self._out.getvalue()

    @contextmanager
    def scaled(self, x_mm: float, y_mm: float, scale: float) -> Iterator[None]:
        """Draw smaller or larger, from another corner."""
        self._canvas.saveState()
        self._canvas.translate(x_mm, y_mm)
        self._canvas.scale(scale, scale)
        yield
        self._canvas.restoreState()

    @contextmanager
    def stamp(self, name: str) -> Iterator[None]:
        """Cut a stamp: what is drawn meanwhile is kept once, for `put`."""
        self._canvas.beginForm(name, upperx=_A4.width_mm, uppery=_A4.height_mm)
        self._canvas.setLineJoin(1)
        self._canvas.setLineCap(1)
        yield
        self._canvas.endForm()

    def put(self, name: str) -> None:
        """Put a stamp's drawing here."""
        self._canvas.doForm(name)

    def rule(self, laid: Page) -> None:
        """Draw millimetre paper: thin lines each millimetre, stronger ones each five."""
        wide, high = round(laid.right_mm - laid.left_mm), round(laid.bottom_mm - laid.top_mm)
        for colour, step, width in ((MINOR, 1, _MINOR_MM), (MAJOR, 5, _MAJOR_MM)):
            self.pen(width, colour)
            path = self._canvas.beginPath()
            for x in range(0, wide + 1, step):
                path.moveTo(laid.left_mm + x, laid.top_mm)
                path.lineTo(laid.left_mm + x, laid.bottom_mm)
            for y in range(0, high + 1, step):
                path.moveTo(laid.left_mm, laid.top_mm + y)
                path.lineTo(laid.right_mm, laid.top_mm + y)
            self._canvas.drawPath(path)

    def pen(self, width_mm: float, colour: Colour = INK) -> None:
        """Take a pen for what is drawn next."""
        self._canvas.setStrokeColorRGB(*(value / 255 for value in colour))
        self._canvas.setLineWidth(width_mm)

    def frame(self, width_mm: float, height_mm: float) -> None:
        """Draw a rectangle from the corner, and clip what follows to it."""
        path = self._canvas.beginPath()
        path.rect(0, 0, width_mm, height_mm)
        self._canvas.clipPath(path, stroke=1)

    def trace(self, trace: Trace, speed_mm_per_s: float) -> None:
        """Draw a trace as one path, broken where the pen is up."""
        x = trace.x_mm + np.arange(trace.up_mm.size) / trace.rate_hz * speed_mm_per_s
        y = np.clip(trace.baseline_mm - trace.up_mm.astype(np.float64), 0, _A4.height_mm)
        drawn = (x <= trace.x_mm + trace.width_mm + 1e-6) & ~np.isnan(y)
        begins = drawn & ~np.concatenate([[False], drawn[:-1]])
        points = zip(x[drawn].round(3), y[drawn].round(3), begins[drawn], strict=True)
        # written here: reportlab takes ten times as long for a point
        steps = [f"{at:g} {to:g} {'m' if first else 'l'}" for at, to, first in points]
        if steps:
            self._canvas.drawPath(PDFPathObject(["n", *steps]))

    def tint(
        self, x_mm: float, top_mm: float, width_mm: float, height_mm: float, strength: F32
    ) -> None:
        """Lay heat, (rows, cols) 0 to 1, over what is drawn so far."""
        warm = np.empty((*strength.shape, 4), np.uint8)
        warm[..., :3] = WARM
        warm[..., 3] = np.rint(255 * STRONGEST * strength)
        image = ImageReader(Image.fromarray(warm, "RGBA"))
        with self.scaled(x_mm, top_mm + height_mm, 1):
            self._canvas.scale(1, -1)  # images stand on their feet
            self._canvas.drawImage(image, 0, 0, width_mm, height_mm, mask="auto")

    def write(
        self, text: Text, font: str = PLAIN, colour: Colour = INK, room_mm: float = 0
    ) -> None:
        """Write a line, drawn letters in one weight; smaller where it is wider than `room_mm`."""
        parts = _parts(text.words, font)
        size = text.size_mm
        if room_mm:
            size = min(size, room_mm / max(sum(width for *_, width in parts), 1e-9))
        self._canvas.setFillColorRGB(*(value / 255 for value in colour))
        with self.scaled(text.x_mm, text.baseline_mm, 1):
            self._canvas.scale(1, -1)
            x = 0.0
            for words, face, width in parts:
                self._canvas.setFont(face, size)
                self._canvas.drawString(x, 0, words)
                x += width * size


def wrapped(words: str, size_mm: float, width_mm: float) -> list[str]:
    """Break words into lines of a width."""
    lines: list[str] = []
    for paragraph in words.split("\n"):
        left = 0.0
        for word in paragraph.split():
            needed = _width(f" {word}") * size_mm
            if left < needed:
                lines.append(word)
                left = width_mm + _width(" ") * size_mm
            else:
                lines[-1] += f" {word}"
            left -= needed
    return lines


def _width(words: str) -> float:
    """Give the width of a line, in its size."""
    return sum(width for *_, width in _parts(words, PLAIN))


def _parts(words: str, font: str) -> list[tuple[str, str, float]]:
    """Part a line by font: words, its name, and their width in its size."""
    faced = [(run.words, DRAWN if run.drawn else font) for run in runs(words, _has)]
    return [(part, face, stringWidth(part, face, 1)) for part, face in faced]


def _has(letter: str) -> bool:
    """Tell whether the built-in fonts, which know Windows Latin 1, have a letter."""
    return letter.isprintable() and letter.encode("cp1252", "ignore") != b""
