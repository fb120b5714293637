"""The maps of the base install are those that torch computes by its backward pass."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.bundles import random_network, tiny_bundle  # noqa: E402

from inference.bundle import open_bundle  # noqa: E402
from inference.explain import gradcam  # noqa: E402
from inference.runtime import graph, load, probability  # noqa: E402
from inference.runtime.eager import network_of  # noqa: E402
from inference.runtime.maps import MapNetwork, Maps  # noqa: E402
from inference.runtime.vino import core  # noqa: E402

PIXELS = (np.random.default_rng(0).random((32, 64)) < 0.1).astype(np.float32)
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def test_the_maps_are_those_of_torch():
    """Grad-CAM of layer 4 by gradient, each gate, and the score: within a thousandth."""
    bundle = open_bundle(tiny_bundle())
    network, given = network_of(bundle), torch.from_numpy(PIXELS)[None, None]
    found = MapNetwork(bundle).of(PIXELS)
    cam = found.gradcam / found.gradcam.max()
    np.testing.assert_allclose(cam, gradcam(network, given, layer=4), **CLOSE)
    gates = {}
    with torch.no_grad():
        network.feature_map(given, gates)
    assert found.gates.keys() == gates.keys() == {1, 2, 3}
    for layer, gate in gates.items():
        np.testing.assert_allclose(found.gates[layer], gate[0, 0].numpy(), **CLOSE)
    logits = load(bundle, "torch").logits(PIXELS[None, None])
    assert found.probability == pytest.approx(probability(logits, bundle)[0], abs=1e-3)
    bias = float(bundle.weights()["fc.bias"][0])
    assert found.evidence.mean() + bias == pytest.approx(logits[0], abs=1e-3)


@pytest.mark.parametrize(("sa_after", "gate"), [((), "multiply"), ((1, 4), "residual")])
def test_every_form_of_the_network_has_its_maps(sa_after, gate):
    """Without attention there is the evidence alone; a residual gate is shown as its sigmoid."""
    network = random_network(sa_after=sa_after, gate=gate)
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    model = graph.build(state, network.config, maps=True)
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found, gates = compiled(PIXELS[None, None]), {}
    names = [port.get_any_name() for port in compiled.outputs]
    assert names == ["logits", "features", "evidence", *(f"attention{n}" for n in sa_after)]
    with torch.no_grad():
        last = network.feature_map(torch.from_numpy(PIXELS)[None, None], gates)
    evidence = np.einsum("c,chw->hw", network.fc.weight.detach().numpy()[0], last[0].numpy())
    np.testing.assert_allclose(found["evidence"][0, 0], evidence, rtol=1e-3, atol=1e-3)
    for layer in sa_after:
        np.testing.assert_allclose(found[f"attention{layer}"], gates[layer].numpy(), **CLOSE)


def test_what_raises_nothing_is_blank_and_what_raises_little_is_pale():
    """Every field lowers the score, or none does anything: no Grad-CAM, and no division by 0."""
    for value in (-1, 0):
        assert not Maps(0.1, np.full((4, 8), value, np.float32), {}).gradcam.any()
    evidence = np.array([[-4.0, 1.0], [0.0, 2.0]], np.float32)
    assert Maps(0.1, evidence, {}).gradcam.tolist() == [[0, 0.25], [0, 0.5]]
