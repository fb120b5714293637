"""Metrics of a score against an outcome, with intervals; numpy alone.

Scores are probabilities, labels 0 or 1. Intervals are percentile bootstrap intervals that draw
whole patients, because two ECGs of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Interval = tuple[float, float, float]
"""Estimate, lower and upper 95 % bound."""
LEAST_DRAWS = 20
"""Draws of the bootstrap below which there is no interval."""


def auroc(labels: Array, scores: Array) -> float:
    """Give the area under the ROC curve (Mann-Whitney, ties count half); NaN for one class."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = labels == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if n1 == 0 or n0 == 0:
        return float("nan")
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def auprc(labels: Array, scores: Array) -> float:
    """Give the average precision: the sum of precision times each step in recall."""
    precision, recall, _ = precision_recall(labels, scores)
    if precision.size == 0:
        return float("nan")
    return float((np.diff(recall, prepend=0) * precision).sum())


def precision_recall(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Give precision, recall and threshold at each distinct score, from the highest down."""
    if not (labels == 1).any():
        return np.empty(0), np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(labels[order] == 1)
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    return hits[last] / (last + 1), hits[last] / hits[-1], sorted_scores[last]


def roc(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Give false positive rate, true positive rate and threshold, from (0, 0) on."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    hits, false = np.cumsum(labels[order] == 1), np.cumsum(labels[order] != 1)
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    n1, n0 = max(hits[-1], 1), max(false[-1], 1)
    first = np.array([0.0])
    return (
        np.concatenate((first, false[last] / n0)),
        np.concatenate((first, hits[last] / n1)),
        np.concatenate((np.array([np.inf]), sorted_scores[last])),
    )


def confusion(labels: Array, scores: Array, threshold: float) -> dict[str, int]:
    """Count TP, FP, TN and FN at score >= threshold."""
    said, true = scores >= threshold, labels == 1
    return {
        "tp": int((said & true).sum()),
        "fp": int((said & ~true).sum()),
        "tn": int((~said & ~true).sum()),
        "fn": int((~said & true).sum()),
    }


def at_threshold(labels: Array, scores: Array, threshold: float) -> dict[str, float]:
    """Give sensitivity, specificity, PPV, NPV, F1 and accuracy; NaN where undefined."""
    c = confusion(labels, scores, threshold)
    return {
        "sensitivity": _ratio(c["tp"], c["tp"] + c["fn"]),
        "specificity": _ratio(c["tn"], c["tn"] + c["fp"]),
        "ppv": _ratio(c["tp"], c["tp"] + c["fp"]),
        "npv": _ratio(c["tn"], c["tn"] + c["fn"]),
        "f1": _ratio(2 * c["tp"], 2 * c["tp"] + c["fp"] + c["fn"]),
        "accuracy": _ratio(c["tp"] + c["tn"], sum(c.values())),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def f1(labels: Array, scores: Array, threshold: float) -> float:
    """Give F1 at score >= threshold."""
    return at_threshold(labels, scores, threshold)["f1"]


def best_f1_threshold(labels: Array, scores: Array, odds: float = 1.0) -> float:
    """Give the threshold of the highest F1, midway to the next lower score; 0.5 for one class.

    `odds` are the outcome's odds where F1 is to be highest over those among these ECGs.
    """
    precision, recall, thresholds = precision_recall(labels, scores)
    if precision.size == 0 or (labels == 1).all():
        return 0.5
    there = odds * precision / (odds * precision + 1 - precision)  # precision, by Bayes' rule
    values = 2 * there * recall / np.maximum(there + recall, 1e-12)
    best = int(values.argmax())
    below = thresholds[best + 1] if best + 1 < thresholds.size else 0.0
    return float(np.clip((thresholds[best] + below) / 2, 1e-6, 1 - 1e-6))


def threshold_for_sensitivity(labels: Array, scores: Array, wanted: float) -> float:
    """Give the highest threshold whose sensitivity is at least `wanted`."""
    _, recall, thresholds = precision_recall(labels, scores)
    return float(thresholds[int(np.argmax(recall >= wanted - 1e-12))])


def threshold_for_costs(labels: Array, scores: Array, miss: float, false_alarm: float) -> float:
    """Give the threshold of the lowest cost, `miss` a missed case and `false_alarm` a false one."""
    candidates = np.append(np.unique(scores), np.inf)
    costs = [
        miss * c["fn"] + false_alarm * c["fp"]
        for c in (confusion(labels, scores, t) for t in candidates)
    ]
    best = float(candidates[int(np.argmin(costs))])
    return min(best, 1 - 1e-6)


def check_prevalence(prevalence: float) -> None:
    """Refuse what is no share of ECGs with the outcome.

    Raises:
        ValueError: it is not above 0 and below 1.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"a prevalence lies above 0 and below 1, not at {prevalence:g}")


