"""On a CUDA card: the same weights twice, the CPU's scores, NCCL. Skipped where there is none.

CI has no card. `pytest tests/cuda` on a machine with one; docs/benchmarks.md tells where it ran.
"""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.bundles import random_network  # noqa: E402
from support.servers import free_port  # noqa: E402
from support.training import SMALL, same, small_plan, train_until, weights  # noqa: E402

from inference import processes  # noqa: E402
from inference.checkpoint import exported  # noqa: E402
from inference.network import NetworkConfig  # noqa: E402
from inference.runtime import BOUNDS  # noqa: E402
from inference.runtime.eager import TorchRuntime  # noqa: E402
from inference.train import Run  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here")

ON_CARD = replace(SMALL, device="cuda", bf16=True)


@dataclass(frozen=True)
class Weights:
    """As much of a bundle as a runtime reads of it."""

    network: NetworkConfig
    state: dict[str, Any]

    def weights(self):
        return {name: value.float().numpy() for name, value in self.state.items()}


@pytest.fixture(scope="module")
def plan():
    return small_plan()


def test_the_same_seed_gives_the_same_weights_on_a_card(plan, tmp_path):
    """Twice in bfloat16 with autocast, from drawing to the averaged weights."""
    runs = [Run(ON_CARD, plan, tmp_path / str(number)) for number in range(2)]
    for run in runs:
        run.train()
    assert same(weights(runs[0]), weights(runs[1]))
    assert (tmp_path / "0" / "weights.safetensors").stat().st_size > 40e6


def test_a_stopped_run_goes_on_on_a_card_and_on_the_cpu(plan, tmp_path):
    """A checkpoint of the card resumes on both; on the card it ends where the whole run does."""
    whole = Run(ON_CARD, plan, tmp_path / "whole")
    whole.train()
    train_until(3, Run(ON_CARD, plan, tmp_path / "part"))
    elsewhere = Run(replace(SMALL, bf16=True), plan, tmp_path / "part")
    assert elsewhere.resume()
    assert elsewhere.step == 3
    later = Run(ON_CARD, plan, tmp_path / "part")
    later.train()
    assert same(weights(whole), weights(later))


@pytest.mark.parametrize("size", [1, 8, 33])
def test_a_card_scores_as_the_cpu_does(size):
    """Probabilities within the bound of fp32, in one batch and in several."""
    network = random_network(height=128, width=256)
    bundle = Weights(network.config, exported(network.state_dict()))
    batch = np.random.default_rng(size).random((size, 1, 128, 256), np.float32) ** 8
    on_card, on_cpu = TorchRuntime(bundle), TorchRuntime(bundle, device="cpu")
    assert (on_card.name, on_cpu.name) == ("torch-cuda", "torch")
    one, other = (1 / (1 + np.exp(-each.logits(batch))) for each in (on_card, on_cpu))
    assert np.abs(one - other).max() <= BOUNDS["torch"]


def test_processes_meet_over_nccl(plan, tmp_path, monkeypatch):
    """One process of one: its steps under DistributedDataParallel are those of a lone one."""
    alone = Run(ON_CARD, plan, tmp_path / "alone")
    alone.train()
    told = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
    for name, value in (told | {"MASTER_ADDR": "127.0.0.1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    with processes.joined("cuda"):
        assert torch.distributed.get_backend() == "nccl"
        assert processes.total(torch.ones(2, device="cuda")).tolist() == [1, 1]
        together = Run(ON_CARD, plan, tmp_path / "together")
        assert isinstance(together.both, torch.nn.parallel.DistributedDataParallel)
        together.train()
    assert not torch.distributed.is_initialized()
    for name, value in weights(alone).items():
        assert torch.allclose(value.float(), weights(together)[name].float(), atol=1e-5)


def test_a_card_is_used_by_its_process(monkeypatch):
    """`cuda` is the card of LOCAL_RANK under torchrun."""
    monkeypatch.setattr(processes, "together", lambda: True)
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "0")
    assert processes.device("cuda") == torch.device("cuda:0")
