"""Following traces: amplitude and timing survive paper, and wrong pages are refused."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.paper import Style, distances_mm, draw, heart, photographed

from inference.errors import Unscorable
from inference.forms import LEADS, Picture, Tracings
from inference.paper import find_panel
from inference.trace import follow, place, tracings

STYLES = {
    "plain": Style(),
    "no pulse, no labels": Style(pulse="", labels=False),
    "coarse jpeg": Style(px_per_mm=3.0, jpeg=85),
    "fine jpeg": Style(px_per_mm=8.0, jpeg=60),
    "thick pen": Style(px_per_mm=4.0, stroke_mm=0.5),
    "skewed": Style(skew_deg=1.7, jpeg=80),
    "grey grid": Style(grid="grey"),
    "separators": Style(separators=True),
    "dotted separators": Style(separators=True, dotted=True),
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
    found = _follow(draw(known, STYLES[name]))
    off = np.concatenate(
        [_off_mm(found.leads_mv[i], known[i, i // 3 * 625 : (i // 3 + 1) * 625]) for i in range(12)]
    )
    assert np.isnan(off).mean() < 0.02
    assert np.nanpercentile(off, 95) <= 0.5
    rhythm = _off_mm(found.rhythm_mv, known[LEADS.index("II")])
    assert np.nanpercentile(rhythm, 95) <= 0.5


@pytest.mark.parametrize("layout", ["3x4-cabrera", "4x3"])
def test_leads_shown_at_other_times_are_still_themselves(layout):
    """Where a column shows a lead at another time, that time is what the tracings hold."""
    known = heart(20)
    found = _follow(draw(known, Style(layout=layout)))
    shown_s = 2.5 if layout == "3x4-cabrera" else 10 / 3
    order = ("aVL", "I", "aVR", "II", "aVF", "III") if "cabrera" in layout else LEADS[:6]
    rows = 3 if layout == "3x4-cabrera" else 4
    for place_, lead in enumerate(order):
        i, column = LEADS.index(lead), place_ // rows
        begin = min(max(2.5 * (i // 3), shown_s * column), shown_s * (column + 1) - 2.5)
        first = round(begin * 250)
        off = _off_mm(found.leads_mv[i], known[i, first : first + 625])
        assert np.nanpercentile(off, 95) <= 0.5, lead


def test_peaks_keep_their_height():
    """Steep R waves lose less than half a millimetre."""
    known = heart(7)
    found = _follow(draw(known, Style(px_per_mm=4.0)))
    for i in (0, 1, 9, 10, 11):
        part = known[i, i // 3 * 625 : (i // 3 + 1) * 625]
        expected = part.max() - np.median(part)
        assert np.nanmax(found.leads_mv[i]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("moved", [(1, 0), (0, 1), (1, 1)])
def test_the_place_of_the_page_under_the_scanner_does_not_matter(moved):
    """Moved by half a pixel, 0.125 mm, the traces move with the page, to a fifth of a pixel."""
    fine = draw(heart(7), Style(px_per_mm=8))
    pages = [np.roll(fine, by, (0, 1)) for by in ((0, 0), moved)]
    one, other = (place(find_panel(Picture(_halved(page)))) for page in pages)
    assert other.begin_mm - one.begin_mm == pytest.approx(moved[1] / 8, abs=0.06)
    assert other.width_mm == pytest.approx(one.width_mm, abs=0.06)
    for before, after in zip(tracings(one).leads_mv, tracings(other).leads_mv, strict=True):
        assert np.nanpercentile(distances_mm(after, np.nan_to_num(before)), 95) <= 0.16


def _halved(page: np.ndarray) -> np.ndarray:
    high, wide = page.shape[0] // 2 * 2, page.shape[1] // 2 * 2
    return cv2.resize(page[:high, :wide], (wide // 2, high // 2), interpolation=cv2.INTER_AREA)


def test_tall_qrs_complexes_are_no_separators():
    """R and S waves of 40 mm together, in one column of pixels, are read and not erased."""
    known = heart(27)
    upstroke = np.arange(1, 11, dtype=np.float32) / 5  # mV, 4 ms apart
    beat = np.concatenate([upstroke, -upstroke[::-1]])
    for first in (1350, 1550, 1750):
        known[7, first : first + beat.size] += beat
    found = _follow(draw(known, Style(px_per_mm=4.0, row_mm=40.0)))
    part = known[7, 1250:1875] - np.median(known[7, 1250:1875])
    for first in (100, 300, 500):
        beat = slice(first - 8, first + 28)
        assert np.nanmax(found.leads_mv[7, beat]) == pytest.approx(part[beat].max(), abs=0.2)
        assert np.nanmin(found.leads_mv[7, beat]) == pytest.approx(part[beat].min(), abs=0.2)


@pytest.mark.parametrize("layout", ["6x2", "3x4"])
def test_separators_beside_a_heart_beat_are_no_qrs_complexes(layout):
    """Where all leads beat beside a separator it is erased all the same."""
    page = draw(heart(10), Style(layout=layout, separators=True, px_per_mm=4, row_mm=30))
    placed = place(find_panel(Picture(page)))
    assert placed.layout.name == layout
    assert placed.misfit < 0.15


def test_a_lead_may_begin_far_from_its_baseline():
    """A baseline that wanders 12 mm within a lead is followed from the lead's first millimetre."""
    known = heart(15)
    known[9:12, 1875:2500] += np.float32(1.2) * np.exp(-np.arange(625) / 60, dtype=np.float32)
    found = _follow(draw(known, Style(labels=False)))
    for i in (9, 10, 11):
        off = _off_mm(found.leads_mv[i], known[i, 1875:2500])
        assert np.isnan(off[:100]).mean() < 0.02
        assert np.nanpercentile(off, 95) <= 0.5


