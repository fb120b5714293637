"""A training small enough for a test; as a program, one of several processes that share it.

`python -m support.training OUT` trains and prints what it was told and a digest of the weights.
"""

import contextlib
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from inference import processes
from inference.examples import Drawn
from inference.network import NetworkConfig
from inference.preprocess import Recipe
from inference.simulate import simulate
from inference.tracings import cut
from inference.train import Plan, Run
from inference.train_config import TrainConfig

SMALL = TrainConfig(
    epochs=2,
    batch=4,
    workers=0,
    threads=1,
    bf16=False,
    network=NetworkConfig(32, 64),
    recipe=Recipe(input_height=32, input_width=64),
)


@dataclass(frozen=True)
class Simulated:
    """A source of one simulated ECG, with one unknown and one known auxiliary target each."""

    number: int

    @property
    def key(self):
        return str(self.number)

    @property
    def label(self):
        return self.number % 2

    def draw(self, config, rng):
        kind = "stemi-anterior" if self.label else "normal"
        tracings = cut(simulate(kind, self.number, rate_hz=250.0))
        classes = np.array([self.label, np.nan], np.float32)
        return Drawn(tracings, float(self.label), classes, np.array([0.5], np.float32))


def small_plan():
    """Twelve ECGs to train on and six to validate."""
    return Plan([Simulated(n) for n in range(12)], [Simulated(n) for n in range(20, 26)], 2, 1)


def weights(run):
    """The averaged weights by name."""
    return {name: value.cpu().clone() for name, value in run.average.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


class Stopped(Exception):
    pass


def train_until(step: int, run: Run) -> None:
    """Train up to a step, which is kept, and no further."""

    def stop(progress):
        if progress.step == step:
            raise Stopped

    with contextlib.suppress(Stopped):
        run.train(stop)
    assert run.step == step
    run.save()


def main(out: Path) -> None:
    """Train in one process of several."""
    told = []
    with processes.joined("cpu"):
        run = Run(SMALL, small_plan(), out)
        run.train(lambda progress: told.append(progress.step))
        held = b"".join(each.detach().numpy().tobytes() for each in run.network.parameters())
    print(json.dumps({"told": told, "weights": hashlib.sha256(held).hexdigest()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
