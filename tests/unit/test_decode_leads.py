"""Lead names, units and derived leads."""

from __future__ import annotations

import numpy as np
import pytest

from inference.decode.leads import assemble, mv_per, named, numbered
from inference.errors import Unscorable
from inference.forms import LEADS


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("Lead I (Einthoven)", ("I", 1)),
        ("Lead II", ("II", 1)),
        ("MDC_ECG_LEAD_III", ("III", 1)),
        ("MDC_ECG_LEAD_aVR", ("aVR", 1)),
        ("-aVR", ("aVR", -1)),
        ("\N{MINUS SIGN}aVR", ("aVR", -1)),
        ("Lead-II", ("II", 1)),
        ("avf", ("aVF", 1)),
        ("DIII", ("III", 1)),
        ("v6", ("V6", 1)),
        ("Lead augmented voltage, right", ("aVR", 1)),
        ("augmented voltage, foot", ("aVF", 1)),
        ("V3R", None),
        ("V10", None),
        ("vx", None),
        ("Respiration", None),
        ("", None),
    ],
)
def test_names(text, lead):
    """A lead is recognised in every spelling that carts use, and only then."""
    assert named(text) == lead


def test_numbers():
    """SCP-ECG, MDC and DICOM share the lead numbers; 65 is minus aVR."""
    assert [numbered(n) for n in (1, 8, 61, 64)] == [("I", 1), ("V6", 1), ("III", 1), ("aVF", 1)]
    assert numbered(65) == ("aVR", -1)
    assert numbered(99) is None


def test_units():
    """Volts in all spellings become mV; anything else is not calibrated."""
    assert [mv_per(u) for u in ("uV", "mV", "MICROVOLTS", "\N{MICRO SIGN}V", "V", "nV")] == [
        1e-3, 1.0, 1e-3, 1e-3, 1e3, 1e-6,
    ]  # fmt: skip
    with pytest.raises(Unscorable, match="no-calibration"):
        mv_per("mm")


def _rows(names: str, samples: int = 100) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(2, samples)).astype(np.float32)
    truth = dict(
        zip(
            LEADS[:6],
            (one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2),
            strict=True,
        )
    )
    truth |= {lead: rng.normal(size=samples).astype(np.float32) for lead in LEADS[6:]}
    return {name: truth[name].astype(np.float32) for name in names.split()}


CHEST = "V1 V2 V3 V4 V5 V6"


@pytest.mark.parametrize("limbs", ["I II", "I III", "II III", "I II III aVR"])
def test_derives_what_two_limb_leads_determine(limbs):
    """Any two of I, II, III give the other limb leads by Einthoven and Goldberger."""
    truth = _rows(" ".join(LEADS))
    waveform = assemble(_rows(f"{limbs} {CHEST}"), 500, {})
    np.testing.assert_allclose(
        waveform.samples_mv, np.stack([truth[lead] for lead in LEADS]), atol=1e-5
    )
    assert "aVF" in waveform.facts["derived"]


@pytest.mark.parametrize("present", ["I", f"I {CHEST}", "I II V1 V2 V3 V4 V5", "V1"])
def test_refuses_what_cannot_be_derived(present):
    """A chest lead or a second limb lead cannot be made up."""
    with pytest.raises(Unscorable) as caught:
        assemble(_rows(present), 500, {})
    assert caught.value.reason == "too-few-leads"


def test_short_leads_end_in_gaps():
    """Leads of other lengths are padded with NaN, never stretched."""
    rows = _rows(f"I II {CHEST}")
    rows["V6"] = rows["V6"][:40]
    samples = assemble(rows, 500, {}).samples_mv
    assert np.isnan(samples[11, 40:]).all()
    assert not np.isnan(samples[11, :40]).any()


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), 1e9])
def test_refuses_impossible_rates(rate_hz):
    """A rate that no ECG has is a damaged header."""
    with pytest.raises(Unscorable, match="bad-rate"):
        assemble(_rows(f"I II {CHEST}"), rate_hz, {})
