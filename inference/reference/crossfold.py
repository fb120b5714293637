"""`python -m inference.reference.crossfold DATA RUN... [--out FILE]`: figures over all of `raw`.

One run a fold, in order. Each network scores the fold that it never saw; calibration map and
threshold come from its own validation fold. Pooled, every record of `raw` is scored once.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference import augment, metrics
from inference.examples import Examples
from inference.metrics import Array
from inference.network import NetworkConfig, build, load_pretrained
from inference.preprocess import Recipe
from inference.reference import recipe
from inference.reference.sources import PtbxlSource
from inference.train import TrainConfig, predict


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """What one network says of its test fold.

    Attributes:
        keys, labels: (n,) records and outcomes.
        chances: (n,) probabilities, calibrated on the validation fold.
        said: (n,) 1 where the chance reaches the validation fold's threshold of the highest F1.
    """

    keys: Array
    labels: Array
    chances: Array
    said: Array


def score_fold(data: Path, run: Path, number: int) -> Fold:
    """Score test fold `number` with RUN's weights."""
    trained = json.loads((run / "config.json").read_text())
    network = build(NetworkConfig.of(trained["network"] | {"auxiliary": 0}))
    load_pretrained(network, run / "weights.safetensors")
    network.eval()
    config = TrainConfig(recipe=Recipe.from_table(trained["recipe"]), workers=0, bf16=False)
    parts = recipe.split(data / "ptbxl", number)

    def logits(sources: list[PtbxlSource]) -> Array:
        drawn = Examples(sources, config.recipe, augment.NONE)
        said: Array = predict(network, drawn, config)
        return said

    known = np.array([source.label for source in parts.validation])
    seen = logits(parts.validation)
    slope, intercept = metrics.calibration_line(known, seen)
    threshold = metrics.best_f1_threshold(known, _chance(seen, slope, intercept))
    chances = _chance(logits(parts.test), slope, intercept)
    return Fold(
        keys=np.array([source.key for source in parts.test]),
        labels=np.array([source.label for source in parts.test]),
        chances=chances,
        said=(chances >= threshold).astype(int),
    )


def _chance(logits: Array, slope: float, intercept: float) -> Array:
    return 1 / (1 + np.exp(-(slope * logits + intercept)))


def summarise(folds: list[Fold], draws: int = 2000) -> dict[str, Any]:
    """Give each fold's AUROC and the pooled figures with 95 % intervals, drawn by record."""
    keys, labels, chances, said = (
        np.concatenate([getattr(fold, name) for fold in folds])
        for name in ("keys", "labels", "chances", "said")
    )
    ranked = {"auroc": metrics.auroc, "auprc": metrics.auprc}
    decided = {
        name: lambda truth, calls, name=name: metrics.at_threshold(truth, calls, 0.5)[name]
        for name in ("f1", "sensitivity", "specificity")
    }
    figures = metrics.bootstrap(labels, chances, keys, ranked, draws=draws)
    figures |= metrics.bootstrap(labels, said, keys, decided, draws=draws)
    return {
        "ecgs": int(labels.size),
        "positive": int(labels.sum()),
        "all_positive_f1": round(metrics.all_positive_f1(float(labels.mean())), 4),
        "folds_auroc": [round(metrics.auroc(fold.labels, fold.chances), 4) for fold in folds],
        **{name: [round(value, 4) for value in figure] for name, figure in figures.items()},
    }


def main() -> None:
    """Score every fold and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.reference.crossfold", description=__doc__
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="directories of the runs, fold 0 first")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    given = parser.parse_args()
    folds = [score_fold(given.data, run, number) for number, run in enumerate(given.runs)]
    told = json.dumps(summarise(folds), indent=1)
    sys.stdout.write(told + "\n")
    if given.out:
        given.out.write_text(told + "\n")


if __name__ == "__main__":
    main()
