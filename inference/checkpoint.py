"""What a training run keeps on the disk so that it can go on: `checkpoint.pt` and its weights.

The checkpoint holds tensors only and is read with `weights_only`. Both are a new file and then a
rename: a run that is killed while writing keeps the one before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from inference.errors import CohortError

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
_COPIES = 4  # of the network in a checkpoint: its own, averaged, and AdamW's two moments


def write(out: Path, held: dict[str, Any], averaged: dict[str, Tensor]) -> None:
    """Write the averaged weights, then `held` as the run's checkpoint of the same step.

    A run that is killed between the two goes on from the checkpoint before and writes both again.
    """
    _replace(out / WEIGHTS, lambda path: save_file(exported(averaged), path))
    _replace(out / CHECKPOINT, lambda path: torch.save(held, path))


def _replace(path: Path, write_to: Callable[[Path], None]) -> None:
    partial = path.with_suffix(".partial")
    try:
        write_to(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(out: Path, device: torch.device) -> dict[str, Any] | None:
    """Give what `write` held; None where the run has no checkpoint."""
    path = out / CHECKPOINT
    if not path.exists():
        return None
    held: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return held


def check_room_for(network: nn.Module, out: Path) -> None:
    """Refuse a run whose checkpoints would fill the disk: the kept one and the next.

    Raises:
        CohortError: telling both sizes.
    """
    once: int = _COPIES * sum(p.numel() * p.element_size() for p in network.parameters())
    kept = out / CHECKPOINT
    there = kept.stat().st_size if kept.exists() else 0
    check_room(out, 2 * once - there, "checkpoints")


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
