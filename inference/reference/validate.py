"""`python -m inference.reference.validate DATA BUNDLE OUT`: internal and external validation.

Internal: the test fold of `raw`, never seen in training, threshold or parity. External: real paper
pages of another country, cart and paper (Khan et al., Mendeley Data gwbz3fsgp8, CC BY 4.0), and the
waveforms of four other collections (`inference.reference.hospitals`), never trained on (what was
looked at is told in docs/model-card.md). Writes a report of each, and the figures with intervals
into the bundle's card.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.bundle import Bundle, open_bundle, write_card
from inference.cohort import Case, with_digests
from inference.develop import score_sources
from inference.errors import Unscorable
from inference.evaluate import write
from inference.figures import EvaluateConfig, drop, summarise
from inference.forms import Waveform
from inference.outcomes import Outcomes, with_refused
from inference.reference import hospitals, recipe
from inference.reference.hospitals import Labelled
from inference.reference.ptbxl import RATE_HZ
from inference.runtime import load, probability
from inference.score import Scorer
from inference.sources import load_sources

EXTERNAL = f"Khan, Hussain & Malik, Mendeley Data gwbz3fsgp8, CC BY 4.0; {hospitals.ATTRIBUTION}"
COMPARISONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "external": (("mi", "post_mi"), ("normal",)),
    "external-acute": (("mi",), ("normal",)),
    "external-all-controls": (("mi", "post_mi"), ("normal", "abnormal")),
    "external-acute-all-controls": (("mi",), ("normal", "abnormal")),
}
"""Name to classes with and without the outcome; the first is the primary one."""
_KEPT = ("auroc", "auprc", "f1", "f1_at_half", "sensitivity", "specificity")


def internal(data: Path) -> list[Labelled]:
    """Give the records of the internal test fold."""
    sources = recipe.read(data / "ptbxl").split().test
    return [Labelled(s.key, s.label, Waveform(s.record.samples, RATE_HZ)) for s in sources]


def scored(items: Sequence[Labelled], bundle: Bundle) -> Outcomes:
    """Score recordings in fp32 as they are served, with what the guard refuses."""
    scorer = Scorer(bundle, load(bundle, "openvino-fp32"))
    kept, logits, records, refused = [], [], [], []
    for item in items:
        try:
            prepared = scorer.prepare(item.waveform)
            logit, record = scorer.judge(prepared.tracings, prepared.steps.input)
        except Unscorable as error:
            refused.append((error.reason, item.label))
        else:
            kept.append(item)
            logits.append(logit)
            records.append(record)
    keys = [item.key for item in kept]
    return Outcomes(
        labels=np.array([item.label for item in kept]),
        scores=probability(np.array(logits), bundle),
        logits=np.array(logits),
        groups=np.array(keys),
        keys=keys,
        guard=records,
        refused=Counter(reason for reason, _ in refused),
        refused_positive=sum(label for _, label in refused),
    )


def pages(folder: Path, bundle: Bundle) -> dict[str, Outcomes]:
    """Score the pages of each class of the external cohort in fp32."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cases = [
        Case(folder.parent / row["path"], 0, row["header_id"] or row["path"], row=number)
        for number, row in enumerate(rows, start=2)
    ]
    sources, refused = load_sources(with_digests(cases))
    class_of = {f"row {number}": row["class"] for number, row in enumerate(rows, start=2)}
    return {
        name: with_refused(
            score_sources(bundle, [each for each in sources if class_of[each.key] == name]),
            {case: why for case, why in refused.items() if class_of[case.key] == name},
        )
        for name in set(class_of.values())
    }


def compare(seen: Mapping[str, Outcomes], name: str) -> Outcomes:
    """Give one comparison of the external cohort, with what was refused of its classes."""
    with_outcome, without = COMPARISONS[name]
    parts = [seen[each] for each in with_outcome + without]
    ill = sum(seen[each].labels.size for each in with_outcome)
    scores = np.concatenate([part.scores for part in parts])
    return Outcomes(
        labels=(np.arange(scores.size) < ill).astype(int),
        scores=scores,
        logits=np.concatenate([part.logits for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        keys=[key for part in parts for key in part.keys],
        guard=[record for part in parts for record in part.guard],
        refused=sum((Counter(part.refused) for part in parts), Counter()),
        refused_positive=sum(sum(seen[each].refused.values()) for each in with_outcome),
    )


def validate(data: Path, path: Path, out: Path) -> dict[str, Any]:
    """Write all reports; give the headline figures that also go into the card."""
    bundle = open_bundle(path)
    cohorts = {"internal": scored(internal(data), bundle)}
    seen = pages(data / "mendeley", bundle)
    cohorts |= {name: compare(seen, name) for name in COMPARISONS}
    cohorts["external-waveforms"] = scored(hospitals.read(data / "waveforms"), bundle)
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
