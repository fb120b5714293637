"""Follow the traces of a panel and bring them into the form that every source ends in.

panel ── follow each row ──> curves ── layout, verified by Einthoven's law ──> Tracings
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from inference.errors import Unscorable
from inference.forms import F32, LEADS, Read, Tracings
from inference.paper import Panel, turned
from inference.paper.digitise import Curve, digitise, sample
from inference.paper.einthoven import LABEL_MM, Fit, fit
from inference.paper.layout import Layout, candidates
from inference.paper.path import follow_row, untangle

RATE_HZ = 250.0
WINDOW_S = 2.5
PAGE_S = 10.0

_GAINS = (0.5, 1.0, 2.0)  # over 10 mm/mV
_REACH_MM = 32.0  # how far a trace goes from its baseline: 3.2 mV
_LONGEST_MM, _SHORTEST_MM = 255.0, 245.0  # ten seconds at 25 mm/s, with what carts leave out
_TOGETHER_MM = 0.6  # rows begin and end this near to one another
_PULSE_MM = 7.5  # wider: 0.2 s at 50 mm/s
_COLUMN_STARTS = (0.0, 0.25, 0.5, 0.75)
_BEHIND_MM = (2.0, 4.0)
_NEAR_MM = 15.0  # of a baseline: wide pieces of ink are traces there ...
_LEFT_OUT = 0.075  # ... of whose ink no more than this is left out; 0.06 is on real prints
_SHOWN = 0.8  # share of its window that each lead must show
_EINTHOVEN = 0.30  # largest share of the signal that may break the law ...
_SEPARATED = 0.40  # ... where lead separators confirm the columns ...
_CLEAR = 0.2  # ... where nothing else speaks for the layout or the orientation
_UNUSUAL = 1.4  # how much worse the usual 3x4 may fit than another layout
_SAME_LEAD = 0.4  # largest difference of a strip from the lead that it repeats


@dataclass(frozen=True, slots=True)
class Placed:
    """A page whose leads are placed.

    Attributes:
        layout: what the page shows.
        curves: one per row, from top to bottom.
        begin_mm: where the first column begins.
        width_mm: width of all columns together.
        gain: mm per mV divided by 10.
        misfit: root mean square of what breaks Einthoven's law over that of the leads, 0 to 1.
    """

    layout: Layout
    curves: tuple[Curve, ...]
    begin_mm: float
    width_mm: float
    gain: float
    misfit: float


def follow(panel: Panel) -> Tracings:
    """Digitise the traces of a panel.

    Returns:
        Tracings at 250 Hz, each lead's median at 0 mV, NaN where a trace could not be followed,
        with how they were read.

    Raises:
        Unscorable: `too-few-leads`, `wrong-speed`, `mixed-gain`, `not-an-ecg` or `flat-line`.
    """
    placed = place(panel)
    layout, scale = placed.layout, float(panel.grid.x_px_per_mm)
    strips = f"+{layout.strips}" if layout.strips else ""
    read = Read(
        layout.name + strips,
        round(scale, 2),
        round(float(placed.misfit), 3),
        10 * placed.gain,
        len(panel.pulses),
    )
    return replace(tracings(placed), read=read)


def place(panel: Panel) -> Placed:
    """Follow the rows and recognise the layout; raises as `follow`.

    A page that contradicts Einthoven's law is tried in the other three orientations, unless a
    calibration pulse shows that it is upright.
    """
    try:
        return _placed(panel)
    except Unscorable as upright:
        if panel.pulses:
            raise
        for quarters in (2, 1, 3):
            with suppress(Unscorable):
                placed = _placed(turned(panel, quarters))
                if placed.misfit <= _CLEAR:
                    return placed
        raise upright from None


def _placed(panel: Panel) -> Placed:
    chosen = _chosen(panel)
    begin, width = _extent(panel, chosen)
    starts = [begin + at * width for at in _COLUMN_STARTS]
    if _missed(panel, chosen, starts[1:]):
        chosen = _chosen(panel, starts[1:])
    _check_followed(panel, chosen, begin, width)
    labels = [(start - 1.0, start + LABEL_MM) for start in starts]
    curves = tuple(digitise(panel.runs, runs, panel.stroke, panel.grid, labels) for runs in chosen)
    fits = [(layout, fit(layout, curves, begin, width)) for layout in candidates(len(curves))]
    if not fits:
        raise Unscorable("not-an-ecg", f"the rows of traces ({len(curves)}) fit no layout")
    # the worst part tells layouts apart that are alike over most of the page
    layout, best = min(fits, key=lambda each: _cost(*each))
    bound = _CLEAR if layout.name != "3x4" else _EINTHOVEN
    if _separated(panel, layout, begin, width):
        bound = _SEPARATED
    if not best.misfit <= bound:
        raise Unscorable(
            "not-an-ecg",
            f"the limb leads contradict Einthoven's law by {best.misfit:.0%} in every layout",
        )
    return Placed(layout, curves, begin, width, _gain(panel), best.misfit)


def _cost(layout: Layout, judged: Fit) -> float:
    """The usual layout is believed unless another fits clearly better."""
    usual = layout.name == "3x4" and not layout.strips_first
    return (judged.misfit + judged.worst) * (1.0 if usual else _UNUSUAL)


def _separated(panel: Panel, layout: Layout, begin: float, width: float) -> bool:
    """Whether lead separators stand where a 3x4 page with its strips below has them."""
    if layout.name != "3x4" or layout.strips_first or len(panel.separators) != 3:
        return False
    wanted = [begin + width * at for at in _COLUMN_STARTS[1:]]
    found = [column / panel.grid.x_px_per_mm for column in panel.separators]
    return all(abs(a - b) <= 1.5 for a, b in zip(wanted, found, strict=True))


def _chosen(panel: Panel, breaks_mm: Sequence[float] = ()) -> list[list[int]]:
    """The runs of each row's trace; a row that was found twice counts once."""
    sure = panel.sure.tolist()
    seen: set[int] = set()
    reach = _REACH_MM * max(1.0, _gain(panel))
    out = []
    for baseline in panel.baselines:
        chosen = follow_row(panel.runs, sure, baseline, panel.grid, reach, breaks_mm)
        if len(seen.intersection(chosen)) > 0.4 * len(chosen):
            continue
        seen.update(chosen)
        out.append(chosen)
    return untangle(panel.runs, out)


