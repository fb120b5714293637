"""Explanations: the measured shares, and proof that only the traces are read."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from PIL import Image  # noqa: E402
from support.bundles import random_network, tiny_bundle  # noqa: E402

from inference import explain  # noqa: E402
from inference.forms import Picture  # noqa: E402
from inference.render import Style, page  # noqa: E402
from inference.score import Scorer  # noqa: E402
from inference.simulate import simulate  # noqa: E402
from inference.tracings import cut  # noqa: E402


@pytest.fixture(scope="module")
def scorer():
    return Scorer.load(tiny_bundle(), "openvino-fp32", threads=1)


def test_the_parts_of_the_beat_follow_the_r_peaks():
    """QRS columns are those around the peaks of the rhythm strip; PR lies before, ST after."""
    tracings = cut(simulate("normal", 4))
    table = explain.parts_of(tracings, 1000)  # 10 ms a column
    beat = np.abs(tracings.rhythm_mv - np.median(tracings.rhythm_mv))
    tall = np.flatnonzero(beat > 0.6 * beat.max()) / tracings.rate_hz
    columns = (tall * 100).astype(int)
    assert (table[columns] == explain.SHARES.index("QRS")).mean() > 0.95
    names = [explain.SHARES[i] for i in table]
    first = names.index("QRS", 50)
    assert names[first - 1] == "PR"
    after = [name for name in names[first : first + 40] if name != "QRS"]
    assert after[0] == "ST"
    assert "T" in after


def test_shares_add_up_and_count_columns():
    """Heat in one column of ST only: all of it is ST's, and the first lead's."""
    table = np.full(64, explain.SHARES.index("other"), np.uint8)
    table[3] = explain.SHARES.index("ST")
    heat = np.zeros((32, 64), np.float32)
    heat[2, 3] = 1
    found = explain.shares(heat, table)
    assert found["ST"] == pytest.approx(1)
    assert sum(found.values()) == pytest.approx(1)
    by_lead = explain.by_lead(heat, table)
    assert by_lead[0, explain.SHARES.index("ST")] == pytest.approx(1)
    assert by_lead.sum() == pytest.approx(1)


def test_saliency_is_zero_where_there_is_no_ink():
    """Input times gradient: empty paper explains nothing."""
    network = random_network()
    given = torch.zeros(1, 1, 32, 64)
    given[..., 10:12, :] = 1
    heat = explain.saliency(network, given)
    assert heat.sum() == pytest.approx(1, abs=1e-4)
    assert heat[:10].sum() == 0
    assert explain.gradcam(network, given).shape == (4, 8)


def test_one_file_explained_with_its_pictures(scorer, tmp_path):
    """Three gates, Grad-CAM and saliency over the panel, written as PNG."""
    out = io.BytesIO()
    Image.fromarray(page(simulate("normal", 5))).save(out, "PNG")
    network = explain.network_of(scorer.bundle)
    found = explain.explain(scorer, network, out.getvalue())
    score = scorer.score(out.getvalue()).probability
    assert found.probability == pytest.approx(score, abs=0.002)
    assert set(found.shares) == set(explain.SHARES)
    assert sum(found.enrichment[n] * found.ink[n] for n in explain.SHARES) == pytest.approx(1)
    explain.save(found, tmp_path / "x")
    names = {p.name for p in (tmp_path / "x").iterdir()}
    assert {"gradcam.png", "saliency.png", "attention1.png", "attention3.png"} <= names
    with Image.open(tmp_path / "x" / "gradcam.png") as picture:
        assert picture.size == (1000, 500)


def test_header_labels_and_pulse_do_not_reach_the_network(scorer):
    """The same ECG with a header and with none: the inputs differ by sub-pixel rounding only."""
    wave = simulate("ischaemia", 6)
    headers = ((), ("DOE^JANE  ID 4711  F 61 y", "2026-11-25 10:11:12  STEMI? CALL CODE"))
    inputs = [
        scorer.prepare(Picture(page(wave, Style(header=lines)))).steps.input for lines in headers
    ]
    assert np.abs(inputs[0] - inputs[1]).sum() < 0.03 * inputs[0].sum()
