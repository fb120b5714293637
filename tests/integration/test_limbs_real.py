"""The limb leads of real ECGs keep the law; those that were tampered with break it."""

from __future__ import annotations

import numpy as np
import pytest

from inference import limbs
from inference.decode import decode_file
from inference.errors import Undecodable, Unscorable
from inference.forms import LEADS, Waveform

pytestmark = pytest.mark.shared


def refused(waveform: Waveform) -> bool:
    try:
        limbs.check(waveform)
    except Unscorable:
        return True
    return False


def test_every_recorded_waveform_passes(shared):
    """Carts of five makers and formats, four hospitals' WFDB records."""
    passed = 0
    for path in sorted([*(shared / "vendor").rglob("*"), *(shared / "waveforms").rglob("*.hea")]):
        try:
            waveform = decode_file(path) if path.is_file() and path.suffix != ".pdf" else None
        except Undecodable:
            continue
        if waveform is not None:
            limbs.check(waveform)
            passed += 1
    assert passed == 52


def test_leads_that_were_denoised_one_by_one_pass(shared):
    """Chapman-Shaoxing: the worst that is known, for each lead was filtered without the others."""
    read = pytest.importorskip("scipy.io").loadmat
    paths = sorted((shared / "waveforms" / "chapman").glob("*.mat"))
    for path in paths:
        [samples] = [v for v in read(path).values() if isinstance(v, np.ndarray)]
        uv = samples if samples.shape[0] == 12 else samples.T
        limbs.check(Waveform((uv / 1000).astype(np.float32), 500.0))
    assert len(paths) == 35


@pytest.fixture(scope="module")
def raw(shared):
    with np.load(shared / "ptbxl" / "raw_250hz_uv.npz") as held:
        return held["x"].astype(np.float32) / 1000


def share_refused(raw, change) -> float:
    """The share of PTB-XL's unselected records that is refused after a change of (12, n) mV."""
    count = 0
    for each in raw:
        samples = each.copy()
        change(samples)
        count += refused(Waveform(samples, 250.0))
    return count / len(raw)


def test_unselected_ecgs_pass(raw):
    """1,519 of 1,519."""
    assert len(raw) == 1519
    assert share_refused(raw, lambda samples: None) == 0


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ("I", "II", 1.0), ("II", "III", 1.0), ("I", "III", 1.0), ("aVL", "aVF", 1.0),
        ("aVR", "aVF", 1.0), ("III", "V1", 0.99), ("III", "aVF", 0.98), ("II", "aVF", 0.98),
        ("I", "aVL", 0.98),
    ],
)  # fmt: skip
def test_exchanged_leads_are_refused(raw, one, other, least):
    """All but those whose leads are nearly the same."""
    rows = [LEADS.index(one), LEADS.index(other)]

    def change(samples):
        samples[rows] = samples[rows[::-1]]

    assert share_refused(raw, change) >= least


@pytest.mark.parametrize(
    ("factor", "least"),
    [(-1.0, 1.0), (2.0, 0.97)],
)
def test_leads_upside_down_or_of_another_scale_are_refused(raw, factor, least):
    """I, II, III, aVR, aVL, aVF, one after another."""
    for lead in range(6):

        def change(samples, lead=lead):
            samples[lead] *= factor

        assert share_refused(raw, change) >= least, LEADS[lead]
