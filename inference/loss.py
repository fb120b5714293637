"""Losses on a batch of logits, the paper's binary recall loss (BRLoss) first.

The paper names a custom *binary recall loss* without a formula; the form here is this project's
declared choice, the binary case of recall loss (Tian et al., arXiv 2106.14917):

    L = -mean( FNR * y * log p + FPR * (1 - y) * log(1 - p) )

with FNR = (FN + 1) / (P + 1) and FPR = (FP + 1) / (N + 1) counted on the batch at p >= 0.5, over
all processes that share it, and no gradient through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from inference import processes

Kind = Literal["brloss", "brloss-positive", "brloss-ema", "bce", "bce-weighted", "focal"]
KINDS: tuple[Kind, ...] = (
    "brloss",
    "brloss-positive",
    "brloss-ema",
    "bce",
    "bce-weighted",
    "focal",
)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which loss, and its constants.

    Attributes:
        kind: `brloss`; `brloss-positive` weighs positives by FNR and negatives by 1; `brloss-ema`
            smooths both rates over batches; `bce`; `bce-weighted`; `focal`.
        ema: share of the old rates that `brloss-ema` keeps per batch.
        positive_weight: weight of positives in `bce-weighted`; 0 stands for the negatives over the
            positives that are trained on, which `inference.train.Run` counts.
        focal_gamma, focal_alpha: Lin et al., arXiv 1708.02002.
    """

    kind: Kind = "brloss"
    ema: float = 0.9
    positive_weight: float = 0.0
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25

    def __post_init__(self) -> None:
        """Refuse a loss that does not exist."""
        if self.kind not in KINDS:
            raise ValueError(f"loss is one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.positive_weight < 0:
            raise ValueError("positive_weight must not be negative")


def error_rates(logits: Tensor, labels: Tensor) -> Tensor:
    """Give (FNR, FPR) of a batch at p >= 0.5, smoothed by one, as a (2,) tensor."""
    said = logits.detach() >= 0
    true = labels >= 0.5
    counts = torch.stack((~said & true, true, said & ~true, ~true)).sum(1)  # FN, P, FP, N
    missed, positive, false, negative = processes.total(counts) + 1
    return torch.stack((missed / positive, false / negative)).to(torch.float32)


def weighted_log_loss(logits: Tensor, labels: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Give `-mean(positive * y * log p + negative * (1 - y) * log(1 - p))`."""
    terms = positive * labels * logsigmoid(logits) + negative * (1 - labels) * logsigmoid(-logits)
    return -terms.mean()


class Loss(nn.Module):  # type: ignore[misc]
    """A loss as configured: (n,) logits and (n,) labels of 0 or 1 -> a scalar."""

    def __init__(self, config: LossConfig | None = None) -> None:
        super().__init__()
        self.config = config or LossConfig()
        self.rates: Tensor
        self.register_buffer("rates", torch.full((2,), 0.5))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the loss; `brloss-ema` also moves its rates while training."""
        logits, labels = logits.float(), labels.float()
        kind = self.config.kind
        if kind.startswith("brloss"):
            fnr, fpr = self._rates(logits, labels)
            negative = torch.ones_like(fpr) if kind == "brloss-positive" else fpr
            return weighted_log_loss(logits, labels, fnr, negative)
        if kind == "focal":
            return self._focal(logits, labels)
        weight = self.config.positive_weight if kind == "bce-weighted" else 1.0
        return binary_cross_entropy_with_logits(
            logits, labels, pos_weight=torch.tensor(weight, device=logits.device)
        )

    def _rates(self, logits: Tensor, labels: Tensor) -> Tensor:
        rates = error_rates(logits, labels)
        if self.config.kind != "brloss-ema":
            return rates
        keep = self.config.ema if self.training else 1.0
        self.rates = keep * self.rates + (1 - keep) * rates
        return self.rates

    def _focal(self, logits: Tensor, labels: Tensor) -> Tensor:
        sign = 2 * labels - 1
        log_p = logsigmoid(sign * logits)  # log-probability of the true class
        alpha = torch.where(labels >= 0.5, self.config.focal_alpha, 1 - self.config.focal_alpha)
        return -(alpha * (1 - log_p.exp()) ** self.config.focal_gamma * log_p).mean()
