"""`python -m inference.reference DATA RUN [--epochs N]`: train the reference weights."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from inference.architecture import NetworkConfig
from inference.preprocess import Recipe
from inference.reference import recipe
from inference.train import Progress, Run


def main() -> None:
    """Train, or go on from the checkpoint in RUN."""
    given = _options()
    folder = given.data / "ptbxl"
    parts = recipe.pretraining(folder) if given.pretrain else recipe.split(folder, given.test_fold)
    height, _, width = given.size.partition("x")
    config = recipe.config(
        given.epochs,
        batch=given.batch,
        threads=given.threads,
        peak_lr=given.peak_lr,
        pretrained=given.start,
        network=NetworkConfig(int(height), int(width)),
        recipe=Recipe(input_height=int(height), input_width=int(width)),
    )
    sizes = [len(each) for each in (parts.training, parts.validation, parts.test)]
    _say(f"records: training {sizes[0]}, validation {sizes[1]}, test {sizes[2]}")
    Run(config, recipe.plan(parts), given.run).train(_tell)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m inference.reference", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds ptbxl/")
    parser.add_argument("run", type=Path, help="directory of the run; an existing one is resumed")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peak-lr", type=float, default=5e-4)
    parser.add_argument("--size", default="128x256", help="HEIGHTxWIDTH of the input")
    parser.add_argument("--start", default="", help="safetensors to start from, of any size")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--test-fold", type=int, default=0)
    parser.add_argument("--pretrain", action="store_true", help="on what no fold of `raw` holds")
    return parser.parse_args()


def _tell(p: Progress) -> None:
    _say(
        f"epoch {p.epoch}/{p.epochs} step {p.step}/{p.steps} loss {p.loss:.4f} "
        f"{p.images_per_s:.1f} images/s data wait {p.wait_share:.0%} "
        f"ETA {p.eta_s / 60:.0f} min"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
