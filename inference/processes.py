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

_PATIENCE = timedelta(hours=2)  # the others wait while the first one validates


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the other processes of this training, if `torchrun` started any, until the end."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    finally:
        if several:
            distributed.destroy_process_group()


def rank() -> int:
    """Give this process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """Count the processes of this training."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device(name: str) -> torch.device:
    """Give the device of that name; `cuda` is this process's own card.

    Raises:
        RuntimeMissing: there is no CUDA card that this torch can use.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeMissing("--device cuda: this torch sees no CUDA card; use --device cpu")
    if name == "cuda" and count() > 1:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(name)


def total(counts: Tensor) -> Tensor:
    """Add up a tensor over all processes."""
    if count() > 1:
        distributed.all_reduce(counts)
    return counts
