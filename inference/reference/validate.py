"""`python -m inference.reference.validate DATA BUNDLE OUT`: internal and external validation.

Internal: the test fold of `raw`, never seen in training, threshold or parity. External: real paper
pages of another country, cart and paper (Khan et al., Mendeley Data gwbz3fsgp8, CC BY 4.0), and the
waveforms of four other collections (`inference.reference.hospitals`), never trained on (what was
looked at is told in docs/model-card.md). Writes a report of each, and the figures with intervals
into the bundle's card. PPV, NPV and alerts a day are restated at the prevalence that a report takes
for an emergency department's; they are the stand-in endpoint's, like all others.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from inference.outcomes import Outcomes, with_pictures, with_refused, worst
from inference.reference import hospitals, recipe
from inference.reference.hospitals import Labelled
from inference.reference.ptbxl import RATE_HZ
from inference.render import Style, page
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
OUTCOME = ("mi", "post_mi")
"""Classes of pages that have the outcome in every comparison that counts them."""
_KEPT = ("auroc", "auprc", "f1", "f1_at_half", "sensitivity", "specificity")
_REAL = ("ppv", "npv", "alerts_per_day")
_DROP = ("auroc", "f1", "sensitivity", "specificity")
_PAGE = Style(px_per_mm=5)


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
    outcomes = Outcomes(
        labels=np.array([item.label for item in kept]),
        scores=probability(np.array(logits), bundle),
        logits=np.array(logits),
        groups=np.array(keys),
        strata={
            "site": np.array([item.site for item in kept]),
            "format": np.array([item.waveform.facts.get("format", "") for item in kept]),
        },
        keys=keys,
        guard=records,
        refused=Counter(reason for reason, _ in refused),
        refused_positive=sum(label for _, label in refused),
    )
    shown = [kept[place] for place in worst(outcomes, bundle.threshold)]
    return replace(outcomes, pictures={item.key: page(item.waveform, _PAGE) for item in shown})


def pages(folder: Path, bundle: Bundle) -> dict[str, Outcomes]:
    """Score the pages of each class of the external cohort in fp32."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cases = [
        Case(
            path=folder.parent / row["path"],
            label=int(row["class"] in OUTCOME),
            patient=row["header_id"] or row["path"],
            sex=row["sex_ocr"],
            row=number,
        )
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


def compare(seen: Mapping[str, Outcomes], name: str, bundle: Bundle) -> Outcomes:
    """Give one comparison of the external cohort: all that is known of its classes, joined.

    The pictures are those of its own worst mistakes.
    """
    parts = [seen[each] for classes in COMPARISONS[name] for each in classes]

    labels, scores, logits, groups = (
        np.concatenate([getattr(part, each) for part in parts])
        for each in ("labels", "scores", "logits", "groups")
    )
    strata = {
        each: np.concatenate([part.strata[each] for part in parts]) for each in parts[0].strata
    }
    outcomes = Outcomes(
        labels=labels,
        scores=scores,
        logits=logits,
        groups=groups,
        strata=strata,
        keys=[key for part in parts for key in part.keys],
        guard=[record for part in parts for record in part.guard],
        refused=dict(sum((Counter(part.refused) for part in parts), Counter[str]())),
        refused_positive=sum(part.refused_positive for part in parts),
        left_out={case: why for part in parts for case, why in part.left_out.items()},
        cases=[case for part in parts for case in part.cases],
    )
    return with_pictures(outcomes, bundle.threshold)


def validate(data: Path, path: Path, out: Path) -> dict[str, Any]:
    """Write all reports; give the headline figures that also go into the card."""
    bundle = open_bundle(path)
    cohorts = {"internal": scored(internal(data), bundle)}
    seen = pages(data / "mendeley", bundle)
    cohorts |= {name: compare(seen, name, bundle) for name in COMPARISONS}
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
    """Give n and each metric with its interval, rounded, as TOML can hold them.

    `at_real_prevalence` restates them there; `drop` is the internal figure less this one.
    """
    told: dict[str, Any] = {
        "ecgs": results["cohort"]["ecgs"],
        "positive": results["cohort"]["positive"],
        "all_positive_f1": round(results["baselines"]["all_positive_f1"], 4),
    }
    told |= {name: _rounded(results["metrics"][name]) for name in _KEPT}
    real = results["at_real_prevalence"]
    told["at_real_prevalence"] = {
        "prevalence": real["prevalence"],
        "ecgs_per_day": real["ecgs_per_day"],
        **{name: _rounded(real["intervals"][name], 5) for name in _REAL},
    }
    if "drop" in results:
        told["drop"] = {name: _rounded(results["drop"][name]["difference"]) for name in _DROP}
    return told


def _rounded(interval: Sequence[float | None], digits: int = 4) -> list[float]:
    return [round(value, digits) for value in interval if value is not None]


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