def _missed(panel: Panel, chosen: list[list[int]], starts_mm: list[float]) -> bool:
    """Whether a row shows nothing behind the start of a lead, which may begin at any height."""
    scale, (near, far) = panel.grid.x_px_per_mm, _BEHIND_MM
    for runs in chosen:
        cols = panel.runs.col[runs] / scale
        if any(not ((cols > at + near) & (cols < at + far)).any() for at in starts_mm):
            return True
    return False


def _check_followed(panel: Panel, chosen: list[list[int]], begin: float, width: float) -> None:
    """Refuse a page of whose traces too much was left out: faint, broken or not understood."""
    x = panel.runs.col / panel.grid.x_px_per_mm
    away = np.abs(panel.runs.centre[:, None] - np.asarray(panel.baselines)).min(axis=1)
    trace = panel.sure & (away < _NEAR_MM * panel.grid.y_px_per_mm)
    trace &= (x > begin) & (x < begin + width)
    ink = float(panel.runs.height[trace].sum())
    for runs in chosen:
        trace[runs] = False
    left_out = float(panel.runs.height[trace].sum())
    if left_out > _LEFT_OUT * ink:
        raise Unscorable(
            "too-few-leads", f"{left_out / ink:.0%} of the traces' ink could not be followed"
        )


def _extent(panel: Panel, chosen: list[list[int]]) -> tuple[float, float]:
    """Where the ten seconds begin and how wide they are, in mm."""
    if not chosen:
        raise Unscorable("too-few-leads", "no rows of traces were found")
    scale, pen = panel.grid.x_px_per_mm, panel.stroke / 2  # ink begins half a stroke early
    begin = -_outer([-_tip(panel, runs[0], -1) / scale for runs in chosen]) + pen / scale
    end = _outer([_tip(panel, runs[-1], 1) / scale for runs in chosen]) - pen / scale
    half = begin + (end - begin) / 2
    for pulse in panel.pulses:
        left, right = pulse.left / scale, pulse.right / scale
        if left < half and begin < right:  # the trace hangs on the pulse
            begin = max(right, end - 25.0 * PAGE_S)
        elif left > half and end > left:
            end = min(left, begin + 25.0 * PAGE_S)
    width = end - begin
    if panel.pulses and np.median([pulse.width_mm for pulse in panel.pulses]) > _PULSE_MM:
        raise Unscorable("wrong-speed", "the calibration pulse is 0.2 s wide at 50 mm/s")
    if not _SHORTEST_MM <= width <= _LONGEST_MM:
        raise Unscorable(
            "wrong-speed",
            f"the traces are {width:.0f} mm wide, 10 s at 25 mm/s are 250: other speed or cropped",
        )
    return begin, width


def _outer(ends_mm: list[float]) -> float:
    """Where the rows end together: a label or a steep wave can make one seem to end before."""
    ends = np.array(ends_mm)
    near = ends[np.abs(ends - np.median(ends)) <= _TOGETHER_MM]
    if not near.size:  # two here and two there
        return float(np.median(ends))
    return float(np.median(near[near >= near.max() - _TOGETHER_MM / 2]))