def at_prevalence(sensitivity: float, specificity: float, prevalence: float) -> dict[str, float]:
    """Give PPV, NPV and the share alerted at another prevalence (Bayes)."""
    hit, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, clear = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return {
        "prevalence": prevalence,
        "ppv": _ratio(hit, hit + false),
        "npv": _ratio(clear, clear + missed),
        "alert_share": hit + false,
    }


def all_positive_f1(prevalence: float) -> float:
    """Give the F1 of calling every ECG positive: 2p / (1 + p)."""
    return 2 * prevalence / (1 + prevalence)


def calibration(labels: Array, scores: Array, bins: int = 10) -> list[dict[str, float]]:
    """Give mean score, observed share and count in `bins` bins of equal count."""
    order = np.argsort(scores, kind="stable")
    return [
        {
            "score": float(scores[part].mean()),
            "observed": float(labels[part].mean()),
            "n": float(part.size),
        }
        for part in np.array_split(order, min(bins, max(1, scores.size)))
        if part.size
    ]


def brier(labels: Array, scores: Array) -> float:
    """Give the mean squared difference of score and outcome."""
    return float(((scores - labels) ** 2).mean())


def calibration_line(labels: Array, logits: Array) -> tuple[float, float]:
    """Fit `P(y) = sigmoid(slope * logit + intercept)` by Newton's method (Platt scaling).

    Targets are drawn in a little, as Platt (1999) does, so that separable data stay finite; a step
    that does not lower the loss is halved (Lin, Lin & Weng, Machine Learning 2007;68:267-276).
    """
    n1, n0 = float((labels == 1).sum()), float((labels != 1).sum())
    target = np.where(labels == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    x = np.stack((logits, np.ones_like(logits)), 1)  # (n, 2)

    def loss(beta: Array) -> float:  # binary cross-entropy, from the log odds
        odds = x @ beta
        return float((np.logaddexp(0, odds) - target * odds).sum())

    beta = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        weight = np.maximum(p * (1 - p), 1e-9)
        hessian = x.T @ (x * weight[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (target - p))
        while np.abs(step).max() > 1e-10 and loss(beta + step) > loss(beta):
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])


def net_benefit(labels: Array, scores: Array, thresholds: Array) -> Array:
    """Give the decision curve: TP/n - FP/n * t/(1-t) at each threshold (Vickers & Elkin 2006)."""
    out = []
    for t in thresholds:
        c = confusion(labels, scores, float(t))
        out.append(c["tp"] / labels.size - c["fp"] / labels.size * t / (1 - t))
    return np.array(out)


def bootstrap(
    labels: Array,
    scores: Array,
    groups: Array,
    metrics: Mapping[str, Callable[[Array, Array], float]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Give each metric with its 95 % interval, drawing whole groups (patients) with replacement.

    Draws in which a metric is undefined (one class only) are left out of its interval.
    """
    _, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(draws):
        chosen = rng.integers(len(members), size=len(members))
        index = np.concatenate([members[k] for k in chosen])
        for name, metric in metrics.items():
            found[name].append(metric(labels[index], scores[index]))
    return {
        name: _interval(metric(labels, scores), found[name]) for name, metric in metrics.items()
    }


def _interval(estimate: float, draws: list[float]) -> Interval:
    known = np.array([d for d in draws if not np.isnan(d)])
    if known.size < LEAST_DRAWS:
        return estimate, float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return estimate, float(low), float(high)
