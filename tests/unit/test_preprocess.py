"""The paper's four steps: what each does, and that none loses a trace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paper import heart

from inference.errors import BundleError
from inference.forms import Waveform
from inference.preprocess import Recipe, drop_small, opening, preprocess
from inference.render import panel
from inference.tracings import cut


def _panel(seed: int) -> np.ndarray:
    return panel(cut(Waveform(heart(seed), 250.0)))


def test_steps_have_the_stated_shapes_and_types():
    """Four viewable images of the panel's size and a float input of the recipe's size."""
    steps = preprocess(_panel(0), Recipe())
    for image in (steps.binary, steps.denoised, steps.components, steps.opened):
        assert image.shape == (500, 1000)
        assert image.dtype == np.uint8
        assert set(np.unique(image)) <= {0, 255}
    assert steps.input.shape == (128, 256)
    assert steps.input.dtype == np.float32
    assert 0.0 <= steps.input.min() < steps.input.max() <= 1.0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_trace_is_lost(seed):
    """At least 99.5 % of a rendered trace's centre line survives within 1 px."""
    tracings = cut(Waveform(heart(seed), 250.0))
    hair = panel(tracings, stroke_mm=0.05, px_per_mm=4) < 250  # the centre line
    opened = preprocess(panel(tracings), Recipe()).opened
    near = cv2.dilate(opened, np.ones((3, 3), np.uint8)) > 0
    assert (hair & near).sum() >= 0.995 * hair.sum()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_steps_but_the_median_are_idempotent(seed):
    """Binary form, components and opening, each alone and in a row, change nothing twice."""
    once = preprocess(_panel(seed), Recipe())
    again = preprocess(255 - once.opened, Recipe(denoise="none"))
    assert np.array_equal(again.binary, once.opened)
    assert np.array_equal(drop_small(once.components, 64), once.components)
    assert np.array_equal(opening(once.opened, 2), once.opened)
    assert np.array_equal(again.opened, once.opened)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_whole_chain_twice_moves_edges_only(seed):
    """The median is not idempotent: it rounds the corners of strokes of 2 px each time it runs.

    Of 200 panels a second run changed at most 2.5 % of the ink, by at most 1.4 px; on the worst
    99.3 % of the traces' centre lines were left, 99.7 % after one run. So panels go through once.
    """
    tracings = cut(Waveform(heart(seed), 250.0))
    once = preprocess(panel(tracings), Recipe()).opened
    twice = preprocess(255 - once, Recipe()).opened
    assert (once != twice).sum() <= 0.04 * (once > 0).sum()
    for one, other in ((once, twice), (twice, once)):
        assert cv2.distanceTransform(255 - other, cv2.DIST_L2, 5)[one > 0].max() <= 2.0
    hair = panel(tracings, stroke_mm=0.05, px_per_mm=4) < 250  # the centre line
    near = cv2.dilate(twice, np.ones((3, 3), np.uint8)) > 0
    assert (hair & near).sum() >= 0.985 * hair.sum()


def test_text_and_specks_go():
    """Letters of 2.5 mm and specks leave nothing in the paper between the rows."""
    drawn = np.full((500, 1000), 255, np.uint8)
    drawn[300:302, 50:950] = 0
    for n, letter in enumerate("IaVRLF123456mms"):
        cv2.putText(drawn, letter, (60 + 40 * n, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 2)
    rng = np.random.default_rng(0)
    for y, x in rng.integers(150, 280, (200, 2)):
        drawn[y, x] = 0
    steps = preprocess(drawn, Recipe())
    assert steps.binary[:280].any()
    assert not steps.components[:280].any()
    assert steps.opened[300:302, 60:940].all()


def test_components_are_counted_8_connected_and_in_mm2():
    """A diagonal is one piece, and the area limit means the same at twice the resolution."""
    for scale in (1, 2):
        drawn = np.full((200 * scale, 400 * scale), 255, np.uint8)
        side = 8 * scale
        for n in range(4):  # four squares that touch at their corners: 16 mm2 together
            drawn[n * side : (n + 1) * side, n * side : (n + 1) * side] = 0
        drawn[-side:, -side:] = 0  # one alone: 4 mm2
        recipe = Recipe(denoise="none", opening="none", min_component_mm2=4.5)
        kept = preprocess(drawn, recipe, px_per_mm=4.0 * scale).components
        assert (kept > 0).sum() == 4 * side * side


@pytest.mark.parametrize("blank", [1, 5, 9, 40])
def test_components_in_bands_are_those_of_the_whole_image(blank):
    """Blank rows between ink change nothing: the whole image's components give the same."""
    rng = np.random.default_rng(blank)
    binary = np.where(rng.random((400, 300)) > 0.75, 255, 0).astype(np.uint8)
    binary[np.arange(400) % (60 + blank) < blank] = 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] < 20
    assert np.array_equal(drop_small(binary, 20), np.where(small[labels], 0, binary))


