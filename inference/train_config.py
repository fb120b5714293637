"""Everything that decides a training run besides its data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from inference.augment import AugmentConfig
from inference.documents import settings_of
from inference.loss import LossConfig
from inference.network import NetworkConfig
from inference.preprocess import Recipe

_NOT_NEGATIVE = (
    *("warmup", "weight_decay", "ema", "endpoint_weight", "class_weight", "measure_weight"),
    *("seed", "workers", "threads"),
)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run's settings.

    Attributes:
        epochs, batch: how long, and examples per step, shared by all processes.
        peak_lr: of the one-cycle schedule; warm-up takes `warmup` of all steps.
        weight_decay: AdamW's, on convolution and linear weights only.
        ema: decay per step of the averaged weights.
        clip: largest norm of the gradient.
        endpoint_weight: of the endpoint's loss; BRLoss shrinks as the error rates fall.
        class_weight, measure_weight: of the auxiliary losses; the head is dropped at export.
        seed: of weights, order and augmentation.
        workers: data-loading processes (`workers_for`); 0 draws in this one. threads: of torch; 0
            leaves it alone.
        bf16: autocast to bfloat16 where the device computes in it; fp32 elsewhere.
        device: `cpu`, `cuda` or `cuda:NUMBER`.
        checkpoint_minutes: between checkpoints inside an epoch. There is also one at the end of
            each epoch (of those that end within half a minute, one of several), at the end of the
            run, and when it is interrupted by Ctrl-C.
        pretrained: a local safetensors file to start from.
    """

    epochs: int = 60
    batch: int = 16
    peak_lr: float = 5e-4
    warmup: float = 0.2
    weight_decay: float = 0.05
    ema: float = 0.995
    clip: float = 1.0
    endpoint_weight: float = 2.0
    class_weight: float = 0.5
    measure_weight: float = 0.5
    seed: int = 1
    workers: int = 1
    threads: int = 0
    bf16: bool = True
    device: str = "cpu"
    checkpoint_minutes: float = 10.0
    pretrained: str = ""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        """Refuse settings that nothing can be trained with."""
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("peak_lr", "clip", "checkpoint_minutes"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name):g}")
        moves = {f"augment.{name}": value for name, value in asdict(self.augment).items()}
        own = {name: getattr(self, name) for name in _NOT_NEGATIVE}
        for name, value in (own | moves).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must not be negative, not {value:g}")
        if not (self.warmup < 1 and self.ema < 1):
            raise ValueError("warmup and ema are shares below 1")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device is cpu, cuda or cuda:NUMBER, not {self.device!r}")

    def document(self) -> dict[str, Any]:
        """Give every field as plain values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TrainConfig:
        """Read what `document` or a run's config.json holds, or a part of it.

        What a run counts itself, `training` and `network.auxiliary`, is left out.

        Raises:
            ValueError: naming what is unknown, of the wrong type or impossible, or sizes that
                contradict each other.
        """
        given = {name: value for name, value in document.items() if name != "training"}
        network = given.get("network")
        if isinstance(network, Mapping):
            given["network"] = {k: v for k, v in network.items() if k != "auxiliary"}
        made = settings_of(cls, given)
        net, recipe = made.network, made.recipe
        if (net.height, net.width) != (recipe.input_height, recipe.input_width):
            raise ValueError(
                f"network.height and width, {net.height}x{net.width}, must be recipe.input_height "
                f"and input_width, {recipe.input_height}x{recipe.input_width}"
            )
        return made
