"""The figures of a validation: metrics with intervals, curves, subgroups, refusals.

Every figure is of the cohort as it is; what a hospital will see depends on its own prevalence, so
PPV and alerts per day are also given at a stated one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inference import metrics
from inference.bundle import Bundle, created
from inference.errors import CohortError
from inference.figures_cohort import cohort_figures
from inference.metrics import Array
from inference.outcomes import SUBGROUPS, Outcomes

PREVALENCE, ECGS_PER_DAY = 0.002, 150.0
"""Of the outcome among the ECGs of an emergency department, and how many those are."""
HEADLINE = ("auroc", "auprc", "f1", "f1_at_half", "sensitivity", "specificity", "ppv", "npv")
Metric = Callable[[Array, Array], float]


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """What is reported.

    Attributes:
        prevalence: the real prevalence at which PPV and alerts per day are given.
        ecgs_per_day: for alerts per day.
        draws: of the bootstrap, by patient; at least `metrics.LEAST_DRAWS`.
        seed: of the bootstrap.
        title: of the report.
    """

    prevalence: float = PREVALENCE
    ecgs_per_day: float = ECGS_PER_DAY
    draws: int = 1000
    seed: int = 0
    title: str = "Validation"

    def __post_init__(self) -> None:
        """Refuse numbers that no report can be made with."""
        metrics.check_prevalence(self.prevalence)
        if not 0 < self.ecgs_per_day < math.inf:
            raise ValueError(f"ECGs a day must be above 0, not {self.ecgs_per_day:g}")
        if self.draws < metrics.LEAST_DRAWS:
            raise ValueError(f"an interval needs {metrics.LEAST_DRAWS} draws, not {self.draws}")


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
    found: dict[str, Any] = plain(
        {
            "title": config.title,
            "model": {
                "name": bundle.name,
                "version": bundle.version,
                "bundle": bundle.digest,
                "endpoint": bundle.card.get("endpoint", {}),
                "validation": bundle.card["validation"],
                "threshold": threshold,
                "threshold_rule": bundle.card.get("threshold_rule", {}),
                "calibration": bundle.card.get("calibration", {}),
                "data": bundle.card.get("data", {}),
                "training": bundle.card.get("training", {}),
                "network": bundle.network.document(),
            },
            "cohort": cohort_figures(outcomes),
            "metrics": intervals(outcomes, threshold, config),
            "baselines": {"all_positive_f1": metrics.all_positive_f1(prevalence)},
            "confusion": metrics.confusion(labels, scores, threshold),
            **of_probabilities(labels, scores),
            "at_real_prevalence": _at_real_prevalence(outcomes, threshold, config),
            "curves": curves(labels, scores),
            "subgroups": subgroups(outcomes, threshold, config),
            "bootstrap": {"draws": config.draws, "seed": config.seed, "by": "patient"},
            "created": created(),
        }
    )
    return found


def of_probabilities(labels: Array, scores: Array) -> dict[str, Any]:
    """Give the figures that take the scores for probabilities: calibration and Brier score."""
    return {
        "brier": metrics.brier(labels, scores),
        "calibration": metrics.calibration(labels, scores),
        "calibration_line": metrics.calibration_line(labels, log_odds(scores)),
        "observed_over_expected": float(labels.mean()) / float(scores.mean()),
    }


def _at_real_prevalence(
    outcomes: Outcomes, threshold: float, config: EvaluateConfig
) -> dict[str, Any]:
    """Give what the threshold would mean in the hospital, by Bayes' rule."""
    daily, prevalence = config.ecgs_per_day, config.prevalence

    def there(name: str) -> Metric:
        def metric(labels: Array, scores: Array) -> float:
            point = metrics.at_threshold(labels, scores, threshold)
            real = metrics.at_prevalence(point["sensitivity"], point["specificity"], prevalence)
            return (real | {"alerts_per_day": daily * real["alert_share"]})[name]

        return metric

    wanted = {name: there(name) for name in ("ppv", "npv", "alerts_per_day")}
    known = bootstrapped(outcomes, wanted, config)
    found = metrics.at_threshold(outcomes.labels, outcomes.scores, threshold)["sensitivity"]
    return {
        "prevalence": prevalence,
        "ecgs_per_day": daily,
        **{name: value[0] for name, value in known.items()},
        "true_alerts_per_day": daily * prevalence * found,
        "missed_per_day": daily * prevalence * (1 - found),
        "intervals": known,
    }


