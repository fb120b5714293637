"""Examples drawn ahead, for a card that learns faster than the cores can draw.

    (slot, source) ── Examples ── BANK/pixels.npy, labels.npy, classes.npy, measures.npy

A slot holds one draw of every source. Runs that share the drawing - folds, losses, places of the
attention - share the bank: each reads the rows of its own sources. When its epochs are more than
the slots, draws come again. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.utils.data import DataLoader, Dataset

from inference.errors import CohortError
from inference.examples import Examples, one_thread

_PARTS = ("pixels", "labels", "classes", "measures")
_BATCH = 64


class Bank(Dataset[Any]):  # type: ignore[misc]
    """The examples of some sources, indexed like `Examples` by (epoch, place)."""

    def __init__(self, folder: Path, places: Sequence[int], slots: Sequence[int]) -> None:
        """Open a bank.

        Args:
            folder: where `draw` put it.
            places: the rows of the sources that are read, in their order.
            slots: the slots that are used, one an epoch, over and over.

        Raises:
            CohortError: there is no whole bank, or it lacks a row or a slot.
        """
        try:
            self.parts = [np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS]
        except (OSError, ValueError) as error:
            raise CohortError(f"{folder} holds no whole bank: draw it first") from error
        held_slots, held = self.parts[0].shape[:2]
        if not slots or max(slots) >= held_slots or (len(places) and max(places) >= held):
            raise CohortError(f"{folder} holds {held} sources in {held_slots} slots only")
        self.places, self.slots = list(places), list(slots)

    def __len__(self) -> int:
        """Count the sources."""
        return len(self.places)

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        """Give (1, H, W) uint8 input, 255 = all trace, label, classes and measures."""
        epoch, place = at
        slot, row = self.slots[epoch % len(self.slots)], self.places[place]
        return tuple(torch.from_numpy(np.array(part[slot, row])) for part in self.parts)


def draw(
    slots: Sequence[Examples],
    folder: Path,
    workers: int = 0,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Draw each slot's examples into `folder`; the last file appears when all is there.

    Args:
        slots: all of the same sources; slot s is drawn as epoch s.
        folder: made if it is not there.
        workers: processes that draw.
        tell: told the examples drawn so far and in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = len(slots[0])
    at = [
        [(slot, place) for place in range(first, min(first + _BATCH, count))]
        for slot in range(len(slots))
        for first in range(0, count, _BATCH)
    ]
    loader = DataLoader(
        _Slots(slots), batch_sampler=at, num_workers=workers, worker_init_fn=one_thread
    )
    out: list[np.memmap[Any, Any]] = []
    done = 0
    for batch, places in zip(loader, at, strict=True):
        if not out:
            out = [_file(folder, k, len(slots), count, part) for k, part in enumerate(batch)]
        slot, first = places[0]
        for held, part in zip(out, batch, strict=True):
            held[slot, first : first + len(places)] = part.numpy()
        done += len(places)
        tell(done, len(slots) * count)
    for held in out:
        held.flush()
    (folder / "drawing.npy").rename(folder / "pixels.npy")


class _Slots(Dataset[Any]):  # type: ignore[misc]
    """Every slot's examples, by (slot, place)."""

    def __init__(self, slots: Sequence[Examples]) -> None:
        self.slots = slots

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        return self.slots[at[0]][at]


def _file(
    folder: Path, number: int, slots: int, count: int, part: torch.Tensor
) -> np.memmap[Any, Any]:
    """Open one part for writing; the pixels get their name when they are whole."""
    name = _PARTS[number] if number else "drawing"
    shape = (slots, count, *part.shape[1:])
    return open_memmap(folder / f"{name}.npy", "w+", part.numpy().dtype, shape)
