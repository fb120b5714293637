"""Limb leads that contradict one another are not scored; all that keep the law pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from gateway.cli.app import make_app
from inference import limbs
from inference.decode import decode
from inference.decode.leads import assemble
from inference.errors import Unscorable
from inference.forms import LEADS, Waveform
from inference.prepare import look
from inference.simulate import KINDS, simulate

ONE, TWO, THREE, AVR, AVL, AVF = range(6)


def changed(change, kind="normal") -> Waveform:
    waveform = simulate(kind, 11)
    samples = waveform.samples_mv.copy()
    change(samples)
    return Waveform(samples, waveform.rate_hz)


def exchange(one, other):
    def change(samples):
        samples[[one, other]] = samples[[other, one]]

    return change


def scale(lead, factor):
    def change(samples):
        samples[lead] *= factor

    return change


def interchanged_arms(samples):
    """RA-LA: what the electrodes give, by the leads' definitions."""
    samples[:6] = np.stack(
        [-samples[ONE], samples[THREE], samples[TWO], samples[AVL], samples[AVR], samples[AVF]]
    )


def rounded(samples):
    np.copyto(samples, np.rint(samples / 0.02) * 0.02)


def wandering(samples):
    """A slow wander in one lead alone, as filters that differ leave it."""
    samples[TWO] += 0.2 * np.sin(np.arange(samples.shape[1]) / 500 * 2 * np.pi * 0.1)


def one_after_the_other(samples):
    """The second three leads were recorded after the first three; they are of another scale."""
    half = samples.shape[1] // 2
    samples[:3, half:] = np.nan
    samples[3:6, :half] = np.nan
    samples[3:6] *= 3


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_ecgs_pass(kind):
    """Also ST elevation, pacing and fibrillation."""
    limbs.check(simulate(kind, 5))


@pytest.mark.parametrize("change", [interchanged_arms, rounded, wandering, one_after_the_other])
def test_what_keeps_the_law_passes(change):
    """Interchanged electrodes, samples of 20 uV, wander, leads of different times."""
    limbs.check(changed(change))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (exchange(ONE, TWO), "III is not II - I by up to"),
        (exchange(TWO, THREE), "III is not II - I by up to"),
        (exchange(AVL, AVF), "III is not 2 aVF - II by up to"),
        (exchange(THREE, LEADS.index("V1")), "III is not II - I by up to"),
        (scale(ONE, -1), "III is not II - I by up to"),
        (scale(AVF, -1), "aVF is not -aVR - aVL by up to"),
        (scale(AVR, 2), "aVF is not -aVR - aVL by up to"),
    ],
)
def test_a_lead_that_contradicts_the_others_is_refused(change, told):
    """Exchanged, upside down or of another scale: the sentence says which relation broke."""
    with pytest.raises(Unscorable) as caught:
        look(changed(change))
    assert caught.value.reason == "contradictory-leads"
    assert told in caught.value.detail


def test_how_much_the_leads_contradict_is_told_in_mv():
    """Twice the lead is wrong when it is upside down."""
    waveform = simulate("normal", 11)
    lag = round(limbs.CHANGE_S * waveform.rate_hz)
    largest = 2 * np.abs(waveform.samples_mv[AVF, lag:] - waveform.samples_mv[AVF, :-lag]).max()
    with pytest.raises(Unscorable) as caught:
        limbs.check(changed(scale(AVF, -1)))
    told = float(caught.value.detail.partition("by up to ")[2].split(" mV")[0])
    assert told == pytest.approx(largest, rel=0.1)


def test_derived_leads_cannot_contradict_the_recorded_ones():
    """Of I, II and the chest leads alone nothing can be told: II upside down is another axis."""
    samples = simulate("normal", 11).samples_mv
    rows = {name: samples[LEADS.index(name)] for name in ("I", "II", *LEADS[6:])}
    rows["II"] = -rows["II"]
    limbs.check(assemble(rows, 500.0, {}))


def mortara(exchanged=(), factor=1.0) -> pydicom.Dataset:
    """Give the 12-lead ECG of pydicom, two channels exchanged or aVR of another scale."""
    found = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    group = found.WaveformSequence[0]
    samples = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).copy()
    if exchanged:
        samples[:, list(exchanged)] = samples[:, list(reversed(exchanged))]
    group.WaveformData = samples.tobytes()
    channel = group.ChannelDefinitionSequence[AVR]
    channel.ChannelSensitivityCorrectionFactor = factor
    return found


def test_a_mislabelled_and_a_misscaled_dicom_have_no_score(tmp_path: Path, monkeypatch):
    """Through the command line: the cart's own ECG is scored, the two others are told why not."""
    pytest.importorskip("torch")
    from support.bundles import tiny_bundle

    from inference.score import Scorer

    scorer = Scorer.load(tiny_bundle(), "openvino-fp32", threads=1)
    monkeypatch.setattr("gateway.roles.model.load_scorer", lambda *_: scorer)
    files = {
        "whole.dcm": mortara(),
        "exchanged.dcm": mortara((ONE, TWO)),
        "misscaled.dcm": mortara(factor=2.0),
    }
    for name, made in files.items():
        made.save_as(tmp_path / name)
    line = ["score", *(str(tmp_path / name) for name in files), "--json"]
    given = CliRunner().invoke(make_app(), line, catch_exceptions=False)
    assert given.exit_code == 1
    whole, *others = json.loads(given.output)
    assert 0 < whole["probability"] < 1
    assert [each["unscorable"] for each in others] == ["contradictory-leads"] * 2
    assert "III is not II - I by up to 1.1 mV" in others[0]["detail"]
    assert "aVF is not -aVR - aVL by up to 0.9" in others[1]["detail"]


def test_a_contradictory_ecg_can_still_be_read():
    """It is decoded, so that a person can see its page and find out which lead it is."""
    import io

    out = io.BytesIO()
    mortara((ONE, TWO)).save_as(out)
    assert decode(out.getvalue()).samples_mv.shape == (12, 10000)
