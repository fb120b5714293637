"""The runtimes agree with the network as torch computes it."""

import shutil
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.bundles import random_network, tiny_bundle  # noqa: E402

from inference.bundle import open_bundle, write_card  # noqa: E402
from inference.errors import BundleError, RuntimeMissing  # noqa: E402
from inference.runtime import choose, graph, load, probability  # noqa: E402
from inference.runtime.vino import core  # noqa: E402


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(tiny_bundle())


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return (rng.random((11, 1, 32, 64)) < 0.1).astype(np.float32)


def test_fp32_openvino_built_from_the_weights_is_torch(bundle, inputs):
    """Batch norm folded, eleven inputs in runs of eight: equal within 0.002."""
    wanted = load(bundle, "torch").logits(inputs)
    found = load(bundle, "openvino-fp32", threads=1).logits(inputs)
    assert found.shape == (11,)
    assert wanted.std() > 0.1
    apart = np.abs(probability(found, bundle) - probability(wanted, bundle))
    assert apart.max() <= 0.002


def test_the_features_are_what_the_logits_are_made_of(bundle, inputs):
    """Each runtime's logits are its features through the head, and both runtimes agree."""
    weights = bundle.weights()
    wanted = load(bundle, "torch").outputs(inputs)
    found = load(bundle, "openvino-fp32", threads=1).outputs(inputs)
    for each in (wanted, found):
        assert each.features.shape == (11, 2048)
        head = weights["fc.weight"].astype(np.float32)[0]
        np.testing.assert_allclose(
            each.features @ head + weights["fc.bias"], each.logits, atol=1e-3, rtol=1e-3
        )
    np.testing.assert_allclose(found.features, wanted.features, atol=1e-3, rtol=1e-3)


def test_an_int8_graph_without_features_scores_but_measures_no_distance(bundle, inputs, tmp_path):
    """As the bundles before the embedding distance have it; a card that states one refuses it."""
    older = tmp_path / "older"
    shutil.copytree(bundle.path, older)
    model = graph.build(bundle.weights(), bundle.network)
    model.remove_result(model.get_results()[1])
    ov.save_model(model, older / "openvino-int8.xml")
    write_card(older, bundle.card)
    with pytest.raises(BundleError, match="features"):
        load(open_bundle(older), "openvino-int8")
    kept = {name: value for name, value in bundle.card["guard"].items() if name != "embedding"}
    write_card(older, bundle.card | {"guard": kept})
    runtime = load(open_bundle(older), "openvino-int8", threads=1)
    assert runtime.logits(inputs).shape == (11,)
    with pytest.raises(BundleError, match="features"):
        runtime.outputs(inputs)


@pytest.mark.parametrize(("sa_after", "gate"), [((), "multiply"), ((1, 4), "residual")])
def test_every_form_of_the_network_is_built(sa_after, gate, inputs):
    """No attention, and attention after layer 4 with the residual gate."""
    network = random_network(sa_after=sa_after, gate=gate)
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    model = graph.build(state, network.config)
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(inputs)[0]
    with torch.inference_mode():
        wanted = network(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-3, rtol=1e-3)


REPLACED = """
import gc, os, signal, sys
from pathlib import Path
from inference.bundle import open_bundle
from inference.runtime import load
from inference.runtime.maps import MapNetwork

bundle = open_bundle(Path(sys.argv[1]))
first, maps = load(bundle, "openvino-fp32"), MapNetwork(bundle)
second = load(bundle, "openvino-fp32")
for name in ("first", "maps", "second"):
    del globals()[name]
    gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("told to stop"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_process_whose_bundles_were_replaced_can_be_told_to_stop(bundle):
    """Models that end in the order in which they began leave no stack that a signal would miss."""
    done = subprocess.run(
        [sys.executable, "-c", REPLACED, bundle.path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "told to stop\n")


def test_a_missing_tensor_is_named(bundle):
    """Weights of another network do not build."""
    weights = dict(bundle.weights())
    del weights["layer3.2.conv2.weight"]
    with pytest.raises(BundleError, match=r"layer3\.2\.conv2\.weight"):
        graph.build(weights, bundle.network)


def test_an_unknown_runtime_and_one_without_a_model(bundle):
    """Both say what there is."""
    with pytest.raises(RuntimeMissing, match="openvino-bf16"):
        load(bundle, "tensorrt")
    with pytest.raises(RuntimeMissing, match="int8"):
        load(bundle, "openvino-int8")


def test_auto_takes_only_what_was_measured_to_hold(bundle):
    """Without any record of parity it is fp32."""
    from dataclasses import replace

    assert choose(replace(bundle, card={**bundle.card, "parity": {}})) == "openvino-fp32"
    failed = {"openvino-bf16": {"holds": False}}
    assert choose(replace(bundle, card={**bundle.card, "parity": failed})) == "openvino-fp32"


def test_auto_takes_a_card_that_torch_sees(bundle, monkeypatch):
    """Torch is only asked where the driver runs."""
    from inference import runtime
    from inference.runtime import eager

    monkeypatch.setattr(eager, "has_card", lambda: True)
    monkeypatch.setattr(runtime, "_DRIVER", bundle.path / "no-driver")
    assert choose(bundle) == "openvino-fp32"
    monkeypatch.setattr(runtime, "_DRIVER", bundle.path)
    assert choose(bundle) == "torch"
    monkeypatch.setattr(eager, "has_card", lambda: False)
    assert choose(bundle) == "openvino-fp32"


def test_the_card_records_the_parity_of_each_runtime(bundle):
    """Inputs, largest difference, changes of category, and whether the bound holds."""
    fp32 = bundle.card["parity"]["openvino-fp32"]
    assert fp32["holds"] is True
    assert fp32["largest_difference"] <= 0.002
    assert fp32["category_changes"] == 0
    assert fp32["inputs"] == 12
    assert fp32["embedding_difference"] <= 0.01
    assert fp32["refusal_changes"] == 0


def test_wrong_shapes_are_refused(bundle):
    """An input of another size is an error of the caller."""
    with pytest.raises(ValueError, match="32, 64"):
        load(bundle, "openvino-fp32").logits(np.zeros((1, 1, 64, 32), np.float32))


def test_the_calibration_of_the_card_is_applied(bundle):
    """sigmoid(2 x - 1) at x = 0.5 is one half."""
    from dataclasses import replace

    card = {**bundle.card, "calibration": {"slope": 2.0, "intercept": -1.0}}
    assert probability(np.array([0.5]), replace(bundle, card=card)) == pytest.approx(0.5)
    assert probability(np.array([0.0]), bundle) == pytest.approx(0.5)
