"""How a decision threshold is chosen on scored ECGs, in training and in recalibration alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from inference import metrics
from inference.metrics import Array

Rule = Literal["f1", "sensitivity", "cost"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """What the threshold is to achieve.

    Attributes:
        rule: `f1` takes the highest F1; `sensitivity` the highest threshold that reaches
            `sensitivity`; `cost` the lowest cost of `miss` a miss and `false_alarm` a false alarm.
        sensitivity: above 0, at most 1.
        miss, false_alarm: above 0, in any one unit: only their ratio counts.
    """

    rule: Rule = "f1"
    sensitivity: float = 0.9
    miss: float = 10.0
    false_alarm: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no threshold can achieve."""
        if self.rule not in RULES:
            raise ValueError(f"a threshold's rule is one of {', '.join(RULES)}, not {self.rule!r}")
        if not 0 < self.sensitivity <= 1:
            raise ValueError(f"a sensitivity lies above 0 and up to 1, not at {self.sensitivity:g}")
        if not (0 < self.miss < math.inf and 0 < self.false_alarm < math.inf):
            raise ValueError("the costs of a miss and of a false alarm must be above 0")

    def document(self) -> dict[str, Any]:
        """Give the rule and what it goes by, for a card."""
        goes_by = {"f1": (), "sensitivity": ("sensitivity",), "cost": ("miss", "false_alarm")}
        return {"rule": self.rule} | {name: getattr(self, name) for name in goes_by[self.rule]}

    def choose(self, labels: Array, chances: Array, odds: float = 1.0) -> float:
        """Choose a threshold, above 0 and below 1.

        Args:
            labels: (n,) 0 or 1, both of them there.
            chances: (n,) probabilities.
            odds: the odds of the outcome where the threshold will be used over those among these
                ECGs, by which F1 and costs are reckoned.
        """
        if self.rule == "sensitivity":
            found = metrics.threshold_for_sensitivity(labels, chances, self.sensitivity)
        elif self.rule == "cost":
            found = metrics.threshold_for_costs(labels, chances, odds * self.miss, self.false_alarm)
        else:
            found = metrics.best_f1_threshold(labels, chances, odds)
        return min(max(found, 1e-6), 1 - 1e-6)


def written(chance: float, threshold: float | None = None) -> str:
    """Write a probability; more places where the threshold that it is read against is small.

    Without a threshold the probability itself tells.
    """
    least = chance if threshold is None else threshold
    return f"{chance:.{3 if least >= 0.1 else 5}f}"
