"""How fast a network learns and whether it waits for its data.

Usage: python benchmarks/training.py [--device cuda] [--batch N] [--workers N] [--seconds S]
Simulated ECGs. Images per second of drawing on one core and on all workers, of the network with
its inputs at hand, and of a whole training, drawn anew and from a bank, with its wait for data.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from inference import bank, processes
from inference.augment import AugmentConfig, waveform
from inference.batches import Order
from inference.beats import r_peaks
from inference.examples import NO_TARGETS, Drawn, Examples, one_thread
from inference.simulate import simulate
from inference.sources import columns
from inference.train import Plan, Progress, Run
from inference.train_config import TrainConfig

RATE_HZ = 250.0
SOURCES = 256


@dataclass(frozen=True)
class Simulated:
    """A simulated ECG, drawn with every augmentation."""

    number: int
    samples: np.ndarray = field(repr=False, compare=False)

    key = property(lambda self: str(self.number))
    label = property(lambda self: self.number % 2)

    def draw(self, config: AugmentConfig, rng: np.random.Generator) -> Drawn:
        """Draw it once."""
        samples, _ = waveform(self.samples, r_peaks(self.samples, RATE_HZ), RATE_HZ, config, rng)
        return Drawn(columns(samples), float(self.label), NO_TARGETS, NO_TARGETS)


def sources() -> list[Simulated]:
    kinds = ("normal", "stemi-anterior")
    return [
        Simulated(n, simulate(kinds[n % 2], n, rate_hz=RATE_HZ).samples_mv) for n in range(SOURCES)
    ]


def rate(batches: Iterator, batch: int, seconds: float) -> float:
    """Images per second of an endless loader, after one batch of each worker."""
    for _ in range(4):
        next(batches)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
        count += batch
    return count / (time.perf_counter() - began)


def drawing(examples: Examples, options: argparse.Namespace, workers: int) -> float:
    order = Order(SOURCES, options.batch, 10_000, 1)
    loader = DataLoader(
        examples,
        batch_sampler=order,
        num_workers=workers,
        worker_init_fn=one_thread,
        prefetch_factor=4 if workers else None,
    )
    return rate(iter(loader), options.batch, options.seconds)


def stepping(run: Run, options: argparse.Namespace) -> float:
    """Images per second of the network alone, its inputs at hand."""
    examples = [run.plan.training[n % SOURCES] for n in range(options.batch)]
    drawn = Examples(examples, run.config.recipe, run.config.augment)
    batch = [
        torch.stack(part) for part in zip(*(drawn[0, n] for n in range(len(drawn))), strict=True)
    ]
    for _ in range(3):
        run.learn(batch)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < options.seconds:
        float(run.learn(batch))
        count += options.batch
    return count / (time.perf_counter() - began)


def whole(config: TrainConfig, plan: Plan, out: Path) -> tuple[float, float]:
    """Images per second and share of waiting of a training, its first fifth left out."""
    told: list[Progress] = []
    Run(config, plan, out).train(told.append)
    late = told[len(told) // 5 :]
    spent = sum(1 / each.images_per_s for each in late)
    waits = sum(each.wait_share / each.images_per_s for each in late)
    return len(late) / spent, waits / spent


def row(name: str, speed: float, wait: str = "") -> None:
    print(f"| {name} | {speed:.1f} | {wait} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="per row")
    options = parser.parse_args()
    config = TrainConfig(
        batch=options.batch, device=options.device, workers=options.workers, checkpoint_minutes=99
    )
    made = sources()
    plan = Plan(made, made[:2])
    examples = Examples(plan.training, config.recipe, config.augment, config.seed)
    precision = "bf16" if processes.has_bf16(processes.device(options.device)) else "fp32"
    print(f"{options.device}, {precision}, batch {options.batch}, {options.workers} workers\n")
    print("| what | images/s | waits for data |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        row("drawing, one core", drawing(examples, options, 0))
        row(f"drawing, {options.workers} workers", drawing(examples, options, options.workers))
        speed = stepping(Run(config, plan, out / "steps"), options)
        row("network, inputs at hand", speed)
        epochs = max(2, round(options.seconds * speed / SOURCES))
        config = replace(config, epochs=epochs)
        taken, wait = whole(config, plan, out / "anew")
        row("training, drawn anew", taken, f"{wait:.0%}")
        bank.draw([examples, examples], out / "bank", options.workers)
        ahead = replace(plan, drawn=bank.Bank(out / "bank", range(SOURCES), [0, 1]))
        taken, wait = whole(config, ahead, out / "ahead")
        row("training, drawn ahead", taken, f"{wait:.0%}")


if __name__ == "__main__":
    main()
