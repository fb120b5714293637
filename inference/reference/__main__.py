"""`python -m inference.reference DATA RUN`: train the reference weights.

With `--draw` RUN becomes a bank of examples instead, for the runs of all folds (`--bank`). A run
ends with `held.json`, the scores of its validation and test folds, and `command`, for the card.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from inference.architecture import NetworkConfig
from inference.axes import AXES, variants
from inference.bank import draw
from inference.errors import CohortError
from inference.examples import Examples
from inference.preprocess import Recipe
from inference.reference import recipe
from inference.reference.crossfold import HELD
from inference.train import Progress, Run
from inference.train_config import TrainConfig

_DECISIVE = ("epochs", "batch", "peak_lr", "size", "seed", "device", "test_fold")


def main() -> None:
    """Draw a bank, or train, or go on from the checkpoint in RUN."""
    given = _options()
    cohort = recipe.read(given.data / "ptbxl")
    config = _config(given)
    if given.draw:
        slots = [
            Examples(cohort.slot(slot), config.recipe, config.augment, config.seed)
            for slot in range(given.slots)
        ]
        draw(slots, given.run, given.workers, _drawn)
        return
    parts = cohort.split(given.test_fold)
    drawn = cohort.drawn(given.bank, given.slots, given.test_fold) if given.bank else None
    sizes = [len(each) for each in (parts.training, parts.validation, parts.test)]
    _say(f"records: training {sizes[0]}, validation {sizes[1]}, test {sizes[2]}")
    run = Run(config, recipe.plan(parts, drawn), given.run)
    run.train(_tell)
    held = {name: run.score(getattr(parts, name)) for name in HELD}
    (given.run / "held.json").write_text(json.dumps(held, indent=1))
    (given.run / "command").write_text(_command(given))


def _command(given: argparse.Namespace) -> str:
    """Give the options that decide the weights, for a card: without any path."""
    told = [f"--{name} {shlex.quote(str(getattr(given, name)))}" for name in _DECISIVE]
    files = [f"--{name} {name.upper()}" for name in ("start", "bank") if getattr(given, name)]
    told += [f"--slots {given.slots}"] if given.bank else []
    told += [f"--variant {shlex.quote(given.variant)}"] if given.variant else []
    return " ".join(["python -m inference.reference DATA RUN", *files, *told]).replace("_", "-")


def _config(given: argparse.Namespace) -> TrainConfig:
    height, width = map(int, given.size.split("x"))
    base = TrainConfig(
        epochs=given.epochs,
        batch=given.batch,
        threads=given.threads,
        workers=given.workers,
        device=given.device,
        seed=given.seed,
        peak_lr=given.peak_lr,
        pretrained=given.start,
        network=NetworkConfig(height, width),
        recipe=Recipe(input_height=height, input_width=width),
    )
    made = {name: each for axis in AXES for name, each in variants(base, axis).items()}
    return made[given.variant] if given.variant else base


def _options() -> argparse.Namespace:
    return _parser().parse_args()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inference.reference", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds ptbxl/")
    parser.add_argument("run", type=Path, help="directory of the run; an existing one is resumed")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--peak-lr", type=float, default=5e-4)
    parser.add_argument("--size", default="128x256", help="HEIGHTxWIDTH of the input")
    parser.add_argument("--start", default="", help="safetensors to start from, of any size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw or fetch")
    parser.add_argument("--test-fold", type=int, default=0)
    parser.add_argument("--variant", default="", help="of the ablation grid, by name")
    parser.add_argument("--slots", type=int, default=25, help="of the bank")
    parser.add_argument("--bank", type=Path, help="train on examples that --draw put there")
    parser.add_argument("--draw", action="store_true", help="draw a bank into RUN, for all folds")
    return parser


def _drawn(done: int, count: int) -> None:
    if done % (count // 20) < 64:
        _say(f"drawn {done} of {count}")


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
    try:
        main()
    except CohortError as error:
        sys.exit(f"error: {error}")
