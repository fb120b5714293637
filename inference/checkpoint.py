"""What a training run keeps on the disk so that it can go on: `checkpoint.pt` and its weights.

The checkpoint holds tensors only and is read with `weights_only`; it is a new file and then a
rename, so that a run killed while writing keeps the one before.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from inference.errors import CohortError

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
_COPIES = 4  # of the network in a checkpoint: its own, averaged, and AdamW's two moments


def write(out: Path, held: dict[str, Any], averaged: dict[str, Tensor]) -> None:
    """Write `held` as the run's checkpoint, and the averaged weights of the same step."""
    partial = out / "checkpoint.partial"
    torch.save(held, partial)
    partial.replace(out / CHECKPOINT)
    (out / WEIGHTS).write_bytes(save(exported(averaged)))


def read(out: Path, device: torch.device) -> dict[str, Any] | None:
    """Give what `write` held; None where the run has no checkpoint."""
    path = out / CHECKPOINT
    if not path.exists():
        return None
    held: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return held


def bytes_of(network: nn.Module) -> int:
    """Give the room that the checkpoints of a network take: the kept one and the next."""
    once: int = sum(p.numel() * p.element_size() for p in network.parameters())
    return 2 * _COPIES * once


def check_room(folder: Path, needed: int, what: str) -> None:
    """Refuse what would fill the disk of `folder`, before the work is done.

    Raises:
        CohortError: telling both sizes.
    """
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        raise CohortError(
            f"{what} need {needed / 1e9:.1f} GB and the disk of {folder} has {free / 1e9:.1f} GB "
            "free; make room, or name a directory on another disk"
        )


def exported(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give what a bundle keeps: fp16 matrices and kernels, fp32 vectors, no auxiliary head."""
    kept = {
        name: value.detach().cpu().contiguous()
        for name, value in state.items()
        if not name.startswith("auxiliary.") and not name.endswith("num_batches_tracked")
    }
    return {name: v.half() if v.ndim > 1 else v.float() for name, v in kept.items()}