@pytest.mark.parametrize("side", [2, 3, 4])
def test_opening_is_the_union_of_the_squares_that_fit(side):
    """No shift for even squares: each result pixel lies in a full square of the input."""
    rng = np.random.default_rng(side)
    drawn = np.where(rng.random((40, 60)) < 0.7, 255, 0).astype(np.uint8)
    expected = np.zeros_like(drawn)
    for y in range(40 - side + 1):
        for x in range(60 - side + 1):
            if drawn[y : y + side, x : x + side].all():
                expected[y : y + side, x : x + side] = 255
    inner = (slice(side, -side), slice(side, -side))
    assert np.array_equal(opening(drawn, side)[inner], expected[inner])


@pytest.mark.parametrize("size", [(500, 1000), (512, 1024), (301, 777), (40, 50)])
def test_the_input_is_the_mean_of_each_area(size):
    """What OpenCV's area resize gives, where sizes divide, where not, and where the input grows."""
    rng = np.random.default_rng(7)
    drawn = rng.integers(0, 256, size).astype(np.uint8)
    recipe = Recipe(binarise="none", denoise="none", min_component_mm2=0, opening="none")
    found = preprocess(drawn, recipe).input
    if min(size) >= 128:
        wanted = cv2.resize(255 - drawn, (256, 128), interpolation=cv2.INTER_AREA)
        assert np.abs(255 * found - wanted).max() <= 1.001
        assert (np.abs(255 * found - wanted) < 0.5).mean() > 0.999
    assert found.mean() == pytest.approx((255 - drawn).mean() / 255, abs=1e-3)


def test_the_work_area_of_one_panel_does_not_show_in_the_next():
    """Large, small and large again, and in two threads at once: the same inputs."""
    large, small = _panel(1), np.ascontiguousarray(_panel(2)[:250, :600])
    wanted = [preprocess(each, Recipe()).input for each in (large, small)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda each: preprocess(each, Recipe()).input, [large, small] * 4))
    for number, each in enumerate(found):
        assert np.array_equal(each, wanted[number % 2])


def test_a_panel_whose_integral_would_overflow_is_refused():
    """Beyond 8.4 million pixels the sums do not fit."""
    with pytest.raises(ValueError, match="million"):
        preprocess(np.zeros((3000, 3000), np.uint8), Recipe())


def test_a_blank_panel_shows_nothing():
    """Otsu is not asked to split the noise of white paper."""
    rng = np.random.default_rng(0)
    blank = rng.integers(245, 256, (500, 1000)).astype(np.uint8)
    for way in ("fixed", "otsu"):
        assert preprocess(blank, Recipe(binarise=way)).input.max() == 0.0


def test_polarity_light_is_the_inverse():
    """A light trace on a dark ground gives the same input."""
    drawn = _panel(3)
    dark = preprocess(drawn, Recipe())
    light = preprocess(255 - drawn, Recipe(polarity="light"))
    assert np.array_equal(dark.input, light.input)


def test_recipe_survives_its_table():
    """A card's table and the recipe are the same thing."""
    recipe = Recipe(binarise="otsu", denoise="none", input_height=224, input_width=224)
    assert Recipe.from_table(recipe.to_table()) == recipe


@pytest.mark.parametrize(
    "table",
    [
        {"sharpen": "on"},
        {"binarise": "sauvola"},
        {"fixed_level": 300},
        {"min_component_mm2": -1.0},
        {"binarise": "none"},
        {"input_height": "tall"},
    ],
)
def test_a_card_with_a_wrong_recipe_is_refused(table):
    """Unknown keys and impossible values are a BundleError, not a surprise later."""
    with pytest.raises(BundleError):
        Recipe.from_table(table)


def test_the_floor_of_an_old_card_may_be_none():
    """Cards up to 0.2.0 name a floor of Otsu's level; only none is still known."""
    table = Recipe(binarise="otsu").to_table()
    assert Recipe.from_table(table | {"least_level": 0}).binarise == "otsu"
    with pytest.raises(BundleError, match="least_level"):
        Recipe.from_table(table | {"least_level": 160})


def test_only_grey_panels():
    """Colour and floats are refused by name."""
    with pytest.raises(ValueError, match="uint8"):
        preprocess(np.zeros((500, 1000, 3), np.uint8), Recipe())
