"""The network as an OpenVINO graph, built from the bundle's safetensors without torch.

Batch norm is folded into the convolutions: `w' = w g / s`, `b' = b - m g / s`, s = sqrt(v + eps).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from inference.architecture import BLOCKS, NetworkConfig
from inference.forms import F32
from inference.runtime import missing_weight

_EPSILON = 1e-5  # torch's BatchNorm2d


def build(weights: Mapping[str, Any], config: NetworkConfig, *, maps: bool = False) -> Any:
    """Give an OpenVINO model: `input` (n, 1, H, W) -> `logits` (n,), `features` (n, 2048); float32.

    Args:
        weights: the bundle's tensors by name.
        config: the network's numbers.
        maps: give what `inference.runtime.maps` reads, too: `evidence` (n, 1, H/32, W/32), whose
            mean and the head's bias are the logit, and for each attention block its gate,
            `attention<layer>` (n, 1, h, w).

    Raises:
        BundleError: a tensor is missing or of another shape.
    """
    made = _Builder(weights)
    image = ops.parameter([-1, 1, config.height, config.width], np.float32, name="input")
    x = ops.relu(made.conv(image, "conv1", "bn1", stride=2))  # (n, 64, H/2, W/2)
    x = ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)  # (n, 64, H/4, W/4)
    for layer, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            x = made.bottleneck(x, f"layer{layer}.{block}", 2 if block == 0 < layer - 1 else 1)
        if layer in config.sa_after:
            x = made.attention(x, layer, config)
    pooled = ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)  # (n, 2048)
    weight, bias = made.tensor("fc.weight"), made.tensor("fc.bias")
    logits = ops.add(ops.matmul(pooled, weight, False, True), bias)  # (n, 1)
    outputs = {"logits": ops.squeeze(logits, np.array([1])), "features": pooled}
    if maps:
        head = weight[:, :, None, None]  # (1, 2048, 1, 1)
        outputs["evidence"] = ops.convolution(x, head, [1, 1], [0, 0], [0, 0], [1, 1])
        outputs |= {f"attention{layer}": gate for layer, gate in made.gates.items()}
    for name, node in {"input": image, **outputs}.items():
        node.output(0).get_tensor().set_names({name})
    return ov.Model(list(outputs.values()), [image], "sa-resnet50")


class _Builder:
    """Nodes from named tensors.

    Attributes:
        gates: layer to the sigmoid of its attention block, (n, 1, h, w).
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.weights = weights
        self.gates: dict[int, Any] = {}

    def tensor(self, name: str) -> F32:
        """Give one tensor as float32."""
        if name not in self.weights:
            raise missing_weight(name)
        return np.asarray(self.weights[name], np.float32)

    def conv(self, x: Any, conv: str, norm: str, stride: int = 1) -> Any:
        """Convolve with batch norm folded in; padding keeps the size over the stride."""
        kernel = self.tensor(f"{conv}.weight")  # (out, in, k, k)
        gain = self.tensor(f"{norm}.weight") / np.sqrt(
            self.tensor(f"{norm}.running_var") + _EPSILON
        )
        if kernel.ndim != 4 or kernel.shape[0] != gain.size:
            raise missing_weight(f"{conv}.weight has shape {kernel.shape}")
        bias = self.tensor(f"{norm}.bias") - self.tensor(f"{norm}.running_mean") * gain
        folded = kernel * gain[:, None, None, None]
        pad = [kernel.shape[2] // 2] * 2
        return ops.add(
            ops.convolution(x, folded, [stride] * 2, pad, pad, [1, 1]), bias[None, :, None, None]
        )

    def bottleneck(self, x: Any, name: str, stride: int) -> Any:
        """Build a ResNet v1.5 bottleneck: the stride sits on the 3x3."""
        y = ops.relu(self.conv(x, f"{name}.conv1", f"{name}.bn1"))
        y = ops.relu(self.conv(y, f"{name}.conv2", f"{name}.bn2", stride))
        y = self.conv(y, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in self.weights:
            x = self.conv(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return ops.relu(ops.add(y, x))

    def attention(self, x: Any, layer: int, config: NetworkConfig) -> Any:
        """Build CBAM's spatial gate after a layer."""
        name = f"sa{layer}"
        axis = np.array([1])
        seen = ops.concat([ops.reduce_mean(x, axis, True), ops.reduce_max(x, axis, True)], 1)
        kernel = self.tensor(f"{name}.conv.weight")
        if kernel.shape != (1, 2, config.sa_kernel, config.sa_kernel):
            raise missing_weight(f"{name}.conv.weight has shape {kernel.shape}")
        pad = [config.sa_kernel // 2] * 2
        gate = ops.sigmoid(ops.convolution(seen, kernel, [1, 1], pad, pad, [1, 1]))
        self.gates[layer] = gate
        if config.gate == "residual":
            gate = ops.add(gate, np.float32(1))
        return ops.multiply(x, gate)
