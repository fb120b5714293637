"""The losses against numbers worked out by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from inference.loss import KINDS, Loss, LossConfig, error_rates  # noqa: E402

# p = 0.8, 0.2, 0.8, 0.2 with y = 1, 1, 0, 0: one positive missed, one false alarm.
LOGITS = [math.log(4), -math.log(4), math.log(4), -math.log(4)]
LABELS = [1.0, 1.0, 0.0, 0.0]


def value(kind, **constants):
    loss = Loss(LossConfig(kind, **constants))
    return float(loss(torch.tensor(LOGITS), torch.tensor(LABELS)))


def test_the_error_rates_are_counted_at_one_half_and_smoothed_by_one():
    """One of two missed and one of two false: (1 + 1) / (2 + 1) each."""
    rates = error_rates(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert rates.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_brloss_is_the_mean_log_loss_weighted_by_the_error_rates():
    """-(2/3)(ln .8 + ln .2 + ln .2 + ln .8) / 4."""
    want = -(2 / 3) * (2 * math.log(0.8) + 2 * math.log(0.2)) / 4
    assert value("brloss") == pytest.approx(want, abs=1e-6)


def test_brloss_weighs_the_class_that_is_missed_more():
    """Y = 1 all missed (FNR 1), y = 0 all right (FPR 1/3): the weights differ threefold."""
    logits, labels = torch.tensor([-1.0, -1.0, -1.0, -1.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    p = 1 / (1 + math.e)
    want = -(2 * math.log(p) + (1 / 3) * 2 * math.log(1 - p)) / 4
    assert float(Loss()(logits, labels)) == pytest.approx(want, abs=1e-6)


def test_the_positive_only_variant_leaves_negatives_at_weight_one():
    """-(2/3 (ln .8 + ln .2) + (ln .2 + ln .8)) / 4."""
    both = math.log(0.8) + math.log(0.2)
    assert value("brloss-positive") == pytest.approx(-(2 / 3 * both + both) / 4, abs=1e-6)


def test_the_ema_variant_moves_from_one_half_by_a_tenth():
    """Rates 0.9 x 0.5 + 0.1 x 2/3 in training, unchanged in evaluation."""
    loss = Loss(LossConfig("brloss-ema", ema=0.9))
    loss(torch.tensor(LOGITS), torch.tensor(LABELS))
    want = [0.45 + 0.1 * 2 / 3] * 2
    assert loss.rates.tolist() == pytest.approx(want)
    loss.eval()
    loss(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert loss.rates.tolist() == pytest.approx(want)


def test_plain_and_weighted_cross_entropy():
    """BCE is the plain mean; the weighted one multiplies the positives' terms."""
    both = math.log(0.8) + math.log(0.2)
    assert value("bce") == pytest.approx(-2 * both / 4, abs=1e-6)
    assert value("bce-weighted", positive_weight=3.0) == pytest.approx(-(4 * both) / 4, abs=1e-6)


def test_focal_loss():
    """alpha_t (1 - p_t)^2 ln p_t with alpha 0.25 for positives and 0.75 for negatives."""
    one = 0.2**2 * math.log(0.8) + 0.8**2 * math.log(0.2)
    assert value("focal") == pytest.approx(-(0.25 * one + 0.75 * one) / 4, abs=1e-6)


def test_no_gradient_flows_through_the_rates():
    """d/dx of -FNR ln sigmoid(x) / n is -FNR (1 - p) / n: the rate is a constant."""
    logits = torch.tensor([0.0, 2.0], requires_grad=True)
    Loss()(logits, torch.tensor([1.0, 1.0])).backward()
    fnr = 1 / 3  # p >= 0.5 counts as positive: none missed
    want = [-fnr * 0.5 / 2, -fnr * (1 - 1 / (1 + math.exp(-2))) / 2]
    assert logits.grad.tolist() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_variant_is_finite_far_out(kind):
    """Logits of +-100 on the wrong side give a large but finite loss and gradient."""
    logits = torch.tensor([100.0, -100.0], requires_grad=True)
    loss = Loss(LossConfig(kind))(logits, torch.tensor([0.0, 1.0]))
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(logits.grad).all()


def test_an_unknown_loss_is_refused():
    """The message names what exists."""
    with pytest.raises(ValueError, match="brloss"):
        LossConfig("dice")
