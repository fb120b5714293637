"""Explanations: the measured shares, and proof that only the traces are read."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from PIL import Image  # noqa: E402
from support.bundles import random_network, tiny_bundle  # noqa: E402

from inference import explain, explain_report  # noqa: E402
from inference.forms import LEADS, Picture  # noqa: E402
from inference.installed import SHIPPED  # noqa: E402
from inference.occlusion import occlusion, on_print  # noqa: E402
from inference.render import Style, page  # noqa: E402
from inference.render.heat import Heat, over  # noqa: E402
from inference.runtime.eager import network_of  # noqa: E402
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
    """Three gates, Grad-CAM and saliency over the page, written as PNG with the figures."""
    paper = Picture(page(simulate("normal", 5)))
    network = network_of(scorer.bundle)
    found = explain.explain(scorer, network, paper)
    logits = scorer.runtime.logits(scorer.prepare(paper).steps.input[None, None])
    assert found.probability == pytest.approx(1 / (1 + np.exp(-logits[0])), abs=0.002)
    assert set(found.shares) == set(explain.SHARES)
    assert sum(found.enrichment[n] * found.ink[n] for n in explain.SHARES) == pytest.approx(1)
    explain.save(found, tmp_path / "x")
    names = {p.name for p in (tmp_path / "x").iterdir()}
    assert {"gradcam.png", "saliency.png", "attention1.png", "attention3.png"} <= names
    with Image.open(tmp_path / "x" / "gradcam.png") as picture:
        assert picture.size == (297 * 5, 210 * 5)
    figures = json.loads((tmp_path / "x" / "explained.json").read_text())
    assert set(figures["by_lead"]) == set(LEADS)
    low, high = figures["gates"]["layer1"]
    assert 0 <= low < high <= 1


def test_heat_lies_over_the_lead_it_is_of():
    """Heat on V1 of the panel (first row, third column) colours V1's place on the page alone."""
    tracings = cut(simulate("normal", 5))
    heat = np.zeros((64, 64), np.float32)
    heat[4:12, 36:44] = 1
    plain, warm = (over(tracings, Heat("", h)) for h in (np.zeros_like(heat), heat))
    rows, cols = np.nonzero((plain != warm).any(2))
    left_mm, row_mm = 26 + 125, (200 - 15) / 4  # x of V1; space of a row below one header line
    assert left_mm <= cols.min() / 5 <= cols.max() / 5 <= left_mm + 62.5
    assert 15 <= rows.min() / 5 <= rows.max() / 5 <= 15 + row_mm


def test_occlusion_covers_what_it_says(scorer):
    """Header, labels, pulses and the last line do not move the score; a lead upside down does."""
    covered = ["header", "labels", "pulses", "line below"]
    changes = occlusion(scorer, cut(simulate("ischaemia", 6)), LEADS.index("V2"))
    assert list(changes) == [*covered, "page moved 0.5 mm", "V2 upside down", "V2 covered"]
    assert max(abs(changes[name]) for name in covered) < abs(changes["V2 upside down"]) / 5


def test_a_print_is_covered_beside_its_traces_and_where_other_ink_is(scorer):
    """Of a page of another drawer the score stays without what is no trace, not without a lead."""
    wave = simulate("ischaemia", 6)
    paper = page(wave, Style(header=("DOE^JANE  ID 4711", "STEMI? CALL CODE"), px_per_mm=5))
    changes = on_print(scorer, Picture(paper), LEADS.index("V2"))
    beside = [f"print: all {what}" for what in ("above", "below", "left", "other ink")]
    assert list(changes) == [*beside, "print: moved 0.5 px", "V2 covered"]
    assert max(abs(changes[name]) for name in beside) < abs(changes["V2 covered"]) / 5
    turned = on_print(scorer, Picture(np.rot90(paper, 2)), LEADS.index("V2"))
    assert list(turned)[-1] == "V2 covered"


def test_the_shipped_network_reads_no_header_label_or_pulse():
    """Reference bundle: without them the score moves by 0.03 at most, without V2 by more."""
    shipped = Scorer.load(SHIPPED / "reference", "openvino-fp32", threads=1)
    for kind, seed in (("normal", 6), ("rbbb", 2)):
        changes = occlusion(shipped, cut(simulate(kind, seed)), LEADS.index("V2"))
        apart = [changes[name] for name in ("header", "labels", "pulses", "line below")]
        assert max(map(abs, apart)) <= 0.03 < abs(changes["V2 covered"])


def test_two_models_are_compared_on_the_same_ecgs(scorer):
    """A model against itself: no difference, and one page that says so."""
    network = network_of(scorer.bundle)
    found = {
        str(seed): explain.explain(scorer, network, simulate("normal", seed)) for seed in (1, 2)
    }
    same = explain.compare(list(found.values()), list(found.values()), draws=50)
    assert {part: values[2][0] for part, values in same.items()} == dict.fromkeys(explain.SHARES, 0)
    text = explain_report.html(found, found, ("this", "that"))
    assert "Two models on the same ECGs" in text
    assert text.count("data:image/png") == 2 * (5 + 2)


def test_header_labels_and_pulse_do_not_reach_the_network(scorer):
    """The same ECG with a header and with none: the inputs differ by sub-pixel rounding only."""
    wave = simulate("ischaemia", 6)
    headers = ((), ("DOE^JANE  ID 4711  F 61 y", "2026-11-25 10:11:12  STEMI? CALL CODE"))
    inputs = [
        scorer.prepare(Picture(page(wave, Style(header=lines)))).steps.input for lines in headers
    ]
    assert np.abs(inputs[0] - inputs[1]).sum() < 0.03 * inputs[0].sum()
