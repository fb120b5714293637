"""`python -m inference.reference.crossfold RUN... [--out FILE]`: figures over all of `raw`.

One run a fold. Each network has scored the fold that it never saw (RUN/held.json); calibration map
and threshold come from its own validation fold. Pooled, every record of `raw` is scored once.

With `--base RUN` the runs are variants of that one on the same split instead: their AUROC and AUPRC
over all that neither trained on, validation and test, and their differences from the base's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference import metrics
from inference.figures import Metric
from inference.metrics import Array

HELD = ("validation", "test")
"""The parts of a split that a run scores when it is done."""
_RANKED: dict[str, Metric] = {"auroc": metrics.auroc, "auprc": metrics.auprc}


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


def held_of(run: Path, part: str) -> tuple[Array, Array, Array]:
    """Give keys, labels and logits, each (n,), of a part that a finished run has scored."""
    told = json.loads((run / "held.json").read_text())[part]
    labels, logits = zip(*told.values(), strict=True)
    return np.array(list(told)), np.array(labels), np.array(logits)


def fold_of(run: Path) -> Fold:
    """Judge a run's test fold by its validation fold."""
    _, known, seen = held_of(run, "validation")
    slope, intercept = metrics.calibration_line(known, seen)
    threshold = metrics.best_f1_threshold(known, _chance(seen, slope, intercept))
    keys, labels, logits = held_of(run, "test")
    chances = _chance(logits, slope, intercept)
    return Fold(keys, labels, chances, said=(chances >= threshold).astype(int))


def _chance(logits: Array, slope: float, intercept: float) -> Array:
    return 1 / (1 + np.exp(-(slope * logits + intercept)))


def summarise(folds: list[Fold], draws: int = 2000) -> dict[str, Any]:
    """Give each fold's AUROC and the pooled figures with 95 % intervals, drawn by record."""
    keys, labels, chances, said = (
        np.concatenate([getattr(fold, name) for fold in folds])
        for name in ("keys", "labels", "chances", "said")
    )
    decided = {
        name: lambda truth, calls, name=name: metrics.at_threshold(truth, calls, 0.5)[name]
        for name in ("f1", "sensitivity", "specificity")
    }
    figures = metrics.bootstrap(labels, chances, keys, _RANKED, draws=draws)
    figures |= metrics.bootstrap(labels, said, keys, decided, draws=draws)
    return {
        "ecgs": int(labels.size),
        "positive": int(labels.sum()),
        "all_positive_f1": round(metrics.all_positive_f1(float(labels.mean())), 4),
        "folds_auroc": [round(metrics.auroc(fold.labels, fold.chances), 4) for fold in folds],
        **{name: [round(value, 4) for value in figure] for name, figure in figures.items()},
    }


def compare(base: Path, runs: Sequence[Path], draws: int = 2000) -> dict[str, Any]:
    """Give each run's figures on what no run of this split trained on, and those less the base's.

    Raises:
        ValueError: a run has held out other records than the base.
    """
    keys, labels, first = _all_held(base)
    out: dict[str, Any] = {}
    for run in (base, *runs):
        its_keys, _, logits = _all_held(run)
        if not np.array_equal(its_keys, keys):
            raise ValueError(f"{run.name} is of another split than {base.name}")
        both = np.stack((logits, first), 1)  # (n, 2)
        wanted = {
            **{name: lambda truth, of, f=f: f(truth, of[:, 0]) for name, f in _RANKED.items()},
            **{
                f"{name}_less_base": lambda truth, of, f=f: f(truth, of[:, 0]) - f(truth, of[:, 1])
                for name, f in _RANKED.items()
            },
        }
        found = metrics.bootstrap(labels, both, keys, wanted, draws=draws)
        out[run.name] = {name: [round(v, 4) for v in figure] for name, figure in found.items()}
    return {"ecgs": int(labels.size), "positive": int(labels.sum()), "runs": out}


def _all_held(run: Path) -> tuple[Array, ...]:
    parts = [held_of(run, part) for part in HELD]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.reference.crossfold", description=__doc__
    )
    parser.add_argument("runs", type=Path, nargs="+", help="directories of the runs")
    parser.add_argument("--base", type=Path, help="the run that they are variants of")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    given = parser.parse_args()
    if given.base:
        figures = compare(given.base, given.runs)
    else:
        figures = summarise([fold_of(run) for run in given.runs])
    told = json.dumps(figures, indent=1)
    sys.stdout.write(told + "\n")
    if given.out:
        given.out.write_text(told + "\n")


if __name__ == "__main__":
    main()
