"""Which examples make a batch, in which order, and how many processes draw them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from inference import processes
from inference.examples import Examples, one_thread


class Order(Sampler[list[tuple[int, int]]]):  # type: ignore[misc]
    """Batches of (epoch, place) from a given step to the end of the run, one shuffle an epoch.

    Each of several processes is given its share of every batch.
    """

    def __init__(self, size: int, batch: int, epochs: int, seed: int, start: int = 0) -> None:
        self.size, self.batch, self.epochs, self.seed, self.start = size, batch, epochs, seed, start

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch; the last, smaller batch is dropped (batch norm)."""
        return self.size // self.batch

    def __len__(self) -> int:
        """Count the batches that are left."""
        return self.epochs * self.per_epoch - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Give the batches that are left."""
        for epoch in range(self.start // self.per_epoch, self.epochs):
            order = np.random.default_rng((self.seed, epoch, 7)).permutation(self.size)
            first = self.start % self.per_epoch if epoch == self.start // self.per_epoch else 0
            for step in range(first, self.per_epoch):
                places = order[step * self.batch : (step + 1) * self.batch]
                mine = places[processes.rank() :: processes.count()]
                yield [(epoch, int(place)) for place in mine]


def in_order(examples: Examples, workers: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Draw every source once, in order and in batches."""
    count = len(examples)
    at = [[(0, i) for i in range(k, min(k + 16, count))] for k in range(0, count, 16)]
    yield from DataLoader(
        examples, batch_sampler=at, num_workers=workers, worker_init_fn=one_thread
    )


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def workers_for(device: str) -> int:
    """Give the number of processes that draw, of one process that trains.

    On the CPU the network needs the cores: one. A card outruns a core tenfold: all of this
    process's share of them but one.
    """
    if device == "cpu":
        return 1
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun
    return max(1, cores() // sharing - 1)
