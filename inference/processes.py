"""The processes of one training: this one alone, or as many as `torchrun` starts.

Each takes its share of every batch and holds the same weights; gradients are averaged over all of
them (NCCL on CUDA cards, gloo on CPUs). The first one, rank 0, writes and reports. Needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from inference.errors import RuntimeMissing
from inference.runtime import vino

_PATIENCE = timedelta(hours=2)  # the others wait while the first one validates


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the processes that `torchrun` started, if it did, until the end."""
    started = "WORLD_SIZE" in os.environ
    if started:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    finally:
        if started:
            distributed.destroy_process_group()


def together() -> bool:
    """Tell whether this is one of `torchrun`'s processes, be it the only one."""
    return bool(distributed.is_initialized())


def rank() -> int:
    """Give this process's number, from 0."""
    return distributed.get_rank() if together() else 0


def count() -> int:
    """Count the processes of this training."""
    return distributed.get_world_size() if together() else 1


def device(name: str) -> torch.device:
    """Give the device of that name; `cuda` is this process's own card.

    Raises:
        RuntimeMissing: there is no CUDA card that this torch can use.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeMissing("--device cuda: this torch sees no CUDA card; use --device cpu")
    if name.startswith("cuda:") and int(name[5:]) >= torch.cuda.device_count():
        raise RuntimeMissing(f"--device {name}: there are {torch.cuda.device_count()} CUDA cards")
    if name == "cuda" and together():
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(name)


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16; where it is emulated, a step takes ten times."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return vino.has_bf16()


def repeatable() -> None:
    """Let CUDA use no kernel whose sums come in another order each time, nor TF32 for fp32."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True)


def total(counts: Tensor) -> Tensor:
    """Add up a tensor over all processes."""
    if together():
        distributed.all_reduce(counts)
    return counts
