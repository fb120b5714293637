"""Fit a site's calibration map and threshold on its own cohort; the weights stay as they are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inference import metrics
from inference.bundle import SIGNATURE, Bundle, open_bundle, write_card
from inference.errors import CohortError
from inference.outcomes import Outcomes
from inference.runtime import probability

Rule = Literal["f1", "sensitivity", "cost"]


@dataclass(frozen=True, slots=True)
class RecalibrateConfig:
    """How the threshold is chosen.

    Attributes:
        rule: `f1` takes the highest F1; `sensitivity` the highest threshold that reaches
            `sensitivity`; `cost` the lowest cost of `miss` a miss and `false_alarm` a false alarm.
        version: of the new bundle.
        validated_by: who vouches that the bundle is validated at this site; empty: nobody does.
    """

    rule: Rule = "f1"
    sensitivity: float = 0.9
    miss: float = 10.0
    false_alarm: float = 1.0
    version: str = ""
    validated_by: str = ""


def recalibrate(bundle: Bundle, outcomes: Outcomes, out: Path, config: RecalibrateConfig) -> Bundle:
    """Write a copy of the bundle with the site's calibration and threshold.

    Raises:
        CohortError: fewer than ten ECGs of either outcome were scored.
    """
    positives = int(outcomes.labels.sum())
    if min(positives, outcomes.labels.size - positives) < 10:
        raise CohortError("at least ten scored ECGs of each outcome are needed to recalibrate")
    slope, intercept = metrics.calibration_line(outcomes.labels, outcomes.logits)
    if slope <= 0:
        raise CohortError("scores do not rise with the outcome here: do not use this model")
    card = dict(bundle.card) | {
        "version": config.version or f"{bundle.version}-site",
        "calibration": {
            "slope": slope,
            "intercept": intercept,
            "ecgs": int(outcomes.labels.size),
            "positive": positives,
        },
        "validation": _validation(config),
        "parent": bundle.digest,
    }
    chances = probability(outcomes.logits, _with(bundle, card))
    card["threshold"] = min(max(_threshold(outcomes, chances, config), 1e-6), 1 - 1e-6)
    shutil.copytree(bundle.path, out, ignore=shutil.ignore_patterns(SIGNATURE))
    write_card(out, card)
    return open_bundle(out)


def _with(bundle: Bundle, card: dict[str, Any]) -> Bundle:
    return Bundle(bundle.path, card, bundle.digest, bundle.network, bundle.recipe)


def _validation(config: RecalibrateConfig) -> dict[str, str]:
    if not config.validated_by:
        return {"status": "not validated", "note": "Recalibrated on a site's cohort."}
    return {"status": "validated", "by": config.validated_by}


def _threshold(outcomes: Outcomes, chances: metrics.Array, config: RecalibrateConfig) -> float:
    labels = outcomes.labels
    if config.rule == "sensitivity":
        return metrics.threshold_for_sensitivity(labels, chances, config.sensitivity)
    if config.rule == "cost":
        return metrics.threshold_for_costs(labels, chances, config.miss, config.false_alarm)
    return metrics.best_f1_threshold(labels, chances)
