"""The simulator: deterministic, lawful, and each kind has its textbook signs."""

from __future__ import annotations

import numpy as np
import pytest

from inference.forms import LEADS
from inference.render import panel
from inference.simulate import KINDS, simulate
from inference.tracings import cut

I, II, III, AVR, AVL, AVF = range(6)  # noqa: E741 - the leads' names
V1, V2, V3, V4, V5, V6 = range(6, 12)
SEEDS = (1, 2, 3, 4, 5)


def peaks(samples: np.ndarray) -> np.ndarray:
    """Sharpest places of all leads together that are at least 0.3 s apart, at 500 Hz."""
    smooth = np.stack([np.convolve(row, np.hanning(13) / 6, "same") for row in samples])
    steep = np.abs(np.diff(smooth, 2, axis=1)).sum(axis=0)
    steep = np.convolve(steep, np.ones(31) / 31, "same")
    steep[:30] = steep[-30:] = 0
    found = []
    for at in np.argsort(steep)[::-1]:
        if steep[at] < 0.4 * steep.max():
            break
        if all(abs(at - other) > 150 for other in found):
            found.append(at)
    return np.sort(found)


def median_beat(samples: np.ndarray) -> np.ndarray:
    """(12, 400) around the R peak (at 150), baseline at the PR segment."""
    at = [p for p in peaks(samples) if 150 < p < samples.shape[1] - 250]
    beat = np.median([samples[:, p - 150 : p + 250] for p in at], axis=0)
    return beat - np.median(beat[:, 102:112], axis=1, keepdims=True)


def st_mv(kind: str, seed: int) -> np.ndarray:
    """(12,) mV 80 ms after the end of QRS."""
    return median_beat(simulate(kind, seed).samples_mv)[:, 195:205].mean(axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_scorable_ecg(kind):
    """Twelve leads of ten seconds that obey Einthoven and Goldberger and fill a page."""
    waveform = simulate(kind, 7)
    samples = waveform.samples_mv
    assert samples.shape == (12, 5000)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    np.testing.assert_allclose(samples[II], samples[I] + samples[III], atol=1e-5)
    np.testing.assert_allclose(samples[AVR] + samples[AVL] + samples[AVF], 0, atol=1e-5)
    assert 0.5 < np.ptp(samples) < 10
    assert (panel(cut(waveform)) < 128).sum() > 5000


def test_same_seed_same_samples():
    """A seed is a patient: repeated exactly, unlike the next one."""
    one = simulate("normal", 11).samples_mv
    np.testing.assert_array_equal(one, simulate("normal", 11).samples_mv)
    assert np.abs(one - simulate("normal", 12).samples_mv).max() > 0.1
    assert np.abs(one - simulate("lbbb", 11).samples_mv).max() > 0.1


def test_length_and_rate():
    """Seconds and rate are as asked."""
    waveform = simulate("af", 1, seconds=12, rate_hz=1000)
    assert waveform.samples_mv.shape == (12, 12000)
    assert waveform.rate_hz == 1000
    with pytest.raises(ValueError, match="unknown kind"):
        simulate("asystole", 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_territories_of_st_elevation(seed):
    """ST rises over the territory and falls opposite to it."""
    anterior, inferior, lateral = (
        st_mv(f"stemi-{place}", seed) for place in ("anterior", "inferior", "lateral")
    )
    assert (anterior[[V2, V3]] > 0.2).all()
    assert (inferior[[II, III, AVF]] > 0.1).all()
    assert inferior[AVL] < -0.05
    assert (lateral[[I, AVL, V5, V6]] > 0.08).all()
    assert lateral[III] < -0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_ischaemia_and_normal(seed):
    """Ischaemia lowers ST in II and V4 to V6 and raises it in aVR; a normal ST is level."""
    depressed = st_mv("ischaemia", seed)
    assert (depressed[[II, V4, V5, V6]] < -0.08).all()
    assert depressed[AVR] > 0.08
    assert np.abs(st_mv("normal", seed)[:6]).max() < 0.12


@pytest.mark.parametrize("seed", SEEDS)
def test_other_signs(seed):
    """Tall narrow T, wide QRS, irregular RR, pacing pulses: each kind has its own."""
    normal = median_beat(simulate("normal", seed).samples_mv)
    potassium = median_beat(simulate("hyperkalaemia", seed).samples_mv)
    assert potassium[V4, 230:380].max() > 1.5 * normal[V4, 230:380].max()

    def width(kind: str) -> int:
        beat = median_beat(simulate(kind, seed).samples_mv)
        moving = np.abs(np.diff(beat, axis=1)).max(axis=0)[80:240]
        return int((moving > 0.1 * moving.max()).sum())

    assert width("lbbb") > 1.4 * width("normal")
    assert width("rbbb") > 1.3 * width("normal")

    def irregular(kind: str) -> float:
        gaps = np.diff(peaks(simulate(kind, seed, seconds=20).samples_mv))
        return float(gaps.std() / gaps.mean())

    assert irregular("af") > 0.1 > irregular("normal")
    sharp = np.abs(np.diff(simulate("paced", seed).samples_mv[II])).max()
    assert sharp > 1.0 > np.abs(np.diff(simulate("lbbb", seed).samples_mv[II])).max()


def test_names_of_leads_match():
    """The rows are in the order of `LEADS`."""
    assert LEADS[AVF] == "aVF"
    assert LEADS[V6] == "V6"