def log_odds(scores: Array) -> Array:
    """The scores' log odds: calibration is judged of what is shown, after the card's own map."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    odds: Array = np.log(inside / (1 - inside))
    return odds


def intervals(
    outcomes: Outcomes, threshold: float, config: EvaluateConfig
) -> dict[str, metrics.Interval]:
    """Give each headline metric with its 95 % interval."""
    special: dict[str, Metric] = {
        "auroc": metrics.auroc,
        "auprc": metrics.auprc,
        "f1_at_half": f1_at_half,
    }
    wanted = {name: special.get(name) or _at(threshold, name) for name in HEADLINE}
    return bootstrapped(outcomes, wanted, config)


def f1_at_half(labels: Array, scores: Array) -> float:
    """Give the F1 of the scores as probabilities, at 0.5."""
    return metrics.f1(labels, scores, 0.5)


def _at(threshold: float, name: str) -> Metric:
    return lambda labels, scores: metrics.at_threshold(labels, scores, threshold)[name]


def bootstrapped(
    outcomes: Outcomes, wanted: Mapping[str, Metric], config: EvaluateConfig
) -> dict[str, metrics.Interval]:
    """Give each metric with its 95 % interval, drawn by patient."""
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
    return {
        "roc": [fpr.tolist(), tpr.tolist()],
        "pr": [recall.tolist(), precision.tolist()],
        **decisions(labels, scores),
    }


def decisions(labels: Array, scores: Array) -> dict[str, list[list[float]]]:
    """Give the decision curve of the scores as probabilities, and that of alerting at all."""
    levels = np.linspace(0.01, 0.99, 50)
    everyone = np.ones_like(scores)
    return {
        "decision": [levels.tolist(), metrics.net_benefit(labels, scores, levels).tolist()],
        "decision_all": [levels.tolist(), metrics.net_benefit(labels, everyone, levels).tolist()],
    }


LEAST = 10
"""ECGs of a class that a subgroup's figure needs."""


def subgroups(outcomes: Outcomes, threshold: float, config: EvaluateConfig) -> list[dict[str, Any]]:
    """Give AUROC, sensitivity and specificity of each stratum that is known, with intervals.

    A bootstrap of a few ECGs claims a certainty that is not there: NaN below `LEAST` of a class.
    """
    wanted: dict[str, Metric] = {"auroc": metrics.auroc}
    wanted |= {name: _at(threshold, name) for name in ("sensitivity", "specificity")}
    few = replace(config, draws=max(100, config.draws // 5))
    rows = []
    for name in SUBGROUPS:
        values = outcomes.strata.get(name, np.empty(0))
        for value in sorted({str(v) for v in values if v}):
            inside = values == value
            part = replace(
                outcomes,
                labels=outcomes.labels[inside],
                scores=outcomes.scores[inside],
                groups=outcomes.groups[inside],
            )
            n, positive = int(inside.sum()), int(part.labels.sum())
            seen = {"sensitivity": positive, "specificity": n - positive}
            told = bootstrapped(part, wanted, few)
            for metric in told:
                if seen.get(metric, min(seen.values())) < LEAST:
                    told[metric] = (math.nan,) * 3
            rows.append({"group": name, "value": value, "n": n, "positive": positive, **told})
    return rows


def drop(internal: Mapping[str, Any], external: Mapping[str, Any]) -> dict[str, Any]:
    """Give internal, external and their difference for each headline metric.

    The cohorts share no patient, so the interval of the difference joins the distances of both
    estimates to their own bounds in square (Newcombe, Statistics in Medicine 1998;17:873-890).
    """
    inside, outside = internal["metrics"], external["metrics"]
    names = [name for name in HEADLINE if name in inside]
    return {
        name: {
            "internal": inside[name],
            "external": outside[name],
            "difference": _difference(inside[name], outside[name]),
        }
        for name in names
    }


def _difference(one: Sequence[float | None], other: Sequence[float | None]) -> list[float | None]:
    a, a_low, a_high, b, b_low, b_high = (
        math.nan if value is None else value for value in (*one, *other)
    )
    below, above = math.hypot(a - a_low, b_high - b), math.hypot(a_high - a, b - b_low)
    found: list[float | None] = plain([a - b, a - b - below, a - b + above])
    return found


def plain(value: Any) -> Any:
    """Give the values as JSON has them. It has no NaN: undefined figures become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
