"""Interchanged electrodes: which are noted on simulated ECGs, and that others are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from inference import electrodes
from inference.forms import Tracings, Waveform
from inference.simulate import KINDS, simulate
from inference.tracings import cut


def mixed(name: str, seed: int = 3) -> Tracings:
    """A simulated normal ECG whose electrodes were interchanged."""
    waveform = simulate("normal", seed)
    matrix = electrodes.interchanges()[name]
    return with_independent(waveform, matrix @ waveform.samples_mv[electrodes.INDEPENDENT])


def with_independent(waveform: Waveform, eight: np.ndarray) -> Tracings:
    """Tracings of I, II and V1 to V6; the other limb leads follow (Einthoven, Goldberger)."""
    i, ii = eight[:2]
    limbs = (i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2)
    samples = np.vstack((*limbs, *eight[2:])).astype(np.float32)
    return cut(Waveform(samples, waveform.rate_hz))


@pytest.mark.parametrize("kind", KINDS)
def test_an_ecg_as_it_should_be_is_not_noted(kind: str):
    """Whatever rhythm or infarction it shows."""
    assert electrodes.noted(cut(simulate(kind, 3))) == ""


@pytest.mark.parametrize("name", ["RA-LA", "RA-LL", "V1-V3", "V2-V4", "V1-V6", "V4 inverted"])
def test_an_interchange_is_named(name: str):
    """By the electrodes that took each other's place."""
    assert electrodes.noted(mixed(name)) == name


def test_an_arm_in_the_place_of_the_right_leg_leaves_a_lead_flat():
    """RA-RL: lead II is nearly nothing, I and III mirror one another."""
    waveform = simulate("normal", 3)
    eight = waveform.samples_mv[electrodes.INDEPENDENT].copy()
    eight[0] -= eight[1]
    eight[1] *= 0.03
    assert electrodes.noted(with_independent(waveform, eight)) == "RA-RL"


def test_each_interchange_undoes_itself():
    """So that undoing is doing it again."""
    for matrix in electrodes.interchanges().values():
        assert np.array_equal(matrix @ matrix, np.eye(8))


def test_the_gain_needs_no_scale():
    """Twice the voltage, the same suspicion."""
    beat = electrodes.median_beat(mixed("RA-LA"))
    assert beat is not None
    metrics = dict.fromkeys(electrodes.PARTS_S, np.eye(8))
    one, twice = (
        electrodes.gains(electrodes.parts(factor * beat, 250.0), metrics) for factor in (1, 2)
    )
    assert one == pytest.approx(twice)


def test_a_window_without_a_whole_beat_raises_no_suspicion():
    """V4 to V6 could not be followed."""
    tracings = mixed("RA-LA")
    leads = tracings.leads_mv.copy()
    leads[9:] = np.nan
    assert electrodes.noted(Tracings(leads, tracings.rhythm_mv, tracings.rate_hz)) == ""


def test_people_are_warned_in_a_sentence():
    """Only where there is something to say; scores made before this was looked at say nothing."""
    assert "electrodes RA-LA" in electrodes.warning({"electrodes": "RA-LA"})
    assert "V4 upside down" in electrodes.warning({"electrodes": "V4 inverted"})
    assert electrodes.warning({"electrodes": ""}) == electrodes.warning({}) == ""
