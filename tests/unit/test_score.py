"""Scoring files: waveforms and pages, refusals, golden self-test."""

import io
import shutil
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from PIL import Image
from support.bundles import tiny_bundle

from inference import guard
from inference.bundle import INT8, open_bundle, write_card
from inference.errors import BundleError, Undecodable, Unscorable
from inference.forms import Picture, Tracings, Waveform
from inference.prepare import pictures_of_refused
from inference.render import Style, page
from inference.runtime import Outputs, graph, usable
from inference.score import Scorer, self_test
from inference.simulate import simulate
from inference.thresholds import written


@pytest.fixture(scope="module")
def scorer():
    return Scorer.load(tiny_bundle(), "openvino-fp32", threads=1)


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def scored(scorer):
    return scorer.score(png(page(simulate("normal", 7))), "image/png")


def test_a_page_is_scored_with_its_images_and_timings(scored, scorer):
    """Everything that the gateway keeps of a score is there."""
    assert 0 < scored.probability < 1
    assert scored.positive == (scored.probability >= scored.threshold)
    assert scored.bundle == scorer.bundle.digest
    assert (scored.model, scored.version, scored.runtime) == ("tiny", "1", "openvino-fp32")
    assert not scored.validated
    names = {"page", "panel", "binary", "denoised", "components", "opened", "input"}
    assert set(scored.images) == names
    assert scored.images["panel"].shape == (500, 1000)
    assert scored.images["input"].shape == (32, 64)
    assert all(image.dtype == np.uint8 for image in scored.images.values())
    stages = {"decode", "find", "follow", "render", "preprocess", "infer"}
    assert set(scored.timings_ms) == stages
    assert scored.guard["leads"] == 12
    assert scored.guard["source"] == "page"


def test_a_refused_ecg_is_shown_as_far_as_it_was_understood(scorer):
    """A page whose traces were found, one without a grid, and one that the guard alone refused."""
    recipe, waveform = scorer.bundle.recipe, simulate("normal", 7)
    everything = {"page", "panel", "binary", "denoised", "components", "opened", "input"}
    fast = Picture(page(waveform, Style(speed_mm_per_s=50)))
    bare = Picture(page(waveform, Style(grid="none")))
    assert set(pictures_of_refused(fast, recipe)) == {"page", "found"}
    assert set(pictures_of_refused(bare, recipe)) == {"page"}
    assert set(pictures_of_refused(waveform, recipe)) == everything
    short = Waveform(waveform.samples_mv[:, :3000], waveform.rate_hz)
    assert set(pictures_of_refused(short, recipe)) == {"page"}


def with_embedding(folder, embedding):
    """A copy of the tiny bundle whose card states another `[guard.embedding]`, or none."""
    shutil.copytree(tiny_bundle(), folder)
    card = dict(open_bundle(folder).card)
    kept = {name: value for name, value in card["guard"].items() if name != "embedding"}
    write_card(folder, card | {"guard": kept | embedding})
    return Scorer.load(folder, "openvino-fp32", threads=1)


def test_the_embedding_distance_goes_with_the_score(scored, scorer):
    """A number within the card's bound."""
    bound = scorer.bundle.card["guard"]["embedding"]["bound"]
    assert 0 < scored.guard["embedding"] <= scored.guard["embedding_bound"] == bound


def test_features_beyond_the_bound_are_not_scored(scored, tmp_path):
    """The same page, and a bundle whose bound lies a little nearer than the page."""
    nearer = {"embedding": {"bound": scored.guard["embedding"] * 0.99}}
    with pytest.raises(Unscorable, match=r"out-of-domain.*features") as caught:
        with_embedding(tmp_path / "tiny", nearer).score(png(page(simulate("normal", 7))))
    bound = nearer["embedding"]["bound"]
    assert caught.value.guard == {**scored.guard, "embedding_bound": bound}


