"""Torch, on the CPU or a CUDA card: the reference that the other runtimes are measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from inference.bundle import Bundle
from inference.errors import RuntimeMissing
from inference.forms import F32, F64
from inference.runtime import Outputs, missing_weight

try:
    import torch

    from inference.network import SaResNet50, build
except ImportError as error:
    raise RuntimeMissing(
        "the torch runtime needs torch: install `ecg-gateway[gpu]` or `[train]`, "
        "or choose an openvino runtime"
    ) from error

_LARGEST_BATCH = 32


def has_card() -> bool:
    """Tell whether this torch sees a CUDA card."""
    return bool(torch.cuda.is_available())


def network_of(bundle: Bundle) -> SaResNet50:
    """Build the bundle's network in fp32, in evaluation mode.

    Raises:
        BundleError: the weights do not fit the card's network.
    """
    network = build(bundle.network)
    state: dict[str, Any] = {k: torch.from_numpy(v).float() for k, v in bundle.weights().items()}
    own = network.state_dict()
    for name in own:
        if name.endswith("num_batches_tracked"):
            state[name] = own[name]
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise missing_weight(str(error).splitlines()[-1].strip()) from error
    network.eval()
    return network


class TorchRuntime:
    """Fp32, on `device`, or on the first CUDA card if there is one."""

    def __init__(self, bundle: Bundle, threads: int = 0, device: str = "") -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device(device or ("cuda" if has_card() else "cpu"))
        torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32: TF32 moved scores by 0.01
        self._network = network_of(bundle).to(self._device)

    @property
    def name(self) -> str:
        """`torch`, with `-cuda` on a card."""
        return "torch" if self._device.type == "cpu" else "torch-cuda"

    def logits(self, batch: F32) -> F64:
        """Score (n, 1, H, W) inputs."""
        return self.outputs(batch).logits

    def outputs(self, batch: F32) -> Outputs:
        """Give logits and pooled features of (n, 1, H, W) inputs, in runs that fit the memory."""
        given = torch.from_numpy(np.ascontiguousarray(batch))
        with torch.inference_mode():
            pooled = torch.cat(
                [
                    self._network.features(part.to(self._device))
                    for part in given.split(_LARGEST_BATCH)
                ]
            )  # (n, 2048)
            logits: F64 = self._network.fc(pooled).squeeze(1).double().cpu().numpy()
            return Outputs(logits, pooled.cpu().numpy())
