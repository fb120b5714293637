"""A small bundle with random weights, made once a session, for tests of what surrounds a model."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

FACTS = {
    "name": "tiny",
    "version": "1",
    "summary": "random weights",
    "endpoint": {"name": "none", "meaning": "nothing"},
    "validation": {"status": "not validated", "note": "random"},
}


def random_network(seed=3, **changes):
    """A network whose batch norms are far from the identity, so that folding is tested."""
    import torch

    from inference.network import NetworkConfig, build

    torch.manual_seed(seed)
    network = build(NetworkConfig(**{"height": 32, "width": 64, **changes})).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.7, 1.2)
            module.bias.data.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    _spread_out(network)
    return network


def _spread_out(network):
    """Scale the head so that logits of random inputs have mean 0 and standard deviation 1."""
    import torch

    config = network.config
    noise = torch.rand(16, 1, config.height, config.width) ** 8
    with torch.no_grad():
        network.fc.weight /= network(noise).std()
        network.fc.bias -= network(noise).mean()


def make_bundle(folder: Path, **changes) -> Path:
    """Build a bundle of random weights in `folder`/tiny."""
    from safetensors.torch import save_file

    from inference import golden
    from inference.build import Material, build_bundle
    from inference.checkpoint import exported
    from inference.preprocess import Recipe

    network = random_network(**changes)
    save_file(exported(network.state_dict()), folder / "weights.safetensors")
    rng = np.random.default_rng(1)
    inputs = (rng.random((24, 32, 64), np.float32) < 0.05).astype(np.float32)
    material = Material(
        weights=folder / "weights.safetensors",
        network=network.config,
        recipe=Recipe(input_height=32, input_width=64),
        training=inputs,
        validation=inputs[:12],
        pages=inputs[:12],
        labels=np.arange(12) % 2,
        golden=golden.waveforms()[:3],
        facts=FACTS,
    )
    built = build_bundle(material, folder / "tiny", int8=False).path
    (folder / "weights.safetensors").unlink()
    return _generous(built)


def _generous(path: Path) -> Path:
    """Let every ECG into the domain: random inputs are no training set."""
    from inference.bundle import open_bundle, write_card

    card = dict(open_bundle(path).card)
    wide = {**card["guard"], "bound": 1e9}
    wide["embedding"] = {**wide["embedding"], "bound": 1e9}
    write_card(path, card | {"guard": wide})
    return path


@functools.cache
def tiny_bundle() -> Path:
    """One bundle for the whole session; copy it before changing it."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="tiny-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_bundle(folder)
