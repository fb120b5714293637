"""Validate a bundle on a cohort: scores, metrics with intervals, subgroups, refusals.

    cohort ── Scorer ──> Outcomes ── summarise ──> results (JSON) ── inference.report ──> HTML

Every figure is of the cohort as it is; what a hospital will see depends on its own prevalence, so
PPV and alerts per day are also given at a stated one.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference import metrics, report
from inference.bundle import Bundle
from inference.cohort import Case, check_duplicates, read_cohort, with_digests
from inference.errors import CohortError, Undecodable, Unscorable
from inference.forms import U8
from inference.metrics import Array
from inference.prepare import pictures
from inference.score import Scorer

SUBGROUPS = ("sex", "age_band", "site", "source")
_WORST = 6


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """What is reported.

    Attributes:
        prevalence: the real prevalence at which PPV and alerts per day are given.
        ecgs_per_day: for alerts per day.
        draws: of the bootstrap, by patient.
        seed: of the bootstrap.
        title: of the report.
    """

    prevalence: float = 0.002
    ecgs_per_day: float = 150.0
    draws: int = 1000
    seed: int = 0
    title: str = "Validation"


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Scored ECGs of a cohort.

    Attributes:
        labels: (n,) 0 or 1. scores: (n,) probabilities. logits: (n,).
        groups: (n,) patients, any values.
        strata: subgroup name to (n,) strings, empty where unknown.
        keys: names without PHI.
        refused: reason code to count, of ECGs that could not be scored.
        refused_positive: how many of the refused had the outcome.
        pictures: key to the page as it was seen, of some ECGs.
    """

    labels: Array
    scores: Array
    logits: Array
    groups: Array
    strata: Mapping[str, Array] = field(default_factory=dict)
    keys: Sequence[str] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    refused_positive: int = 0
    pictures: Mapping[str, U8] = field(default_factory=dict)


def score_cohort(
    scorer: Scorer, cases: Sequence[Case], tell: Callable[[int, int], None] = lambda *_: None
) -> Outcomes:
    """Score every case; what cannot be scored is counted by reason, never left out silently."""
    kept: list[tuple[Case, float, float, str]] = []
    refused: Counter[str] = Counter()
    positives = 0
    for done, case in enumerate(cases, start=1):
        try:
            scored = scorer.score(case.path.read_bytes())
        except (Unscorable, Undecodable) as error:
            refused[getattr(error, "reason", "undecodable")] += 1
            positives += case.label
        else:
            source = str(scored.guard["source"])
            kept.append((case, scored.probability, scored.logit, source))
        tell(done, len(cases))
    strata = {
        "sex": np.array([each[0].sex for each in kept]),
        "age_band": np.array([each[0].age_band for each in kept]),
        "site": np.array([each[0].site for each in kept]),
        "source": np.array([each[3] for each in kept]),
    }
    outcomes = Outcomes(
        labels=np.array([each[0].label for each in kept]),
        scores=np.array([each[1] for each in kept]),
        logits=np.array([each[2] for each in kept]),
        groups=np.array([each[0].patient for each in kept]),
        strata=strata,
        keys=[each[0].key for each in kept],
        refused=dict(refused),
        refused_positive=positives,
    )
    return _with_pictures(outcomes, scorer, {each[0].key: each[0] for each in kept})


def _with_pictures(outcomes: Outcomes, scorer: Scorer, cases: Mapping[str, Case]) -> Outcomes:
    from dataclasses import replace  # noqa: PLC0415

    from inference.decode import decode  # noqa: PLC0415

    shown = {}
    for place in worst(outcomes):
        key = outcomes.keys[place]
        prepared = scorer.prepare(decode(cases[key].path.read_bytes()))
        shown[key] = pictures(prepared)["page"]
    return replace(outcomes, pictures=shown)


def worst(outcomes: Outcomes, count: int = _WORST) -> list[int]:
    """Give the places of the most confident mistakes, misses and false alarms in turn."""
    labels, scores = outcomes.labels, outcomes.scores
    missed = [int(i) for i in np.argsort(scores, kind="stable") if labels[i] == 1]
    false = [int(i) for i in np.argsort(-scores, kind="stable") if labels[i] == 0]
    turns = [i for pair in zip(missed, false, strict=False) for i in pair]
    return turns[:count]


def summarise(outcomes: Outcomes, bundle: Bundle, config: EvaluateConfig) -> dict[str, Any]:
    """Give every figure of the report, as plain values.

    Raises:
        CohortError: no ECG of one of the two classes was scored.
    """
    labels, scores, threshold = outcomes.labels, outcomes.scores, bundle.threshold
    if len(set(labels.tolist())) != 2:
        told = ", ".join(f"{n} {reason}" for reason, n in sorted(outcomes.refused.items()))
        raise CohortError(f"ECGs of both outcomes must be scored; not scored: {told or 'none'}")
    prevalence = float(labels.mean())
    point = metrics.at_threshold(labels, scores, threshold)
    real = metrics.at_prevalence(point["sensitivity"], point["specificity"], config.prevalence)
    plain: dict[str, Any] = _plain(
        {
            "title": config.title,
            "model": {
                "name": bundle.name,
                "version": bundle.version,
                "bundle": bundle.digest,
                "endpoint": bundle.card.get("endpoint", {}),
                "validation": bundle.card["validation"],
                "threshold": threshold,
                "data": bundle.card.get("data", {}),
            },
            "cohort": {
                "ecgs": int(labels.size),
                "patients": int(np.unique(outcomes.groups).size),
                "positive": int(labels.sum()),
                "prevalence": prevalence,
                "refused": dict(outcomes.refused),
                "refused_positive": outcomes.refused_positive,
            },
            "metrics": intervals(outcomes, threshold, config),
            "baselines": {"all_positive_f1": metrics.all_positive_f1(prevalence)},
            "confusion": metrics.confusion(labels, scores, threshold),
            "brier": metrics.brier(labels, scores),
            "calibration": metrics.calibration(labels, scores),
            "calibration_line": metrics.calibration_line(labels, outcomes.logits),
            "at_real_prevalence": real
            | {
                "ecgs_per_day": config.ecgs_per_day,
                "alerts_per_day": config.ecgs_per_day * real["alert_share"],
            },
            "curves": curves(labels, scores),
            "subgroups": subgroups(outcomes, threshold, config),
            "bootstrap": {"draws": config.draws, "seed": config.seed, "by": "patient"},
        }
    )
    return plain


