"""The result PDF: the tracing with Grad-CAM under it, then each map by itself, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.forms import Tracings, Waveform
from inference.render.heat import Heat, bands, fine
from inference.render.layout import Page, Style, Text, Trace, lay_out
from inference.render.look import HEIGHT_MM, ROW_MM, WIDTH_MM
from inference.render.paper import INK
from inference.render.pdf import BOLD, PLAIN, Colour, Sheet, wrapped

_ROOM = ("",) * 4  # lines above the traces
_STYLE = Style(header=_ROOM)
_RED = (176, 0, 0)
_TINT_PX_PER_MM = 1
_TRACES = "traces"
_LINE_MM, _TEXT_MM, _SMALL_MM, _SMALL_LINE_MM = 5.0, 3.4, 2.7, 3.7
_GAP_MM = 9.0  # between small panels, for their titles

MEANING = (
    "What the maps show. Grad-CAM marks the fields of the picture that raise the score; full "
    "orange is as much as any field of this ECG moves it, up or down, and a field that lowers it "
    "stays white. The attention of a block is what it lets through to the next one, whatever "
    "becomes of it there. Two ECGs do not compare.\n"
    "What they do not show. A map says where the network looked, neither why nor whether rightly. "
    "What is marked is no finding, what is not marked is not normal, and a wrong score can have a "
    "convincing map. Read the ECG itself."
)
"""What an explanation is and is not, as every result PDF says it."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a result PDF says beside the ECG, as its caller knows it.

    Attributes:
        marking: how the result may be used; in red on each page.
        who: patient, visit and time; on each page.
        verdict: the score and what it means; on each page.
        tracing: where the traces come from.
        facts: model, identifiers, how it came; small, on the second page.
    """

    marking: str
    who: str
    verdict: str
    tracing: str
    facts: Sequence[str]


def result_pdf(
    source: Waveform | Tracings, tracings: Tracings, heats: Sequence[Heat], words: Words
) -> bytes:
    """Give the result PDF, A4 in landscape; the same arguments give the same bytes.

    Args:
        source: what the first page shows: the waveform, or what was read from a picture.
        tracings: what the network was shown.
        heats: its maps; the first lies under the traces of the first page.
        words: what is said.
    """
    sheet = Sheet("ECG result")
    _front(sheet, lay_out(source, _STYLE), heats[0], words)
    sheet.next()
    _back(sheet, lay_out(tracings, _STYLE), heats, words)
    return sheet.done()


def _front(sheet: Sheet, laid: Page, heat: Heat, words: Words) -> None:
    """The page that a clinician reads, the tint between paper and traces."""
    sheet.rule(laid)
    for band in bands(laid, heat.strength, _TINT_PX_PER_MM):
        sheet.tint(band.x_mm, band.top_mm, band.width_mm, band.height_mm, band.strength)
    sheet.pen(_STYLE.stroke_mm)
    for trace in laid.traces:
        sheet.trace(trace, _STYLE.speed_mm_per_s)
    for text in laid.texts:
        sheet.write(text)
    _head(sheet, laid, words, f"{words.tracing} Orange: {heat.words}.")


def _back(sheet: Sheet, laid: Page, heats: Sequence[Heat], words: Words) -> None:
    """The maps side by side on the network's own picture, and what is to be said of them."""
    top = _head(sheet, laid, words) + _SMALL_LINE_MM
    width = laid.right_mm - laid.left_mm
    lines = [line for text in (MEANING, *words.facts) for line in wrapped(text, _SMALL_MM, width)]
    foot = laid.bottom_mm + _LINE_MM - _SMALL_LINE_MM * len(lines)
    rows = (len(heats) + 1) // 2
    scale = min(((foot - top) / rows - _GAP_MM) / HEIGHT_MM, (width - _GAP_MM) / 2 / WIDTH_MM)
    with sheet.stamp(_TRACES):
        sheet.pen(2 * _STYLE.stroke_mm)
        for trace in _on_panel(laid):
            sheet.trace(trace, _STYLE.speed_mm_per_s)
    for number, heat in enumerate(heats):
        row, column = divmod(number, 2)
        x = laid.left_mm + column * (width + _GAP_MM) / 2
        y = top + row * (HEIGHT_MM * scale + _GAP_MM)
        _write(sheet, x, y + _SMALL_MM, heat.words, size_mm=_SMALL_MM)
        with sheet.scaled(x, y + 1.5 * _SMALL_MM, scale):
            _small(sheet, heat)
    for number, line in enumerate(lines, start=1):
        _write(sheet, laid.left_mm, foot + number * _SMALL_LINE_MM, line, size_mm=_SMALL_MM)


def _small(sheet: Sheet, heat: Heat) -> None:
    """One map on the panel."""
    sheet.pen(0.3)
    sheet.frame(WIDTH_MM, HEIGHT_MM)
    sheet.tint(0, 0, WIDTH_MM, HEIGHT_MM, fine(heat.strength, _TINT_PX_PER_MM))
    sheet.put(_TRACES)


def _on_panel(laid: Page) -> list[Trace]:
    """Give the leads where the network's picture has them."""
    left = min(trace.x_mm for trace in laid.leads)
    baselines = sorted({trace.baseline_mm for trace in laid.leads})
    return [
        replace(
            trace,
            x_mm=trace.x_mm - left,
            baseline_mm=(baselines.index(trace.baseline_mm) + 0.5) * ROW_MM,
        )
        for trace in laid.leads
    ]


def _head(sheet: Sheet, laid: Page, words: Words, *more: str) -> float:
    """Write marking, patient and verdict; give the last baseline in mm."""
    lines: list[tuple[str, str, Colour]] = [
        (words.marking, BOLD, _RED),
        (words.who, PLAIN, INK),
        (words.verdict, BOLD, INK),
        *((line, PLAIN, INK) for line in more),
    ]
    for number, (line, font, colour) in enumerate(lines):
        y = laid.top_mm - _LINE_MM * (len(_ROOM) - number)
        text = Text(laid.left_mm, y, _TEXT_MM, line)
        sheet.write(text, font, colour, laid.right_mm - laid.left_mm)
    return y


def _write(sheet: Sheet, x_mm: float, y_mm: float, words: str, *, size_mm: float) -> None:
    sheet.write(Text(x_mm, y_mm, size_mm, words))
