"""Examples drawn ahead, for a card that learns faster than the cores can draw.

    (slot, source) ── Examples ── BANK/pixels.npy, labels.npy, classes.npy, measures.npy

A slot holds one draw of every source. Runs that share the drawing - folds, losses, places of the
attention - share the bank: each reads the rows of its own sources. When its epochs are more than
the slots, draws come again. A run may begin while the bank is being drawn: it waits for the slot
that it needs. Needs torch.
"""

from __future__ import annotations

import time
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
_DRAWN = "drawn"  # the number of whole slots
_PATIENCE_S = 600.0
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
            CohortError: there is no bank, or it lacks a row or a slot.
        """
        self.drawn = folder / _DRAWN
        try:
            self._ready = int(self.drawn.read_text())
            self.parts = [np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS]
        except (OSError, ValueError) as error:
            raise CohortError(f"{folder} holds no bank: draw it first") from error
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
        if slot >= self._ready:
            self._wait_for(slot)
        return tuple(torch.from_numpy(np.array(part[slot, row])) for part in self.parts)

    def _wait_for(self, slot: int) -> None:
        """Wait until a slot is drawn.

        Raises:
            CohortError: no slot was added for as long as none should take.
        """
        while (ready := int(self.drawn.read_text())) <= slot:
            if time.time() - self.drawn.stat().st_mtime > _PATIENCE_S:
                raise CohortError(
                    f"{self.drawn.parent}: nobody goes on drawing; slot {slot} is missing"
                )
            time.sleep(0.2)
        self._ready = ready


def draw(
    slots: Sequence[Examples],
    folder: Path,
    workers: int = 0,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Draw each slot's examples into `folder`, the first slot first.

    Args:
        slots: all of the same sources; slot s is drawn as epoch s.
        folder: made if it is not there.
        workers: processes that draw.
        tell: told the examples drawn so far and in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _DRAWN).unlink(missing_ok=True)
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
            out = [
                _file(folder, n, len(slots), count, part)
                for n, part in zip(_PARTS, batch, strict=True)
            ]
        slot, first = places[0]
        for held, part in zip(out, batch, strict=True):
            held[slot, first : first + len(places)] = part.numpy()
        done += len(places)
        _say_drawn(folder, done // count)
        tell(done, len(slots) * count)


class _Slots(Dataset[Any]):  # type: ignore[misc]
    """Every slot's examples, by (slot, place)."""

    def __init__(self, slots: Sequence[Examples]) -> None:
        self.slots = slots

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        return self.slots[at[0]][at]


def _say_drawn(folder: Path, slots: int) -> None:
    """Tell the readers how many slots are whole: a new file, then a rename."""
    partial = folder / "drawn.partial"
    partial.write_text(str(slots))
    partial.replace(folder / _DRAWN)


def _file(
    folder: Path, name: str, slots: int, count: int, part: torch.Tensor
) -> np.memmap[Any, Any]:
    """Open the file of one part for writing."""
    shape = (slots, count, *part.shape[1:])
    return open_memmap(folder / f"{name}.npy", "w+", part.numpy().dtype, shape)
