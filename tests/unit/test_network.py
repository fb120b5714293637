"""The network against its definition and hand-worked numbers."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from safetensors.torch import save_file  # noqa: E402

from inference.errors import CohortError  # noqa: E402
from inference.network import NetworkConfig, SpatialAttention, build, load_pretrained  # noqa: E402

RESNET50_BODY = 23_508_032  # parameters of torchvision's resnet50 without its fc
SMALL = {"height": 32, "width": 64}


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_it_is_resnet50_with_a_one_channel_stem_and_three_gates():
    """Body - two thirds of the stem + three 7x7x2 gates + a head of 2048 + 1."""
    stem_less = 2 * 64 * 49
    assert count(build()) == RESNET50_BODY - stem_less + 3 * 98 + 2049


@pytest.mark.parametrize("places", [(), (1, 2, 3), (1, 2, 3, 4), (2,)])
def test_the_attention_positions_are_configuration(places):
    """A gate exists, and gives its map, exactly where it was asked for."""
    network = build(NetworkConfig(sa_after=places, **SMALL)).eval()
    maps = {}
    network.feature_map(torch.rand(1, 1, 32, 64), maps)
    assert tuple(maps) == places
    for number, gate in maps.items():
        assert gate.shape == (1, 1, 8 >> (number - 1), 16 >> (number - 1))


def test_the_gate_by_hand():
    """With a kernel of 1 and weights (2, -1): M = sigmoid(2 mean - max) at each pixel."""
    block = SpatialAttention("multiply", 1)
    block.conv.weight.data = torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1)
    x = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)  # mean 2, max 3: M = sigmoid(1)
    gate = 1 / (1 + math.exp(-1))
    assert block(x).flatten().tolist() == pytest.approx([gate, 3 * gate])
    block.gate = "residual"
    assert block(x).flatten().tolist() == pytest.approx([1 + gate, 3 * (1 + gate)])


def test_the_gate_sees_seven_pixels_around_and_no_bias():
    """A single lit pixel moves the map within 3 pixels only; darkness gives one half."""
    block = SpatialAttention()
    x = torch.zeros(1, 4, 15, 15)
    x[0, 0, 7, 7] = 1
    moved = (block.map(x)[0, 0] - 0.5).abs() > 1e-7
    assert moved[4:11, 4:11].any()
    moved[4:11, 4:11] = False
    assert not moved.any()


def test_one_logit_per_image_and_an_auxiliary_head_for_training():
    """Shapes of both outputs; the endpoint's logits are the same on either way."""
    network = build(NetworkConfig(auxiliary=5, **SMALL)).eval()
    x = torch.rand(3, 1, 32, 64)
    logits, extra = network.both(x)
    assert logits.shape == (3,)
    assert extra.shape == (3, 5)
    assert torch.allclose(network(x), logits)


def test_a_three_channel_checkpoint_can_be_given(tmp_path):
    """Stem summed over colours, head of 1000 classes left fresh."""
    network = build(NetworkConfig(**SMALL))
    stem = torch.rand(64, 3, 7, 7)
    save_file({"conv1.weight": stem, "fc.weight": torch.rand(1000, 2048)}, tmp_path / "r.st")
    left = load_pretrained(network, tmp_path / "r.st")
    assert torch.allclose(network.conv1.weight, stem.sum(1, keepdim=True))
    assert "fc.weight" in left


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    """Nothing fits: an error, not a silent fresh start."""
    save_file({"encoder.weight": torch.rand(3)}, tmp_path / "x.st")
    with pytest.raises(CohortError, match="no weight"):
        load_pretrained(build(NetworkConfig(**SMALL)), tmp_path / "x.st")


@pytest.mark.parametrize("bad", [{"sa_after": (5,)}, {"gate": "add"}, {"sa_kernel": 4}])
def test_configurations_that_cannot_be_built_are_refused(bad):
    """Before any tensor is made."""
    with pytest.raises(ValueError):
        NetworkConfig(**bad)
    assert NetworkConfig.of(NetworkConfig().document()) == NetworkConfig()
