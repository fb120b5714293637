"""Following traces: amplitude and timing survive paper, and wrong pages are refused."""

from __future__ import annotations

import numpy as np
import pytest
from support.paper import Style, distances_mm, draw, heart

from inference.errors import Unscorable
from inference.forms import LEADS, Picture, Tracings
from inference.paper import find_panel
from inference.trace import follow, place

STYLES = {
    "plain": Style(),
    "no pulse, no labels": Style(pulse="", labels=False),
    "coarse jpeg": Style(px_per_mm=3.0, jpeg=85),
    "fine jpeg": Style(px_per_mm=8.0, jpeg=60),
    "thick pen": Style(px_per_mm=4.0, stroke_mm=0.5),
    "skewed": Style(skew_deg=1.7, jpeg=80),
    "grey grid": Style(grid="grey"),
    "separators": Style(separators=True),
    "pulse at the right": Style(pulse="right"),
    "noisy": Style(noise=8),
    "half gain": Style(gain=5),
    "three strips": Style(strips=("V1", "II", "V5")),
    "strip first": Style(strips_first=True),
    "6x2": Style(layout="6x2"),
    "6x2 cabrera": Style(layout="6x2-cabrera"),
}


def _follow(page: np.ndarray) -> Tracings:
    return follow(find_panel(Picture(page)))


def _off_mm(found: np.ndarray, known: np.ndarray) -> np.ndarray:
    return distances_mm(found, known - np.median(known))


@pytest.mark.parametrize("name", sorted(STYLES))
def test_traces_survive_paper(name):
    """95 % of each page's samples lie within 0.5 mm of the known trace, and none is missing."""
    known = heart(sorted(STYLES).index(name))
    tracings = _follow(draw(known, STYLES[name]))
    off = np.concatenate(
        [
            _off_mm(tracings.leads_mv[i], known[i, i // 3 * 625 : (i // 3 + 1) * 625])
            for i in range(12)
        ]
    )
    assert np.isnan(off).mean() < 0.02
    assert np.nanpercentile(off, 95) <= 0.5
    rhythm = _off_mm(tracings.rhythm_mv, known[LEADS.index("II")])
    assert np.nanpercentile(rhythm, 95) <= 0.5


@pytest.mark.parametrize("layout", ["3x4-cabrera", "4x3"])
def test_leads_shown_at_other_times_are_still_themselves(layout):
    """Where a column shows a lead at another time, that time is what the tracings hold."""
    known = heart(20)
    tracings = _follow(draw(known, Style(layout=layout)))
    shown_s = 2.5 if layout == "3x4-cabrera" else 10 / 3
    order = ("aVL", "I", "aVR", "II", "aVF", "III") if "cabrera" in layout else LEADS[:6]
    rows = 3 if layout == "3x4-cabrera" else 4
    for place_, lead in enumerate(order):
        i, column = LEADS.index(lead), place_ // rows
        begin = min(max(2.5 * (i // 3), shown_s * column), shown_s * (column + 1) - 2.5)
        first = round(begin * 250)
        off = _off_mm(tracings.leads_mv[i], known[i, first : first + 625])
        assert np.nanpercentile(off, 95) <= 0.5, lead


def test_peaks_keep_their_height():
    """Steep R waves lose less than half a millimetre."""
    known = heart(7)
    tracings = _follow(draw(known, Style(px_per_mm=4.0)))
    for i in (0, 1, 9, 10, 11):
        part = known[i, i // 3 * 625 : (i // 3 + 1) * 625]
        expected = part.max() - np.median(part)
        assert np.nanmax(tracings.leads_mv[i]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_is_turned_back(quarters):
    """Sideways and upside-down pages give the same tracings."""
    page = draw(heart(8), Style())
    upright = _follow(page)
    turned = _follow(np.rot90(page, quarters))
    assert np.nanpercentile(np.abs(turned.leads_mv - upright.leads_mv), 95) <= 0.05


def test_a_strip_of_another_lead_is_not_taken_for_lead_ii():
    """Without a strip of lead II the rhythm is NaN, not another lead."""
    tracings = _follow(draw(heart(9), Style(strips=("V1",))))
    assert np.isnan(tracings.rhythm_mv).all()
    assert not np.isnan(tracings.leads_mv).all(axis=1).any()


def test_other_speeds_are_refused():
    """At 50 mm/s ten seconds are 500 mm wide: not judged as a slow heart."""
    with pytest.raises(Unscorable) as refusal:
        _follow(draw(heart(10), Style(speed=50)))
    assert refusal.value.reason == "wrong-speed"


def test_swapped_rows_contradict_einthoven():
    """A page whose limb leads are in no known order is refused."""
    known = heart(11)
    swapped = known[[1, 0, 2, 4, 3, 5, 6, 7, 8, 9, 10, 11]]
    with pytest.raises(Unscorable) as refusal:
        _follow(draw(swapped, Style(strips=())))
    assert refusal.value.reason == "not-an-ecg"


def test_a_cropped_page_is_refused():
    """A page that shows less than ten seconds is not stretched to ten."""
    page = draw(heart(12), Style(pulse=""))
    with pytest.raises(Unscorable):
        _follow(np.ascontiguousarray(page[:, : round(page.shape[1] * 0.8)]))


def test_overlapping_rows_are_refused_or_right():
    """Rows that run into one another are never scored with another row's peaks."""
    known = heart(13) * 2.5
    page = draw(known, Style(layout="12x1", strips=()))
    try:
        tracings = _follow(page)
    except Unscorable:
        return
    off = np.concatenate(
        [
            _off_mm(tracings.leads_mv[i], known[i, i // 3 * 625 : (i // 3 + 1) * 625])
            for i in range(12)
        ]
    )
    assert np.nanpercentile(off, 95) <= 0.5


def test_the_layout_is_named():
    """What was recognised can be told to people, with how well it fits."""
    placed = place(find_panel(Picture(draw(heart(14), Style(strips=("II", "V1"))))))
    assert (placed.layout.name, placed.layout.strips) == ("3x4", 2)
    assert placed.misfit < 0.3
