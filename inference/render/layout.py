"""A page for people, in millimetres: which lead is where, its label, its calibration pulse.

The same `Page` is drawn as pixels and as a PDF, so both show the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from inference.forms import F32, LEADS, Tracings, Waveform
from inference.tracings import RATE_HZ, resample

Layout = Literal["3x4", "6x2", "12x1", "4x3"]
"""Rows x columns."""
Grid = Literal["pink", "none"]

CABRERA = ("aVL", "I", "-aVR", "II", "aVF", "III", "V1", "V2", "V3", "V4", "V5", "V6")
"""The limb leads in the order of their axes (Cabrera 1944; AHA/ACC/HRS 2007)."""

TRACE_MM = 250.0
"""Width of the traces; ten seconds at 25 mm/s."""
_SIZES = {"3x4": (3, 4), "6x2": (6, 2), "12x1": (12, 1), "4x3": (4, 3)}
_GAP_MM = 15.0  # left of the traces, for the calibration pulse
_PULSE_S = 0.2  # 5 mm at 25 mm/s, 10 mm at 50 mm/s, as carts draw it: it tells the speed
_LABEL_MM = 3.2
_TEXT_MM = 3.4
_MARGIN_MM = 10.0
_LINE_MM = 5.0
_MOST_LINES = 4
_RANGES = {
    "speed_mm_per_s": (5, 100),
    "gain_mm_per_mv": (1, 40),
    "stroke_mm": (0.05, 2),
    "px_per_mm": (1, 40),
}  # what carts and their paper know, with room


@dataclass(frozen=True, slots=True)
class Style:
    """How a page looks.

    Attributes:
        layout: rows x columns of the twelve leads.
        rhythm: a strip of lead II below them.
        cabrera: the limb leads in Cabrera's order, with -aVR.
        speed_mm_per_s: paper speed, 5 to 100; carts print 25 or 50.
        gain_mm_per_mv: 1 to 40; 10 is usual, 5 for very high voltages.
        header: up to four lines of text above the traces, as the caller gives them; without any
            the traces have the room.
        stroke_mm: width of the traces, 0.05 to 2.
        grid: `pink` millimetre paper or `none`.
        px_per_mm: resolution of the picture, whole, 1 to 40; not used by the PDF.

    Raises:
        ValueError: another value than these.
    """

    layout: Layout = "3x4"
    rhythm: bool = True
    cabrera: bool = False
    speed_mm_per_s: float = 25.0
    gain_mm_per_mv: float = 10.0
    header: tuple[str, ...] = ()
    stroke_mm: float = 0.35
    grid: Grid = "pink"
    px_per_mm: int = 8

    def __post_init__(self) -> None:
        for name, allowed in (("layout", Layout), ("grid", Grid)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"style: {name} must be one of {get_args(allowed)}")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"style: {name} must lie between {least:g} and {most:g}")
        if self.px_per_mm != int(self.px_per_mm):
            raise ValueError("style: px_per_mm must be a whole number")


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace: where it begins, how wide it may be, its baseline, and its course.

    Attributes:
        x_mm, baseline_mm, width_mm: from the page's top left corner.
        up_mm: (samples,) above the baseline; NaN where the pen is up.
        rate_hz: samples per second of paper.
    """

    x_mm: float
    baseline_mm: float
    width_mm: float
    up_mm: F32
    rate_hz: float


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `baseline_mm` is that of its letters."""

    x_mm: float
    baseline_mm: float
    size_mm: float
    words: str


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on an A4 page in landscape (ISO 216)."""

    traces: tuple[Trace, ...]
    texts: tuple[Text, ...]
    top_mm: float
    width_mm: float = 297.0
    height_mm: float = 210.0
    left_mm: float = 11.0
    right_mm: float = 286.0
    bottom_mm: float = 200.0

    @property
    def leads(self) -> list[Trace]:
        """Give the traces that are no calibration pulse; no layout has more than four columns."""
        return [trace for trace in self.traces if trace.width_mm >= TRACE_MM / 4]