def _tip(panel: Panel, run: int, step: int) -> float:
    """Where the ink of a trace's first (`step` -1) or last (1) run ends sideways, sub-pixel px."""
    col, row = int(panel.runs.col[run]), round(panel.runs.centre[run])
    beside = min(max(col + step, 0), panel.page.shape[1] - 1)
    dark, light = (float(panel.ink.darkness[row, at]) for at in (col, beside))
    level = panel.ink.level
    share = (dark - level) / (dark - light) if light < level <= dark else 0.5
    return col + step * share


def _gain(panel: Panel) -> float:
    """Gain over 10 mm/mV, from the pulses; 1 where the page shows none.

    Raises:
        Unscorable: `mixed-gain`, of a page whose rows or columns have pulses of different heights.
    """
    shown = {
        min(_GAINS, key=lambda gain: abs(pulse.height_mm / 10 - gain)) for pulse in panel.pulses
    }
    if len(shown) > 1:
        told = " and ".join(f"{10 * gain:g}" for gain in sorted(shown))
        raise Unscorable("mixed-gain", f"calibration pulses of {told} mm/mV on one page")
    return shown.pop() if shown else 1.0


def tracings(placed: Placed) -> Tracings:
    """Cut the placed leads into what the one look shows."""
    layout = placed.layout
    count = round(WINDOW_S * RATE_HZ)
    leads = np.full((12, count), np.nan, np.float32)
    for column, names in enumerate(layout.columns):
        for row, name in enumerate(names):
            lead = LEADS.index(name.lstrip("-"))
            sign = 1.0 if name.startswith("-") else -1.0
            curve = placed.curves[layout.row_of(row)]
            start_s = _start_s(layout, column, lead)
            leads[lead] = sign * _seconds(placed, curve, start_s, count)
    missing = np.isnan(leads).mean(axis=1) > 1 - _SHOWN
    if missing.any():
        which = ", ".join(LEADS[i] for i in np.flatnonzero(missing))
        raise Unscorable("too-few-leads", f"could not be followed: {which}")
    return Tracings(leads, _rhythm(placed, leads, count), RATE_HZ)


def _start_s(layout: Layout, column: int, lead: int) -> float:
    """Where on the page the 2.5 s begin that the one look shows of a lead."""
    shown_s = PAGE_S / len(layout.columns)
    wanted_s = WINDOW_S * (lead // 3)
    return min(max(wanted_s, shown_s * column), shown_s * (column + 1) - WINDOW_S)


def _seconds(placed: Placed, curve: Curve, start_s: float, count: int) -> F32:
    """(count,) mV, downwards positive, from `start_s` of the page on, median at 0."""
    mm_per_s = placed.width_mm / PAGE_S
    begin = placed.begin_mm + start_s * mm_per_s
    y = sample(curve, begin, mm_per_s / RATE_HZ, count) / (10.0 * placed.gain)
    return np.asarray(y - np.nanmedian(y), np.float32)


def _rhythm(placed: Placed, leads: F32, count: int) -> F32:
    """(4 * count,) mV of lead II: a strip that repeats lead II, or the long row of a 12x1."""
    layout = placed.layout
    if len(layout.columns) == 1:
        row = layout.row_of(layout.columns[0].index("II"))
        return -_seconds(placed, placed.curves[row], 0.0, 4 * count)
    column = next(c for c, names in enumerate(layout.columns) if "II" in names)
    rivals = [LEADS.index(name) for name in layout.columns[column] if name in LEADS]
    first = round(_start_s(layout, column, LEADS.index("II")) * RATE_HZ)
    for row in layout.strip_rows():
        strip = -_seconds(placed, placed.curves[row], 0.0, 4 * count)
        there = strip[first : first + count]
        likeness = {lead: _unlike(there, leads[lead]) for lead in rivals}
        best = min(likeness, key=lambda lead: likeness[lead])
        if best == LEADS.index("II") and likeness[best] < _SAME_LEAD:
            return strip
    return np.full(4 * count, np.nan, np.float32)


def _unlike(strip: F32, lead: F32) -> float:
    """Root mean square of the difference over that of both, about 0 for the same lead."""
    both = ~np.isnan(strip) & ~np.isnan(lead)
    if both.mean() < _SHOWN:
        return 1.0
    one, other = strip[both] - strip[both].mean(), lead[both] - lead[both].mean()
    power = float((one**2).mean() + (other**2).mean())
    return float(np.sqrt(((one - other) ** 2).mean() / power)) if power else 1.0
