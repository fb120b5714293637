"""Runtimes: one interface over OpenVINO (int8, bf16, fp32) and torch (CPU, CUDA).

`auto` takes torch where it is installed and sees a CUDA card, else the first of int8, bf16 and fp32
that this processor supports and whose parity with the fp32 network was measured when the bundle was
built and held. The order is fixed, as measured once on the reference machine
(`docs/benchmarks.md`): nothing is timed here. A scorer goes on to the next where one does not give
the golden scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from inference.bundle import INT8, Bundle
from inference.errors import BundleError, RuntimeMissing
from inference.forms import F32, F64

RUNTIMES = ("openvino-int8", "openvino-bf16", "openvino-fp32", "torch")
"""Fastest first, as the reference machine's CPU was; torch is there the slowest."""
_DRIVER = Path("/proc/driver/nvidia/version")
BOUNDS = {"openvino-int8": 0.02, "openvino-bf16": 0.01, "openvino-fp32": 0.002, "torch": 0.002}
"""Largest difference in probability from the card's golden values that a self-test allows.

Int8 is compared with the int8 scores of the machine that built the bundle; how far those are from
fp32 is the card's `[parity]`.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a model gives for n inputs.

    Attributes:
        logits: (n,) float64, the endpoint's.
        features: (n, 2048) float32, the pooled features that the logits are a weighted sum of.
    """

    logits: F64
    features: F32


class Runtime(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """One of `RUNTIMES`."""

    def logits(self, batch: F32) -> F64:
        """Score (n, 1, H, W) float32 inputs, 0 to 1: (n,) logits."""

    def outputs(self, batch: F32) -> Outputs:
        """Give the logits with the features that they are made of.

        Raises:
            BundleError: the bundle's int8 graph is from before features were given.
        """


def load(bundle: Bundle, runtime: str = "auto", threads: int = 0) -> Runtime:
    """Load a bundle's model.

    Args:
        bundle: a verified bundle.
        runtime: one of `RUNTIMES`, or `auto`.
        threads: inference threads; 0 lets the runtime use all cores.

    Raises:
        RuntimeMissing: the runtime is not installed, or the bundle has no model for it.
        BundleError: the weights do not fit the card's network.
    """
    chosen = choose(bundle) if runtime == "auto" else runtime
    if chosen not in RUNTIMES:
        raise RuntimeMissing(f"runtime is auto or one of {', '.join(RUNTIMES)}, not {runtime!r}")
    if chosen == "torch":
        from inference.runtime.eager import TorchRuntime  # noqa: PLC0415 - optional

        return TorchRuntime(bundle, threads)
    from inference.runtime.vino import VinoRuntime  # noqa: PLC0415 - a second to import

    return VinoRuntime(bundle, chosen.removeprefix("openvino-"), threads)


def choose(bundle: Bundle) -> str:
    """Give the runtime that `auto` tries first."""
    return candidates(bundle)[0]


def candidates(bundle: Bundle) -> list[str]:
    """Give the runtimes that `auto` tries, in this order; the last is fp32.

    Torch on a card is the network itself, in fp32: it needs no parity.
    """
    return [*(["torch"] if _card() else []), *usable(bundle)]


def usable(bundle: Bundle) -> list[str]:
    """Give the OpenVINO runtimes that run here and whose recorded parity holds, by `RUNTIMES`.

    The last is fp32: it is the network itself.
    """
    from inference.runtime.vino import has_bf16  # noqa: PLC0415 - a second to import

    parity = bundle.card.get("parity", {})
    here = {"openvino-int8": (bundle.path / INT8[0]).exists(), "openvino-bf16": has_bf16()}
    proven = [name for name in here if here[name] and parity.get(name, {}).get("holds") is True]
    return [*proven, "openvino-fp32"]


def _card() -> bool:
    """Tell whether torch can use a CUDA card; asked only where its driver runs."""
    if not _DRIVER.exists() or find_spec("torch") is None:
        return False
    from inference.runtime.eager import has_card  # noqa: PLC0415 - optional

    return has_card()


def probability(logits: F64, bundle: Bundle) -> F64:
    """Turn logits into probabilities by the card's calibration: sigmoid(slope * x + intercept)."""
    calibration = bundle.card.get("calibration", {})
    slope, intercept = calibration.get("slope", 1.0), calibration.get("intercept", 0.0)
    chance: F64 = 1 / (1 + np.exp(-np.clip(slope * logits + intercept, -60, 60)))
    return chance


def missing_weight(name: str) -> BundleError:
    """Name a tensor that the card's network needs and the weights lack."""
    return BundleError(f"the weights do not fit the card's network: {name}")