def test_a_bundle_without_an_embedding_says_so(scored, tmp_path):
    """Older bundles score as before, and the record tells that this distance was not measured."""
    found = with_embedding(tmp_path / "tiny", {}).score(png(page(simulate("normal", 7))))
    assert found.logit == scored.logit
    assert found.guard["embedding"] == "not measured"
    assert "embedding_bound" not in found.guard


class Says:
    """A runtime whose network overflowed somewhere between the features and the logit."""

    name = "openvino-fp32"

    def __init__(self, logit):
        self.logit = logit

    def logits(self, batch):
        return np.full(len(batch), self.logit)

    def outputs(self, batch):
        return Outputs(self.logits(batch), np.zeros((len(batch), 2048), np.float32))


@pytest.mark.parametrize("logit", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("embedded", [True, False])
def test_an_output_that_is_no_number_is_no_negative(scorer, tmp_path, logit, embedded):
    """NaN is not at or above any threshold, so it would have been told as negative."""
    bundle = scorer.bundle if embedded else with_embedding(tmp_path / "tiny", {}).bundle
    broken = Scorer(bundle, Says(logit))
    with pytest.raises(Unscorable, match=r"out-of-domain: .* no finite number .*fp32") as caught:
        broken.score(png(page(simulate("normal", 7))))
    assert caught.value.guard["leads"] == 12


def test_the_same_file_gives_the_same_score(scorer, scored):
    """Bit for bit."""
    again = scorer.score(png(page(simulate("normal", 7))), "image/png")
    assert again.logit == scored.logit


def test_a_page_and_its_waveform_look_alike(scorer):
    """The input drawn from the page is the input drawn from the waveform, nearly everywhere."""
    wave = simulate("stemi-anterior", 3)
    from inference.forms import Picture

    one = scorer.prepare(wave).steps.opened > 0
    other = scorer.prepare(Picture(page(wave))).steps.opened > 0
    shared = (one & other).sum() / (one | other).sum()
    assert shared > 0.6


def test_garbage_and_a_blank_page_are_refused_and_the_next_ecg_works(scorer, scored):
    """Errors with a reason, no state left behind."""
    with pytest.raises(Undecodable):
        scorer.score(b"not an ECG at all")
    with pytest.raises(Unscorable) as caught:
        scorer.score(png(np.full((800, 1100, 3), 255, np.uint8)))
    assert caught.value.reason
    again = scorer.score(png(page(simulate("normal", 7))))
    assert again.logit == scored.logit


def test_a_golden_score_that_is_not_reproduced_stops_the_loading(tmp_path):
    """The card states logits; a bundle whose weights give others is not used."""
    shutil.copytree(tiny_bundle(), tmp_path / "tiny")
    card = dict(open_bundle(tmp_path / "tiny").card)
    logits = [value + 3 for value in card["golden"]["logits"]]
    write_card(tmp_path / "tiny", card | {"golden": {"logits": logits}})
    with pytest.raises(BundleError, match="golden"):
        Scorer.load(tmp_path / "tiny", "openvino-fp32", threads=1)


@pytest.fixture
def quantised(tmp_path):
    """A copy of the bundle with an int8 form whose golden scores this processor does not give."""
    folder = tmp_path / "quantised"
    shutil.copytree(tiny_bundle(), folder)
    found = open_bundle(folder)
    ov.save_model(graph.build(found.weights(), found.network), folder / INT8[0], False)
    golden = found.card["golden"]
    elsewhere = {"openvino-int8": [value + 3 for value in golden["logits"]]}
    parity = {**found.card["parity"], "openvino-int8": {"holds": True}}
    write_card(folder, found.card | {"golden": golden | elsewhere, "parity": parity})
    return folder


def test_auto_goes_on_to_the_next_runtime_where_the_first_fails_its_self_test(quantised, caplog):
    """Parity was measured on another processor; asked for by name, int8 is refused."""
    first, second, *_ = usable(open_bundle(quantised))
    assert first == "openvino-int8"
    assert Scorer.load(quantised, threads=1).runtime.name == second
    (warning,) = caplog.records
    assert (warning.name, warning.levelname) == ("inference.score", "WARNING")
    said = warning.getMessage()
    assert "openvino-int8 is not used here: tiny: golden scores differ by" in said
    with pytest.raises(BundleError, match="on openvino-int8"):
        Scorer.load(quantised, "openvino-int8", threads=1)


def test_auto_raises_where_no_runtime_gives_the_golden_scores(quantised, caplog):
    """The last is fp32, the network itself."""
    card = dict(open_bundle(quantised).card)
    logits = [value + 3 for value in card["golden"]["logits"]]
    write_card(quantised, card | {"golden": {"logits": logits}})
    with pytest.raises(BundleError, match="on openvino-fp32"):
        Scorer.load(quantised, threads=1)
    assert len(caplog.records) == len(usable(open_bundle(quantised))) - 1


def test_the_library_prints_nothing_where_nobody_set_up_logging():
    """Without a handler Python writes warnings to standard error."""
    script = "import inference, logging; logging.getLogger('inference.score').warning('heard')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_the_self_test_gives_the_difference(scorer):
    """Far below the bound on the machine that built the bundle."""
    assert self_test(scorer) <= 0.002


def test_too_few_leads_are_not_scored():
    """Ten leads of twelve, eleven needed; the refusal records both numbers."""
    leads = np.zeros((12, 625), np.float32)
    leads[3:5] = np.nan
    with pytest.raises(Unscorable, match="10 of 12") as caught:
        guard.check_leads(Tracings(leads, np.zeros(2500, np.float32), 250.0), {"min_leads": 11})
    assert caught.value.guard == {"leads": 10, "min_leads": 11}


def test_an_input_far_from_the_training_inputs_is_not_scored():
    """A page full of ink, against a guard fitted on thin traces; how far it is goes on record."""
    rng = np.random.default_rng(2)
    inputs = (rng.random((40, 32, 64)) < 0.05).astype(np.float32)
    table = guard.fit(inputs)
    within = guard.check(inputs[0], table)
    assert within["distance"] < within["bound"] == table["bound"]
    with pytest.raises(Unscorable, match="out-of-domain") as caught:
        guard.check(np.full((32, 64), 0.6, np.float32), table)
    assert caught.value.guard["distance"] > caught.value.guard["bound"] == table["bound"]


PAGE = ("source", "layout", "px_per_mm", "misfit", "gain_mm_per_mv", "pulses")
BEFORE = (*PAGE, "leads", "min_leads", "distance")


def test_a_refusal_keeps_what_was_measured_before_it(scored, tmp_path):
    """Refused by its ink: source, leads and distance are on record, the features were not seen."""
    shutil.copytree(tiny_bundle(), tmp_path / "tiny")
    card = dict(open_bundle(tmp_path / "tiny").card)
    bound = scored.guard["distance"] * 0.99
    write_card(tmp_path / "tiny", card | {"guard": card["guard"] | {"bound": bound}})
    strict = Scorer.load(tmp_path / "tiny", "openvino-fp32", threads=1)
    with pytest.raises(Unscorable, match=r"out-of-domain.*inputs") as caught:
        strict.score(png(page(simulate("normal", 7))))
    measured = {name: scored.guard[name] for name in BEFORE}
    unseen = {"electrodes": "", "embedding": "not measured"}
    assert caught.value.guard == {**measured, "bound": bound, **unseen}


def test_a_waveform_that_is_too_short_is_unscorable(scorer):
    """Three seconds fill no page."""
    short = Waveform(simulate("normal", 1, seconds=3.0).samples_mv, 500.0)
    with pytest.raises(Unscorable, match="too-short"):
        scorer.prepare(short)


def test_a_small_threshold_is_shown_with_more_places():
    """Recalibrated for a rare outcome, 0.0007 and 0.001 must not read the same."""
    assert written(0.9042, 0.637) == "0.904"
    assert written(0.0007, 0.001) == "0.00070"
    assert [written(p) for p in (0.637, 0.0471, 0.00071)] == ["0.637", "0.04710", "0.00071"]
