"""OpenVINO on the CPU: fp32 and bf16 from the safetensors, int8 from the bundle's own graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import openvino as ov

from inference.architecture import FEATURES
from inference.bundle import INT8, Bundle
from inference.errors import BundleError, RuntimeMissing
from inference.forms import F32, F64
from inference.runtime import Outputs, graph

PRECISIONS = ("int8", "bf16", "fp32")
_LARGEST_BATCH = 8
_FEATURELESS = f"{INT8[0]} gives no features to measure a distance by: build the bundle anew"


@cache
def core() -> Any:
    """Give this process's one OpenVINO core, which lives as long as it does.

    The CPU plugin sets the signal stack of the thread that loads it and unmaps it with its core
    (openvinotoolkit/openvino#11894). Two cores that end in the order in which they began, as those
    of a bundle and of its successor, leave the first one's stack set and gone: the next SIGTERM or
    SIGCHLD is then a segmentation fault.
    """
    return ov.Core()


def has_bf16() -> bool:
    """Tell whether this processor computes in bfloat16."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class VinoRuntime:
    """A compiled model for each batch size that was asked for; batch 1 is ready at once."""

    def __init__(self, bundle: Bundle, precision: str, threads: int = 0) -> None:
        if precision not in PRECISIONS:
            raise RuntimeMissing(f"OpenVINO runs {', '.join(PRECISIONS)}, not {precision!r}")
        self._name = f"openvino-{precision}"
        self._size = (bundle.network.height, bundle.network.width)
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "CACHE_DIR": "",
        }
        self._model = self._read(bundle, precision)
        self._compiled: dict[int, Any] = {1: self._compile(1)}

    @property
    def name(self) -> str:
        """`openvino-` and the precision."""
        return self._name

    def logits(self, batch: F32) -> F64:
        """Score (n, 1, H, W) inputs in runs of at most eight."""
        return np.concatenate([np.empty(0), *(np.array(out[0]) for out in self._runs(batch))])

    def outputs(self, batch: F32) -> Outputs:
        """Give logits and pooled features of (n, 1, H, W) inputs in runs of at most eight."""
        if len(self._model.outputs) == 1:
            raise BundleError(_FEATURELESS)
        parts = [(np.array(out[0]), np.array(out[1])) for out in self._runs(batch)]
        features = np.concatenate([np.empty((0, FEATURES), np.float32), *(f for _, f in parts)])
        return Outputs(np.concatenate([np.empty(0), *(each for each, _ in parts)]), features)

    def _runs(self, batch: F32) -> Iterator[Any]:
        """Give the outputs of each run; the next one writes over them."""
        if batch.ndim != 4 or batch.shape[1:] != (1, *self._size):
            raise ValueError(f"inputs are (n, 1, {self._size[0]}, {self._size[1]})")
        for first in range(0, len(batch), _LARGEST_BATCH):
            part = np.ascontiguousarray(batch[first : first + _LARGEST_BATCH], np.float32)
            if len(part) not in self._compiled:
                self._compiled[len(part)] = self._compile(len(part))
            yield self._compiled[len(part)].infer({0: part})

    def _compile(self, batch: int) -> Any:
        model = self._model.clone()
        model.reshape([batch, 1, *self._size])
        return core().compile_model(model, "CPU", self._options).create_infer_request()

    def _read(self, bundle: Bundle, precision: str) -> Any:
        if precision != "int8":
            return graph.build(bundle.weights(), bundle.network)
        path = bundle.path / INT8[0]
        if not path.exists():
            raise RuntimeMissing(f"bundle {bundle.name} holds no int8 model; use openvino-fp32")
        try:
            model = core().read_model(path)
        except RuntimeError as error:
            raise BundleError(f"{INT8[0]} cannot be read by this OpenVINO") from error
        if bundle.embedded and len(model.outputs) == 1:
            raise BundleError(_FEATURELESS)
        return model
