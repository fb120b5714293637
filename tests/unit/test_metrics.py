"""Metrics against hand-worked numbers and against scikit-learn where it is there."""

import math

import numpy as np
import pytest

from inference import metrics

LABELS = np.array([1, 0, 1, 0, 1, 0, 0, 0])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.3, 0.2, 0.1])


def test_auroc_counts_the_pairs_in_order():
    """Of 15 pairs 12 are in order."""
    assert metrics.auroc(LABELS, SCORES) == pytest.approx(12 / 15)
    assert metrics.auroc(LABELS, np.ones(8)) == pytest.approx(0.5)
    assert math.isnan(metrics.auroc(np.ones(3), np.ones(3)))


def test_auprc_is_the_average_precision():
    """(1/1 + 2/3 + 3/5) / 3."""
    assert metrics.auprc(LABELS, SCORES) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_the_confusion_at_a_threshold():
    """At 0.65: hits 0.9 and 0.7, false 0.8."""
    assert metrics.confusion(LABELS, SCORES, 0.65) == {"tp": 2, "fp": 1, "tn": 4, "fn": 1}
    got = metrics.at_threshold(LABELS, SCORES, 0.65)
    assert got["sensitivity"] == pytest.approx(2 / 3)
    assert got["specificity"] == pytest.approx(4 / 5)
    assert got["ppv"] == pytest.approx(2 / 3)
    assert got["npv"] == pytest.approx(4 / 5)
    assert got["f1"] == pytest.approx(2 / 3)


def test_the_threshold_of_the_best_f1_lies_between_two_scores():
    """All three cases at 0.55 or more with two false alarms: F1 0.75, cut halfway to 0.3."""
    assert metrics.best_f1_threshold(LABELS, SCORES) == pytest.approx((0.55 + 0.3) / 2)
    assert metrics.f1(LABELS, SCORES, 0.425) == pytest.approx(0.75)


def test_thresholds_by_sensitivity_and_by_cost():
    """Two of three cases need 0.7; a dear miss lowers the threshold, a dear alarm raises it."""
    assert metrics.threshold_for_sensitivity(LABELS, SCORES, 0.66) == pytest.approx(0.7)
    assert metrics.threshold_for_costs(LABELS, SCORES, 10, 1) == pytest.approx(0.55)
    assert metrics.threshold_for_costs(LABELS, SCORES, 1, 10) == pytest.approx(0.9)


def test_ppv_at_the_prevalence_of_an_emergency_department():
    """Sensitivity and specificity 0.9 at 0.2 %: PPV 1.8 %."""
    got = metrics.at_prevalence(0.9, 0.9, 0.002)
    assert got["ppv"] == pytest.approx(0.0018 / (0.0018 + 0.0998))
    assert got["alert_share"] == pytest.approx(0.1016)


def test_the_f1_of_calling_everything_positive():
    """As the design notes give it: 0.58 at 40.9 %, 0.515 at 34.6 %."""
    assert metrics.all_positive_f1(0.409) == pytest.approx(0.58, abs=0.001)
    assert metrics.all_positive_f1(0.346) == pytest.approx(0.514, abs=0.001)


def test_net_benefit_by_hand():
    """At 0.5: 3 of 8 true, 2 of 8 false, odds 1."""
    assert metrics.net_benefit(LABELS, SCORES, np.array([0.5]))[0] == pytest.approx(1 / 8)


def test_platt_scaling_recovers_a_known_line():
    """Labels drawn from sigmoid(0.5 x - 1) give slope and intercept back."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20000)
    labels = (rng.random(20000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(int)
    slope, intercept = metrics.calibration_line(labels, logits)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-1, abs=0.06)


def test_platt_scaling_stays_finite_on_separable_data():
    """Twenty ECGs without any error."""
    logits = np.linspace(-3, 3, 20)
    slope, intercept = metrics.calibration_line((logits > 0).astype(int), logits)
    assert math.isfinite(slope)
    assert abs(intercept) < 1


def test_platt_scaling_does_not_run_to_and_fro():
    """Confident logits, some of them wrong: a whole step overshoots; the gradient ends at zero."""
    logits = np.concatenate([np.linspace(-4.3, -1.4, 22), np.linspace(3.2, 9.7, 21)])
    labels = (logits > 0).astype(int)
    labels[[3, 8, 30, 32]] = 1 - labels[[3, 8, 30, 32]]
    slope, intercept = metrics.calibration_line(labels, logits)
    n1, n0 = labels.sum(), (labels == 0).sum()
    target = np.where(labels == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    off = target - 1 / (1 + np.exp(-(slope * logits + intercept)))
    assert off.sum() == pytest.approx(0, abs=1e-6)
    assert (off * logits).sum() == pytest.approx(0, abs=1e-6)
    assert 0.2 < slope < 0.8


def test_the_bootstrap_draws_patients_not_ecgs():
    """Each patient ten times over: the interval is that of the patients, far wider."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 30)
    scores = labels * 0.5 + rng.random(30)
    many = (np.repeat(labels, 10), np.repeat(scores, 10))
    area = {"auroc": metrics.auroc}
    grouped = metrics.bootstrap(*many, np.repeat(np.arange(30), 10), area, draws=200)["auroc"]
    loose = metrics.bootstrap(*many, np.arange(300), area, draws=200)["auroc"]
    assert grouped[1] < grouped[0] < grouped[2]
    assert grouped[2] - grouped[1] > 2 * (loose[2] - loose[1])


def test_against_scikit_learn():
    """Random scores with ties."""
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    labels, scores = rng.integers(0, 2, 400), rng.integers(0, 40, 400) / 40
    assert metrics.auroc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))
    assert metrics.auprc(labels, scores) == pytest.approx(
        sk.average_precision_score(labels, scores)
    )
    assert metrics.brier(labels, scores) == pytest.approx(sk.brier_score_loss(labels, scores))
    ours, theirs = (
        metrics.roc(labels, scores),
        sk.roc_curve(labels, scores, drop_intermediate=False),
    )
    np.testing.assert_allclose(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1])