def lay_out(source: Waveform | Tracings, style: Style) -> Page:
    """Place every lead on the page.

    Args:
        source: a waveform, whose columns follow one another in time, or what a 3x4 page shows.
        style: how.

    Raises:
        ValueError: tracings in another layout than 3x4 in the standard order, or at another speed.
    """
    names = CABRERA if style.cabrera else LEADS
    rows, columns = _SIZES[style.layout]
    seconds = TRACE_MM / style.speed_mm_per_s
    page = Page((), (), _MARGIN_MM + _LINE_MM * len(style.header[:_MOST_LINES]))
    pitch = (page.bottom_mm - page.top_mm) / (rows + style.rhythm)
    start = page.left_mm + _GAP_MM
    traces: list[Trace] = []
    texts: list[Text] = []
    for place, name in enumerate(names):
        column, row = divmod(place, rows)
        course = _course(source, name, column * seconds / columns, seconds / columns, style)
        x_mm = start + column * TRACE_MM / columns
        baseline = page.top_mm + (row + 0.5) * pitch
        traces.append(_trace(course, x_mm, baseline, TRACE_MM / columns, style))
        texts.append(_label(name, x_mm, baseline, pitch))
    if style.rhythm:
        baseline = page.top_mm + (rows + 0.5) * pitch
        traces.append(_trace(_rhythm(source, seconds), start, baseline, TRACE_MM, style))
        texts.append(_label("II", start, baseline, pitch))
    pulses = [
        _pulse(start - 2, page.top_mm + (row + 0.5) * pitch, style)
        for row in range(rows + style.rhythm)
    ]
    words = (*_header(page, style), _scale(page, source, style))
    return replace(page, traces=(*pulses, *traces), texts=(*texts, *words))


def _course(
    source: Waveform | Tracings, name: str, start_s: float, seconds: float, style: Style
) -> tuple[F32, float]:
    """What a lead shows in its column: (samples,) mV and their rate."""
    number, sign = LEADS.index(name.lstrip("-")), -1 if name.startswith("-") else 1
    if isinstance(source, Tracings):
        if style.layout != "3x4" or style.cabrera or style.speed_mm_per_s != 25:
            raise ValueError("tracings are what a 3x4 page in the standard order shows at 25 mm/s")
        return source.leads_mv[number] * np.float32(sign), source.rate_hz
    first, count = round(start_s * RATE_HZ), round(seconds * RATE_HZ) + 1
    row = source.samples_mv[number : number + 1] * np.float32(sign)
    return resample(row, source.rate_hz, first, count)[0], RATE_HZ


def _rhythm(source: Waveform | Tracings, seconds: float) -> tuple[F32, float]:
    if isinstance(source, Tracings):
        return source.rhythm_mv, source.rate_hz
    count = round(seconds * RATE_HZ)
    return resample(source.samples_mv[1:2], source.rate_hz, 0, count)[0], RATE_HZ


def _trace(
    course: tuple[F32, float], x_mm: float, baseline_mm: float, width_mm: float, style: Style
) -> Trace:
    """Centre a lead by its median, as the one look does."""
    millivolts, rate_hz = course
    if not np.isnan(millivolts).all():
        millivolts = millivolts - np.nanmedian(millivolts)
    up_mm = (millivolts * style.gain_mm_per_mv).astype(np.float32)
    return Trace(x_mm, baseline_mm, width_mm, up_mm, rate_hz)


def _pulse(end_mm: float, baseline_mm: float, style: Style) -> Trace:
    """1 mV for 0.2 s, with feet of 1.5 mm, ending at `end_mm`."""
    rate_hz = 20.0 * style.speed_mm_per_s  # 20 samples per mm, so the edges are upright
    feet = np.zeros(round(1.5 * 20), np.float32)
    up = np.full(round(_PULSE_S * rate_hz), style.gain_mm_per_mv, np.float32)
    width_mm = _PULSE_S * style.speed_mm_per_s + 3
    course = np.concatenate([feet, up, feet])
    return Trace(end_mm - width_mm, baseline_mm, width_mm, course, rate_hz)


def _label(name: str, x_mm: float, baseline_mm: float, pitch: float) -> Text:
    return Text(x_mm + 1, baseline_mm - min(0.36 * pitch, 12.0), _LABEL_MM, name)


def _header(page: Page, style: Style) -> list[Text]:
    """The caller's lines, above the traces."""
    return [
        Text(page.left_mm, _MARGIN_MM + _LINE_MM * number, _TEXT_MM, line)
        for number, line in enumerate(style.header[:_MOST_LINES])
    ]


def _scale(page: Page, source: Waveform | Tracings, style: Style) -> Text:
    """Speed, gain and what the recorder did to the signal, below the traces as carts print it."""
    words = [f"{style.speed_mm_per_s:g} mm/s", f"{style.gain_mm_per_mv:g} mm/mV"]
    if isinstance(source, Waveform):
        words += [f"{source.rate_hz:g} samples/s", source.facts.get("filter", "")]
    line = "   ".join(word for word in words if word)
    return Text(page.left_mm, page.bottom_mm + 5, _TEXT_MM, line)
