"""The one look, measured in millimetres, and the cut that feeds it."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import Unscorable
from inference.forms import LEADS, Tracings, Waveform
from inference.render import panel
from inference.simulate import simulate
from inference.tracings import RATE_HZ, cut, resample

NAN = np.full((12, 625), np.nan, np.float32)


def strip(rhythm: np.ndarray) -> Tracings:
    return Tracings(NAN, rhythm.astype(np.float32), 250.0)


def ink(tracings: Tracings, **options) -> np.ndarray:
    return 1 - panel(tracings, **options).astype(float) / 255


def test_size_and_paper():
    """No trace, no ink: 125 mm x 250 mm of white."""
    blank = panel(strip(np.full(2500, np.nan)))
    assert blank.shape == (500, 1000)
    assert blank.dtype == np.uint8
    assert (blank == 255).all()
    assert panel(strip(np.full(2500, np.nan)), px_per_mm=6).shape == (750, 1500)


@pytest.mark.parametrize("stroke_mm", [0.2, 0.35, 0.5, 0.8])
@pytest.mark.parametrize("px_per_mm", [2, 4, 8])
def test_stroke_width(stroke_mm, px_per_mm):
    """A flat line is as thick as the pen, wherever it falls between pixels."""
    drawn = ink(strip(np.zeros(2500)), stroke_mm=stroke_mm, px_per_mm=px_per_mm)
    width_mm = drawn[:, 400].sum() / px_per_mm
    assert width_mm == pytest.approx(stroke_mm, abs=0.01)
    slope = ink(strip(np.arange(2500) / 100), stroke_mm=stroke_mm, px_per_mm=px_per_mm)
    middle = round(31.25 * 3.5 * px_per_mm)
    across_mm = slope[middle].sum() / px_per_mm / 2**0.5
    assert across_mm == pytest.approx(stroke_mm, abs=0.06)


def test_time_and_voltage_are_to_scale():
    """A step of 1 mV at 4 s is 10 mm high and stands at 100 mm."""
    step = np.zeros(2500)
    step[1000:1500] = 1.0
    drawn = ink(strip(step))
    rows = np.arange(500) + 0.5

    def height_mm(column: int) -> float:
        return (drawn[:, column] * rows).sum() / drawn[:, column].sum() / 4

    assert height_mm(200) - height_mm(500) == pytest.approx(10, abs=0.02)
    assert height_mm(200) == pytest.approx(31.25 * 3.5, abs=0.02)
    edge = drawn[round(31.25 * 3.5 * 4) - 20]
    assert np.nonzero(edge)[0].min() / 4 == pytest.approx(99.7, abs=0.4)


def test_gain():
    """The gain stretches voltages alone."""
    wave = 0.4 * np.sin(np.arange(2500) / 40)
    tall, small = ink(strip(wave), gain=1.5), ink(strip(wave * 1.5))
    assert np.abs(tall - small).max() < 0.02


def test_every_lead_has_its_place():
    """Each lead alone inks its own cell of the 3 x 4 page only."""
    for number in range(12):
        leads = NAN.copy()
        leads[number] = 0.3 * np.sin(np.arange(625) / 20)
        rows, columns = np.nonzero(ink(Tracings(leads, np.full(2500, np.nan, np.float32), 250.0)))
        row, column = number % 3, number // 3
        assert columns.min() == 250 * column
        assert columns.max() == 250 * column + 249
        assert rows.mean() == pytest.approx(125 * (row + 0.5), abs=8)


def test_baseline_does_not_matter():
    """An offset of a whole lead leaves the picture as it is."""
    tracings = cut(simulate("normal", 5))
    shift = np.linspace(-3, 3, 12, dtype=np.float32)[:, None]
    shifted = Tracings(tracings.leads_mv + shift, tracings.rhythm_mv - 2, tracings.rate_hz)
    difference = panel(tracings).astype(int) - panel(shifted)
    assert np.abs(difference).max() <= 2


def test_pen_up_and_clipping():
    """NaN leaves paper bare; what is too tall is clipped at the panel, not wrapped."""
    gap = np.zeros(2500)
    gap[1000:1200] = np.nan
    drawn = ink(strip(gap))
    assert drawn[:, 402:478].sum() == 0
    assert drawn[:, :395].sum() > 700
    tall = np.zeros(2500)
    tall[100:110] = 500
    drawn = ink(strip(tall))
    assert drawn[0, 35:45].max() == 1
    assert drawn[-1].sum() == 0


def test_crossings_are_no_darker_than_ink():
    """Where traces overlap there is full ink, no overflow."""
    leads = np.zeros((12, 625), np.float32)
    leads[:, 300:320] = np.linspace(-9, 9, 20)
    drawn = panel(Tracings(leads, np.zeros(2500, np.float32), 250.0))
    assert drawn.min() == 0
    assert 0.9 < (drawn < 128).sum() / (drawn < 192).sum() <= 1


@pytest.mark.parametrize("rate_hz", [250, 500, 1000, 360, 240])
def test_the_look_does_not_depend_on_the_rate(rate_hz):
    """The same signal sampled at any rate gives the same picture within a hair."""
    fine = np.arange(round(10.2 * rate_hz)) / rate_hz
    waves = [
        np.sin(2 * np.pi * (1 + n) * fine) * 0.4 + 0.3 * np.sin(2 * np.pi * 17 * fine)
        for n in range(12)
    ]
    reference_t = np.arange(2550) / 250
    reference = [
        np.sin(2 * np.pi * (1 + n) * reference_t) * 0.4 + 0.3 * np.sin(2 * np.pi * 17 * reference_t)
        for n in range(12)
    ]
    one = cut(Waveform(np.array(waves, np.float32), rate_hz))
    two = cut(Waveform(np.array(reference, np.float32), 250))
    assert np.abs(one.leads_mv - two.leads_mv)[:, 8:].max() < 0.01


def test_cut_shows_the_right_seconds():
    """Each column shows its own 2.5 s; the strip shows lead II over ten."""
    times = np.arange(5100) / 500
    samples = np.stack([times * 0.1 + 0.01 * lead for lead in range(12)]).astype(np.float32)
    shown = cut(Waveform(samples, 500.0))
    assert shown.rate_hz == RATE_HZ
    for number in range(12):
        start = number // 3 * 2.5
        expected = 0.1 * (start + np.arange(625) / 250) + 0.01 * number
        np.testing.assert_allclose(shown.leads_mv[number][8:], expected[8:], atol=2e-3)
    np.testing.assert_allclose(
        shown.rhythm_mv[8:2490], 0.1 * np.arange(8, 2490) / 250 + 0.01, atol=2e-3
    )
    later = cut(Waveform(samples, 500.0), start_s=0.1)
    np.testing.assert_allclose(later.leads_mv[0][8:], shown.leads_mv[0][8:] + 0.01, atol=2e-3)


def test_gaps_stay_gaps():
    """A hole in the recording stays a hole of the same length."""
    samples = np.ones((1, 5000), np.float32)
    samples[0, 1000:1100] = np.nan
    for rate_hz in (250.0, 500.0):
        out = resample(samples, rate_hz, 0, 2600)[0]
        ratio = rate_hz / 250
        assert np.isnan(out[round(1000 / ratio) : round(1100 / ratio)]).all()
        assert np.nanmax(np.abs(out - 1)) < 0.3
    assert np.isnan(resample(samples[:, :400], 500.0, 0, 250)[0, 200:]).all()


def refusal(samples: np.ndarray, rate_hz: float = 500.0) -> Unscorable:
    with pytest.raises(Unscorable) as caught:
        cut(Waveform(samples.astype(np.float32), rate_hz))
    return caught.value


def test_what_no_page_should_show():
    """Too short, missing, flat or impossible leads are refused by name."""
    whole = simulate("normal", 1).samples_mv
    assert refusal(whole[:, :4000]).reason == "too-short"
    assert refusal(whole[:, :0]).reason == "too-short"
    missing, flat, wild = whole.copy(), whole.copy(), whole.copy()
    missing[8] = np.nan
    flat[3] = 0.4
    wild[5] *= 100
    for samples, reason, lead in (
        (missing, "too-few-leads", "V3"), (flat, "flat-line", "aVR"), (wild, "saturated", "aVF"),
    ):  # fmt: skip
        error = refusal(samples)
        assert error.reason == reason
        assert lead in error.detail
    assert refusal(np.zeros((12, 5000))).reason == "flat-line"
    assert all(name in refusal(np.zeros((12, 5000))).detail for name in LEADS)
