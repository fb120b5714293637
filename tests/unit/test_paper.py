"""Finding the ECG in a page: grid, skew, rows, pulses, and refusals with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from support.paper import GRIDS, Style, draw, heart

from inference.errors import Unscorable
from inference.forms import Picture
from inference.paper import find_panel
from inference.paper.runs import find_runs


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_grid_of_any_colour_gives_the_resolution(grid):
    """The pitch is measured within half a percent, along and across."""
    panel = find_panel(Picture(draw(heart(1), Style(grid=grid, px_per_mm=4.3))))
    scale = panel.page.shape[1] / draw(heart(1), Style(grid=grid, px_per_mm=4.3)).shape[1]
    assert panel.grid.x_px_per_mm == pytest.approx(4.3 * scale, rel=0.005)
    assert panel.grid.y_px_per_mm == pytest.approx(4.3 * scale, rel=0.005)


@pytest.mark.parametrize("skew", [-3.0, -0.8, 1.5])
def test_a_skewed_page_is_levelled(skew):
    """After levelling less than 0.1 degree is left: 0.4 mm over the page."""
    panel = find_panel(Picture(draw(heart(2), Style(skew_deg=skew))))
    assert abs(panel.grid.skew_deg) < 0.1


def test_rows_pulses_and_separators_are_found():
    """Four rows about 32 mm apart, a pulse of 10 mm in each, three separators."""
    panel = find_panel(Picture(draw(heart(3), Style(separators=True))))
    apart = np.diff(panel.baselines) / panel.grid.y_px_per_mm
    assert apart == pytest.approx([32.0] * 3, abs=3.0)
    assert len(panel.pulses) == 4
    assert [pulse.height_mm for pulse in panel.pulses] == pytest.approx([10.0] * 4, abs=0.3)
    assert len(panel.separators) == 3


def test_a_stated_scale_replaces_a_missing_grid():
    """A PDF states its scale; a page without a grid and without a scale is refused."""
    page = draw(heart(4), Style(px_per_mm=5))
    white = np.where(page.max(axis=2, keepdims=True) > 140, 255, page).astype(np.uint8)
    assert find_panel(Picture(white, mm_per_px=0.2)).grid.x_px_per_mm == pytest.approx(5.0)
    with pytest.raises(Unscorable) as refusal:
        find_panel(Picture(white))
    assert refusal.value.reason == "no-grid"


def _text_page() -> np.ndarray:
    rng = np.random.default_rng(0)
    page = np.full((800, 1100, 3), 255, np.uint8)
    for y in range(60, 760, 24):
        for x in range(60, 1040, 12):
            page[y : y + 12, x : x + rng.integers(1, 9)] = 0
    return page


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((800, 1100, 3), 255, np.uint8), "blank"),
        (np.full((800, 1100), 250, np.uint8), "blank"),
        (np.full((100, 120, 3), 255, np.uint8), "low-resolution"),
        (draw(heart(0), Style(px_per_mm=1.6)), "low-resolution"),
    ],
    ids=["white", "grey", "tiny", "coarse"],
)
def test_unusable_pages_are_refused_with_their_reason(pixels, reason):
    """The reason code says what is wrong with the picture."""
    with pytest.raises(Unscorable) as refusal:
        find_panel(Picture(pixels))
    assert refusal.value.reason == reason


def test_text_and_noise_are_no_ecg():
    """A page of text and a photograph are refused, whatever the reason."""
    rng = np.random.default_rng(0)
    for pixels in (_text_page(), rng.integers(0, 256, (700, 900, 3)).astype(np.uint8)):
        with pytest.raises(Unscorable):
            find_panel(Picture(pixels))


def test_runs_have_sub_pixel_edges():
    """A stroke of 2.5 px between grey edges is measured as 2.5 px."""
    darkness = np.zeros((20, 3), np.uint8)
    darkness[8:10] = 200
    darkness[10] = 100
    darkness[7] = 50
    runs = find_runs((darkness >= 100).astype(np.uint8), darkness, 100.0)
    assert runs.first.tolist() == [8, 8, 8]
    assert runs.last.tolist() == [10, 10, 10]
    assert runs.bottom == pytest.approx([10.0] * 3)
    assert runs.top == pytest.approx([8 - 2 / 3] * 3)
    assert runs.start.tolist() == [0, 1, 2, 3]