def intervals(
    outcomes: Outcomes, threshold: float, config: EvaluateConfig
) -> dict[str, metrics.Interval]:
    """Give each headline metric with its 95 % interval."""

    def named(name: str) -> Callable[[Array, Array], float]:
        return lambda labels, scores: metrics.at_threshold(labels, scores, threshold)[name]

    wanted: dict[str, Callable[[Array, Array], float]] = {
        "auroc": metrics.auroc,
        "auprc": metrics.auprc,
        "f1": named("f1"),
        "f1_at_half": lambda labels, scores: metrics.f1(labels, scores, 0.5),
        "sensitivity": named("sensitivity"),
        "specificity": named("specificity"),
        "ppv": named("ppv"),
        "npv": named("npv"),
    }
    return metrics.bootstrap(
        outcomes.labels,
        outcomes.scores,
        outcomes.groups,
        wanted,
        draws=config.draws,
        seed=config.seed,
    )


def curves(labels: Array, scores: Array) -> dict[str, list[list[float]]]:
    """Give ROC, precision-recall and decision curves as lists of points."""
    fpr, tpr, _ = metrics.roc(labels, scores)
    precision, recall, _ = metrics.precision_recall(labels, scores)
    levels = np.linspace(0.01, 0.99, 50)
    everyone = np.ones_like(scores)
    return {
        "roc": [fpr.tolist(), tpr.tolist()],
        "pr": [recall.tolist(), precision.tolist()],
        "decision": [levels.tolist(), metrics.net_benefit(labels, scores, levels).tolist()],
        "decision_all": [levels.tolist(), metrics.net_benefit(labels, everyone, levels).tolist()],
    }


def subgroups(outcomes: Outcomes, threshold: float, config: EvaluateConfig) -> list[dict[str, Any]]:
    """Give AUROC with interval, sensitivity and specificity of each stratum that is known."""
    rows = []
    for name in SUBGROUPS:
        values = outcomes.strata.get(name, np.empty(0))
        for value in sorted({str(v) for v in values if v}):
            inside = values == value
            labels, scores = outcomes.labels[inside], outcomes.scores[inside]
            area = metrics.bootstrap(
                labels,
                scores,
                outcomes.groups[inside],
                {"auroc": metrics.auroc},
                draws=max(100, config.draws // 5),
                seed=config.seed,
            )
            point = metrics.at_threshold(labels, scores, threshold)
            rows.append(
                {
                    "group": name,
                    "value": value,
                    "n": int(inside.sum()),
                    "positive": int(labels.sum()),
                }
                | {"auroc": area["auroc"]}
                | {key: point[key] for key in ("sensitivity", "specificity", "f1")}
            )
    return rows


def drop(internal: Mapping[str, Any], external: Mapping[str, Any]) -> dict[str, float]:
    """Give internal minus external for each headline metric."""
    return {
        name: internal["metrics"][name][0] - external["metrics"][name][0]
        for name in ("auroc", "auprc", "f1")
    }


def evaluate(
    scorer: Scorer,
    table: Path,
    out: Path,
    config: EvaluateConfig,
    *,
    internal: Path | None = None,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Score a cohort table and write `results.json`, `scores.csv` and `report.html` into `out`.

    Args:
        scorer: the bundle on a runtime.
        table: the cohort, see `inference.cohort`.
        out: directory of the report.
        config: what is reported.
        internal: results.json of the internal validation, for the drop.
        tell: called with (done, total).

    Raises:
        CohortError: the table cannot be used, or only one outcome could be scored.
    """
    cases = with_digests(read_cohort(table))
    repeats = check_duplicates(cases)
    outcomes = score_cohort(scorer, cases, tell)
    results = summarise(outcomes, scorer.bundle, config)
    results["cohort"]["repeated_files"] = repeats
    results["runtime"] = scorer.runtime.name
    results["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if internal is not None:
        results["drop"] = drop(json.loads(internal.read_text()), results)
    write(results, outcomes, out)
    return results


def write(results: Mapping[str, Any], outcomes: Outcomes, out: Path) -> None:
    """Write the three files of a report."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False))
    lines = ["key,label,probability,logit"]
    lines += [
        f"{key},{label},{score:.6f},{logit:.6f}"
        for key, label, score, logit in zip(
            outcomes.keys, outcomes.labels, outcomes.scores, outcomes.logits, strict=True
        )
    ]
    (out / "scores.csv").write_text("\n".join(lines) + "\n")
    (out / "report.html").write_text(report.html(results, _misses(outcomes)))


def _misses(outcomes: Outcomes) -> list[tuple[str, U8]]:
    said = dict(zip(outcomes.keys, zip(outcomes.labels, outcomes.scores, strict=True), strict=True))
    return [
        (f"{key}: outcome {said[key][0]}, score {said[key][1]:.3f}", page)
        for key, page in outcomes.pictures.items()
    ]


def _plain(value: Any) -> Any:
    """JSON has no NaN: undefined figures become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