@pytest.mark.parametrize(
    ("tilt", "curl_px"),
    [((0.03, 0.0), 0), ((0.06, 0.03), 0), ((0.1, 0.02), 0), ((0.0, 0.0), 12), ((0.04, 0.02), 8)],
    ids=["tilted", "askew", "steep", "curled", "curled and tilted"],
)
def test_a_photographed_page_is_made_flat(tilt, curl_px):
    """In perspective and gently curled, 95 % of the samples still lie within 0.5 mm."""
    known = heart(30)
    found = _follow(photographed(draw(known, Style(px_per_mm=6)), tilt, curl_px))
    off = np.concatenate(
        [_off_mm(found.leads_mv[i], known[i, i // 3 * 625 : (i // 3 + 1) * 625]) for i in range(12)]
    )
    assert np.isnan(off).mean() < 0.02
    assert np.nanpercentile(off, 95) <= 0.5


def test_rows_that_do_not_begin_together_are_placed_between():
    """Where two rows lack their first 3 mm the page begins halfway, not anywhere."""
    page = draw(heart(30), Style(pulse="", labels=False, px_per_mm=6))
    begin = place(find_panel(Picture(page))).begin_mm
    page[: 92 * 6, : 25 * 6] = 255
    assert place(find_panel(Picture(page))).begin_mm == pytest.approx(begin + 1.5, abs=0.3)


def test_a_creased_page_is_refused():
    """Where a fold breaks the grid the page is not taken for a smooth one."""
    page = draw(heart(30), Style(px_per_mm=6))
    middle = page.shape[1] // 2
    page[:, middle:] = np.roll(page[:, middle:], 18, axis=0)  # 3 mm
    with pytest.raises(Unscorable):
        _follow(page)


def test_scribbles_over_the_traces_are_refused():
    """Where a tenth of the ink around the rows is in no trace, what was followed is in doubt."""
    page = draw(heart(6), Style())
    for x in range(200, 1200, 200):
        for y in range(200, 800, 160):
            cv2.ellipse(page, (x, y), (60, 45), 20, 0, 360, (20, 20, 20), 2)
    with pytest.raises(Unscorable):
        _follow(page)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_is_turned_back(quarters):
    """Sideways and upside-down pages give the same tracings."""
    page = draw(heart(8), Style())
    upright = _follow(page)
    turned = _follow(np.rot90(page, quarters))
    assert np.nanpercentile(np.abs(turned.leads_mv - upright.leads_mv), 95) <= 0.05


def test_a_strip_of_another_lead_is_not_taken_for_lead_ii():
    """Without a strip of lead II the rhythm is NaN, not another lead."""
    found = _follow(draw(heart(9), Style(strips=("V1",))))
    assert np.isnan(found.rhythm_mv).all()
    assert not np.isnan(found.leads_mv).all(axis=1).any()


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
        found = _follow(page)
    except Unscorable:
        return
    off = np.concatenate(
        [_off_mm(found.leads_mv[i], known[i, i // 3 * 625 : (i // 3 + 1) * 625]) for i in range(12)]
    )
    assert np.nanpercentile(off, 95) <= 0.5


def test_the_layout_is_named():
    """What was recognised can be told to people, with how well it fits."""
    placed = place(find_panel(Picture(draw(heart(14), Style(strips=("II", "V1"))))))
    assert (placed.layout.name, placed.layout.strips) == ("3x4", 2)
    assert placed.misfit < 0.3


def test_tracings_say_how_they_were_read():
    """Layout with its strips, resolution and misfit of a page."""
    read = follow(find_panel(Picture(draw(heart(), Style(px_per_mm=6))))).read
    assert read.layout == "3x4+1"
    assert read.px_per_mm == pytest.approx(6, rel=0.1)
    assert 0 <= read.misfit < 0.3
    assert (read.gain_mm_per_mv, read.pulses > 0) == (10, True)


@pytest.mark.parametrize("gain", [5.0, 20.0])
def test_the_gain_is_of_the_pulses_and_assumed_without(gain):
    """Nothing else on a page tells it; the record says which of the two it was."""
    known = heart(15) * (10 / gain)
    told = follow(find_panel(Picture(draw(known, Style(gain=gain))))).read
    assert told.gain_mm_per_mv == gain
    assert told.pulses > 0
    silent = follow(find_panel(Picture(draw(heart(15), Style(pulse=""))))).read
    assert (silent.gain_mm_per_mv, silent.pulses) == (10, 0)


def test_pulses_of_two_heights_are_refused():
    """Limb leads at 10 and chest leads at 5 mm/mV: which row has which is not guessed."""
    panel = find_panel(Picture(draw(heart(16), Style())))
    other = replace(panel.pulses[0], height_mm=5.0)
    with pytest.raises(Unscorable) as refusal:
        place(replace(panel, pulses=(*panel.pulses, other)))
    assert refusal.value.reason == "mixed-gain"


def test_a_page_of_specks_is_unscorable():
    """More pieces of ink than sixteen bits count."""
    rng = np.random.default_rng(4)
    page = draw(heart(17), Style(px_per_mm=5))
    page[rng.random(page.shape[:2]) < 0.08] = 0
    with pytest.raises(Unscorable):
        _follow(page)


def test_twelve_rows_of_usual_height_are_refused():
    """On 12x1 pages QRS complexes reach into the rows beside: no row is told from the next."""
    with pytest.raises(Unscorable) as refusal:
        _follow(draw(heart(18), Style(layout="12x1", strips=())))
    assert refusal.value.reason == "overlapping"


def test_a_thin_line_across_a_trace_is_no_spike():
    """One dark column, 11 mm high, as of a grid that the ink took in: the lead stays as it was."""
    clean = draw(heart(), Style(px_per_mm=6))
    placed = place(find_panel(Picture(clean)))
    curve = placed.curves[1]
    flat = [i for i in range(len(curve.x_mm) - 8) if np.ptp(curve.y_mm[i : i + 8]) < 0.2]
    at = flat[len(flat) // 2] + 4
    crossed = clean.copy()
    col, row = round(curve.x_mm[at] * 6), round(curve.y_mm[at] * 6)
    crossed[row - 33 : row + 33, col] = 40
    one, other = (follow(find_panel(Picture(each))).leads_mv for each in (clean, crossed))
    assert np.nanmax(np.abs(one - other)) < 0.1
