"""Recalibration: what the numbers mean, at which prevalence, and which thresholds are refused."""

import math
import shutil

import numpy as np
import pytest
from support.bundles import tiny_bundle

from inference import metrics
from inference.bundle import open_bundle, write_card
from inference.errors import BundleError, CohortError
from inference.figures import EvaluateConfig, summarise
from inference.outcomes import Outcomes
from inference.recalibrate import RecalibrateConfig, recalibrate
from inference.report import html
from inference.runtime import probability
from inference.thresholds import ThresholdRule


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(tiny_bundle())


@pytest.fixture(scope="module")
def outcomes(bundle):
    """Four hundred ECGs, 40 % with the outcome; the logit rises with it."""
    rng = np.random.default_rng(3)
    labels = (np.arange(400) < 160).astype(int)
    logits = 2.0 * labels - 1.0 + rng.normal(0, 1, 400)
    return Outcomes(labels, 1 / (1 + np.exp(-logits)), logits, np.arange(400))


def logit(p):
    return math.log(p / (1 - p))


def test_a_stated_prevalence_shifts_the_log_odds(bundle, outcomes, tmp_path):
    """From 40 % to 2 %: the intercept by the difference of the log odds, the slope not at all."""
    here = recalibrate(bundle, outcomes, tmp_path / "here", RecalibrateConfig())
    there = recalibrate(bundle, outcomes, tmp_path / "there", RecalibrateConfig(prevalence=0.02))
    one, other = here.card["calibration"], there.card["calibration"]
    assert other["slope"] == one["slope"]
    assert other["intercept"] - one["intercept"] == pytest.approx(logit(0.02) - logit(0.4))
    assert (one["prevalence"], other["prevalence"]) == (0.4, 0.02)
    chances = probability(outcomes.logits, here)
    assert chances.mean() == pytest.approx(0.4, abs=0.01)
    shifted, ill = probability(outcomes.logits, there), outcomes.labels == 1
    assert 0.02 * shifted[ill].mean() + 0.98 * shifted[~ill].mean() == pytest.approx(0.02, abs=4e-3)


def test_a_recalibrated_bundle_has_its_own_date(outcomes, tmp_path):
    """Its card says when it was made, not when its parent was."""
    old = tmp_path / "old"
    shutil.copytree(tiny_bundle(), old)
    write_card(old, open_bundle(old).card | {"created": "2020-01-01T00:00:00Z"})
    made = recalibrate(open_bundle(old), outcomes, tmp_path / "new", RecalibrateConfig())
    assert made.card["created"] > "2026"


def test_costs_and_f1_are_reckoned_at_the_stated_prevalence(outcomes):
    """As of a cohort that has each ECG without the outcome 36 times over."""
    labels, chances = outcomes.labels, outcomes.scores
    ill = labels == 1
    many = (
        np.concatenate([labels[ill], np.repeat(labels[~ill], 36)]),
        np.concatenate([chances[ill], np.repeat(chances[~ill], 36)]),
    )
    for rule in (ThresholdRule("cost", miss=30), ThresholdRule("f1")):
        assert rule.choose(labels, chances, 1 / 36) == rule.choose(*many)
        assert rule.choose(labels, chances, 1 / 36) > rule.choose(labels, chances)


def test_the_same_ecgs_alert_for_a_sensitivity_at_any_prevalence(bundle, outcomes, tmp_path):
    """The threshold moves with the probabilities."""
    rule = ThresholdRule("sensitivity", sensitivity=0.9)
    alerts = []
    for number, prevalence in enumerate((None, 0.02)):
        config = RecalibrateConfig(rule, prevalence)
        made = recalibrate(bundle, outcomes, tmp_path / str(number), config)
        alerts.append(probability(outcomes.logits, made) >= made.threshold)
    assert (alerts[0] == alerts[1]).all()
    assert alerts[0][outcomes.labels == 1].mean() == 0.9


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (ThresholdRule("cost", miss=1e-6), "never alert"),
        (ThresholdRule("cost", miss=1e6), "always alert"),
        (ThresholdRule("sensitivity", sensitivity=1), "always alert"),
    ],
)
def test_a_threshold_that_parts_nothing_is_refused(bundle, outcomes, tmp_path, rule, said):
    """It would silence the model, or cry at every ECG; nothing is written."""
    labels = outcomes.labels.copy()
    labels[outcomes.logits.argmin()], labels[outcomes.logits.argmax()] = 1, 0
    mixed = Outcomes(labels, outcomes.scores, outcomes.logits, outcomes.groups)
    with pytest.raises(CohortError, match=f"the model would {said}"):
        recalibrate(bundle, mixed, tmp_path / "site", RecalibrateConfig(rule))
    assert not (tmp_path / "site").exists()


def test_the_parents_figures_are_not_the_childs(bundle, outcomes, tmp_path):
    """`[results]` were measured at another threshold; the parent's digest leads to them."""
    folder = tmp_path / "parent"
    shutil.copytree(bundle.path, folder)
    write_card(folder, dict(bundle.card) | {"results": {"internal": {"ecgs": 305}}})
    parent = open_bundle(folder)
    rule = ThresholdRule("cost", miss=3.0)
    made = recalibrate(parent, outcomes, tmp_path / "site", RecalibrateConfig(rule))
    assert "results" not in made.card
    assert made.card["parent"] == parent.digest
    assert made.card["threshold_rule"] == {
        "rule": "cost",
        "miss": 3.0,
        "false_alarm": 1.0,
        "ecgs": "the site's cohort",
    }


def test_reports_say_what_the_score_is_a_probability_of(bundle, outcomes, tmp_path):
    """Of nothing before recalibration; then at the stated prevalence, or the cohort's only."""

    def told(of):
        return html(summarise(outcomes, of, EvaluateConfig(draws=20)))

    assert told(bundle).count("not a calibrated probability until") == 2
    here = recalibrate(bundle, outcomes, tmp_path / "here", RecalibrateConfig())
    assert "hold only where 40.0% of the ECGs have the outcome" in told(here)
    rule = ThresholdRule("sensitivity", sensitivity=0.95)
    config = RecalibrateConfig(rule, prevalence=0.002)
    text = told(recalibrate(bundle, outcomes, tmp_path / "there", config))
    assert "Probabilities hold where 0.20% of the ECGs have the outcome, as stated" in text
    assert "chosen on the site&#x27;s cohort for a sensitivity of at least 0.95" in text
    assert "made for a prevalence of 0.20%; calibration and Brier score are of this cohort" in text


def test_what_cannot_be_is_refused(bundle, outcomes, tmp_path):
    """Costs, sensitivities, prevalences and versions that mean nothing."""
    for wrong in (
        {"rule": "youden"},
        {"sensitivity": 5},
        {"sensitivity": math.nan},
        {"miss": -3},
        {"false_alarm": math.inf},
    ):
        with pytest.raises(ValueError, match=r"rule is one of|a sensitivity lies|costs of a miss"):
            ThresholdRule(**wrong)
    for prevalence in (0, 1, 2, math.nan):
        with pytest.raises(ValueError, match="prevalence"):
            RecalibrateConfig(prevalence=prevalence)
        with pytest.raises(ValueError, match="prevalence"):
            metrics.check_prevalence(prevalence)
    for wrong in ({"draws": 0}, {"ecgs_per_day": 0.0}, {"prevalence": 2.0}):
        with pytest.raises(ValueError, match=r"draws|ECGs a day|prevalence"):
            EvaluateConfig(**wrong)
    with pytest.raises(BundleError, match="folder's name"):
        recalibrate(bundle, outcomes, tmp_path / "site", RecalibrateConfig(version="../2"))
