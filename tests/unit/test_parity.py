"""Parity of runtimes at a site: measured anew when calibration and threshold change."""

import shutil

import numpy as np
import pytest
from PIL import Image

from inference.bundle import open_bundle, write_card
from inference.cohort import Case
from inference.decode import decode_file
from inference.installed import SHIPPED
from inference.outcomes import Outcomes, score_cohort
from inference.parity import LARGEST, compare, remeasure, sampled
from inference.recalibrate import RecalibrateConfig, recalibrate
from inference.render import Style, page
from inference.runtime import load, usable
from inference.score import Scorer
from inference.simulate import simulate

PER_LABEL = 10
MEASURED = {"largest_difference", "auroc_difference", "category_changes", "embedding_difference"}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The shipped bundle on pages of twenty simulated ECGs, half of them with an injury."""
    folder = tmp_path_factory.mktemp("site")
    cases = []
    for number in range(2 * PER_LABEL):
        ill = number % 2
        pixels = page(simulate("stemi-anterior" if ill else "normal", number), Style(px_per_mm=5))
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        cases.append(Case(path, ill, f"p{number}", row=number))
    scorer = Scorer.load(SHIPPED / "reference", "openvino-int8", threads=1)
    return scorer.bundle, score_cohort(scorer, cases)


def site(bundle, outcomes, out):
    """Recalibrate in such a way that the scores of the two labels overlap a little."""
    labels = outcomes.labels.copy()
    labels[outcomes.logits.argmin()], labels[outcomes.logits.argmax()] = 1, 0
    mixed = Outcomes(
        labels, outcomes.scores, outcomes.logits, outcomes.groups, cases=outcomes.cases
    )
    return recalibrate(bundle, mixed, out, RecalibrateConfig())


def test_what_a_runtime_is_off_is_measured_at_the_sites_calibration(scored, tmp_path):
    """Until then only fp32 may be used; then int8 is, and the card says how far it is off."""
    bundle, outcomes = scored
    made = site(bundle, outcomes, tmp_path / "site")
    assert usable(made) == ["openvino-fp32"]
    told = []
    measured = remeasure(made, bundle, outcomes, lambda *each: told.append(each))
    found = measured.card["parity"]["openvino-int8"]
    assert found.keys() >= MEASURED
    assert found["inputs"] == len(outcomes.cases) == told[-1][1]
    assert 0 < found["largest_difference"] < 0.2
    assert found["holds"] is True
    assert usable(measured)[0] == "openvino-int8"
    assert measured.threshold == made.threshold
    assert open_bundle(tmp_path / "site").digest == measured.digest


def test_a_runtime_that_did_not_hold_in_the_parent_does_not_in_the_child(scored, tmp_path):
    """A site's few ECGs do not outweigh the parent's validation, nor the lack of one."""
    bundle, outcomes = scored
    shutil.copytree(bundle.path, tmp_path / "parent")
    write_card(tmp_path / "parent", {**bundle.card, "parity": {"openvino-int8": {"holds": False}}})
    parent = open_bundle(tmp_path / "parent")
    made = site(parent, outcomes, tmp_path / "site")
    measured = remeasure(made, parent, outcomes)
    assert measured.card["parity"]["openvino-int8"]["holds"] is False
    assert usable(measured) == ["openvino-fp32"]


def test_a_bundle_without_features_to_compare_is_left_alone(scored, tmp_path):
    """Those of before: it is fp32 for them."""
    bundle, outcomes = scored
    card = {**bundle.card, "guard": {"bound": 1.0}}
    old = type(bundle)(bundle.path, card, bundle.digest, bundle.network, bundle.recipe)
    assert remeasure(old, bundle, outcomes) is old


def test_a_large_cohort_is_sampled_evenly_by_outcome():
    """Ten of 5,000 with the outcome: all of them, and 150 of the others."""
    labels = np.zeros(5000, int)
    labels[::500] = 1
    places = sampled(labels)
    assert labels[places].sum() == 10
    assert len(places) == 160
    assert (np.diff(places) > 0).all()
    assert places[-1] > 4900


@pytest.mark.shared
@pytest.mark.slow
def test_the_shipped_runtimes_agree_on_real_prints(shared):
    """26 prints of each of two classes: fp32 within 0.002 of torch, int8 within its bounds."""
    pytest.importorskip("torch")
    scorer = Scorer.load(SHIPPED / "reference", "openvino-fp32", threads=1)
    inputs, labels = [], []
    for label, kind in ((1, "post_mi"), (0, "normal")):
        paths = sorted((shared / "mendeley" / "pages_half").glob(f"{kind}_*.jpg"))
        for path in paths[:: len(paths) // 25][:26]:
            inputs.append(scorer.prepare(decode_file(path)).steps.input)
            labels.append(label)
    batch, truth = np.stack(inputs)[:, None], np.array(labels)
    wanted = load(scorer.bundle, "torch", threads=1).outputs(batch)
    fp32, int8 = (
        compare(name, scorer.bundle, truth, load(scorer.bundle, name, 1).outputs(batch), wanted)
        for name in ("openvino-fp32", "openvino-int8")
    )
    assert fp32["holds"] is True
    assert fp32["largest_difference"] <= LARGEST["openvino-fp32"]
    assert int8["holds"] is True  # AUROC within 0.002, embedding distance within 15 %
    reported = scorer.bundle.card["parity"]["openvino-int8"]["category_changes"]
    assert int8["category_changes"] <= reported
    assert int8["refusal_changes"] == 0
