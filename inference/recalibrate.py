"""Fit a site's calibration map and threshold on its own cohort; the weights stay as they are."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference import known, metrics
from inference.bundle import SIGNATURE, Bundle, check_name, created, open_bundle, write_card
from inference.errors import CohortError
from inference.outcomes import Outcomes
from inference.runtime import probability
from inference.thresholds import ThresholdRule

_MEASURED = ("results", "parity")  # by what a recalibration changes


@dataclass(frozen=True, slots=True)
class RecalibrateConfig:
    """How the site's probabilities and threshold are fitted.

    Attributes:
        rule: chooses the threshold.
        prevalence: of the outcome among the hospital's ECGs, for which the probabilities are to
            hold; None: they hold at that of the cohort only, which is told of.
        version: of the new bundle.
        validated_by: who vouches that the bundle is validated at this site; empty: nobody does.
    """

    rule: ThresholdRule = field(default_factory=ThresholdRule)
    prevalence: float | None = None
    version: str = ""
    validated_by: str = ""

    def __post_init__(self) -> None:
        """Refuse a prevalence that is none."""
        if self.prevalence is not None:
            metrics.check_prevalence(self.prevalence)


def recalibrate(bundle: Bundle, outcomes: Outcomes, out: Path, config: RecalibrateConfig) -> Bundle:
    """Write a copy of the bundle with the site's calibration and threshold.

    The parent's `[results]` and `[parity]` are left out: they were measured at another threshold;
    `inference.parity.remeasure` measures the latter anew, until then `auto` is fp32. The bundle
    knows the site's ECGs again (`inference.known`).

    Raises:
        CohortError: fewer than ten ECGs of either outcome were scored, the scores do not rise with
            the outcome, or the rule gives a threshold that parts none of these ECGs from the rest.
        BundleError: no bundle can be of that version.
    """
    version = config.version or f"{bundle.version}-site"
    check_name(bundle.name, version)
    calibration, odds = _calibration(outcomes, config)
    kept = {name: value for name, value in bundle.card.items() if name not in _MEASURED}
    card = kept | {
        "version": version,
        "created": created(),
        "calibration": calibration,
        "validation": _validation(config),
        "parent": bundle.digest,
        "threshold_rule": config.rule.document() | {"ecgs": "the site's cohort"},
    }
    chances = probability(outcomes.logits, _with(bundle, card))
    card["threshold"] = config.rule.choose(outcomes.labels, chances, odds)
    _check_parts(chances, card["threshold"])
    shutil.copytree(bundle.path, out, ignore=shutil.ignore_patterns(SIGNATURE))
    seen = known.known_to(bundle) | known.shortened(case.digest for case in outcomes.cases)
    if seen:
        known.save(out, seen)
    write_card(out, card)
    return open_bundle(out)


def _calibration(outcomes: Outcomes, config: RecalibrateConfig) -> tuple[dict[str, Any], float]:
    """Give the card's `[calibration]`, and the odds of the outcome there over those here.

    Another prevalence moves every log odds by the same amount, as long as the ECGs of each outcome
    are alike (Saerens, Latinne & Decaestecker, Neural Computation 2002;14:21-41).
    """
    ecgs, positives = int(outcomes.labels.size), int(outcomes.labels.sum())
    if min(positives, ecgs - positives) < 10:
        raise CohortError("at least ten scored ECGs of each outcome are needed to recalibrate")
    slope, intercept = metrics.calibration_line(outcomes.labels, outcomes.logits)
    if slope <= 0:
        raise CohortError("scores do not rise with the outcome here: do not use this model")
    here = positives / ecgs
    there = here if config.prevalence is None else config.prevalence
    odds = there / (1 - there) / (here / (1 - here))
    return {
        "slope": slope,
        "intercept": intercept + math.log(odds),
        "ecgs": ecgs,
        "positive": positives,
        "prevalence": there,
        "note": _note(ecgs, positives, config.prevalence),
    }, odds


def _note(ecgs: int, positives: int, prevalence: float | None) -> str:
    """Say where the probabilities hold: terminal, card and reports show it."""
    if prevalence is not None:
        return (
            f"Probabilities hold where {prevalence:.2%} of the ECGs have the outcome, as stated; "
            f"fitted on {ecgs} ECGs, {positives} of them with the outcome."
        )
    return (
        f"Probabilities and threshold hold only where {positives / ecgs:.1%} of the ECGs have the "
        f"outcome, as in the cohort ({positives} of {ecgs} ECGs): no other prevalence was stated."
    )


def _check_parts(chances: metrics.Array, threshold: float) -> None:
    """Refuse a threshold that says the same of every ECG."""
    alerts = int((chances >= threshold).sum())
    if alerts not in (0, len(chances)):
        return
    said = "always alert" if alerts else "never alert"
    raise CohortError(
        f"by this rule the model would {said}: the threshold {threshold:.4f} lies "
        f"{'below' if alerts else 'above'} the scores of all {len(chances)} ECGs; "
        "name another sensitivity, other costs, or the hospital's prevalence"
    )


def _with(bundle: Bundle, card: dict[str, Any]) -> Bundle:
    return Bundle(bundle.path, card, bundle.digest, bundle.network, bundle.recipe)


def _validation(config: RecalibrateConfig) -> dict[str, str]:
    if not config.validated_by:
        return {"status": "not validated", "note": "Recalibrated on a site's cohort."}
    return {"status": "validated", "by": config.validated_by}
