"""`python -m inference.reference.validate DATA BUNDLE OUT`: internal and external validation.

Internal: the test fold of `raw`, never seen in training, threshold or parity. External: real paper
pages of another country, cart and paper (Khan et al., Mendeley Data gwbz3fsgp8, CC BY 4.0), never
trained on (what was looked at is told in docs/model-card.md). Writes a report of each and the
figures with intervals into the bundle's card.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.bundle import Bundle, open_bundle, write_card
from inference.cohort import Case, with_digests
from inference.develop import score_sources
from inference.evaluate import EvaluateConfig, drop, summarise, write
from inference.metrics import Array
from inference.outcomes import Outcomes
from inference.reference import recipe
from inference.reference.make import inputs
from inference.runtime import load, probability
from inference.sources import load_sources

EXTERNAL = "Khan, Hussain & Malik, Mendeley Data gwbz3fsgp8, CC BY 4.0"
COMPARISONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "external": (("mi", "post_mi"), ("normal",)),
    "external-acute": (("mi",), ("normal",)),
    "external-all-controls": (("mi", "post_mi"), ("normal", "abnormal")),
    "external-acute-all-controls": (("mi",), ("normal", "abnormal")),
}
"""Name to classes with and without the outcome; the first is the primary one."""
_KEPT = ("auroc", "auprc", "f1", "f1_at_half", "sensitivity", "specificity")


@dataclass(frozen=True, slots=True, eq=False)
class Pages:
    """Scored pages of the external cohort, with their classes."""

    outcomes: Outcomes
    classes: Array
    refused: Mapping[str, int]


def internal(data: Path, bundle: Bundle) -> Outcomes:
    """Score the internal test fold in fp32."""
    sources = recipe.read(data / "ptbxl").split().test
    logits = load(bundle, "openvino-fp32").logits(inputs(sources, bundle.recipe)[:, None])
    keys = [source.key for source in sources]
    return Outcomes(
        labels=np.array([source.label for source in sources]),
        scores=probability(logits, bundle),
        logits=logits,
        groups=np.array(keys),
        keys=keys,
    )


def pages(folder: Path, bundle: Bundle) -> Pages:
    """Score every page of the external cohort in fp32."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cases = [
        Case(folder.parent / row["path"], 0, row["header_id"] or row["path"], row=number)
        for number, row in enumerate(rows, start=2)
    ]
    sources, refused = load_sources(with_digests(cases))
    outcomes = score_sources(bundle, sources)
    classes = np.array([rows[int(key.split()[1]) - 2]["class"] for key in outcomes.keys])
    told = dict(Counter(refused.values()) + Counter(outcomes.refused))
    return Pages(outcomes, classes, told)


def compare(seen: Pages, name: str) -> Outcomes:
    """Give one comparison of the external cohort."""
    with_outcome, without = COMPARISONS[name]
    chosen = np.isin(seen.classes, with_outcome + without)
    all_of = seen.outcomes
    return Outcomes(
        labels=np.isin(seen.classes[chosen], with_outcome).astype(int),
        scores=all_of.scores[chosen],
        logits=all_of.logits[chosen],
        groups=all_of.groups[chosen],
        keys=[key for key, kept in zip(all_of.keys, chosen, strict=True) if kept],
        refused=dict(seen.refused),
    )


def validate(data: Path, path: Path, out: Path) -> dict[str, Any]:
    """Write all reports; give the headline figures that also go into the card."""
    bundle = open_bundle(path)
    cohorts = {"internal": internal(data, bundle)}
    seen = pages(data / "mendeley", bundle)
    cohorts |= {name: compare(seen, name) for name in COMPARISONS}
    figures, first = {}, None
    for name, outcomes in cohorts.items():
        title = f"{bundle.name} {bundle.version}: {name}"
        results = summarise(outcomes, bundle, EvaluateConfig(title=title, draws=2000))
        first = first or results
        if name != "internal":
            results["drop"] = drop(first, results)
        write(results, outcomes, out / name)
        figures[name] = _headline(results)
    card = dict(bundle.card) | {"results": figures | {"external_data": EXTERNAL}}
    write_card(path, card)
    return figures


def _headline(results: Mapping[str, Any]) -> dict[str, Any]:
    """Give n and each metric with its interval, rounded, as TOML can hold them."""
    told: dict[str, Any] = {
        "ecgs": results["cohort"]["ecgs"],
        "positive": results["cohort"]["positive"],
        "all_positive_f1": round(results["baselines"]["all_positive_f1"], 4),
    }
    for name in _KEPT:
        told[name] = [round(value, 4) for value in results["metrics"][name] if value is not None]
    return told


def main() -> None:
    """Validate and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.reference.validate", description=__doc__
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    for name, figures in validate(given.data, given.bundle, given.out).items():
        sys.stdout.write(f"{name}: {figures}\n")


if __name__ == "__main__":
    main()
