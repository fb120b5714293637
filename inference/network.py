"""SA-ResNet50: torchvision's ResNet50 with spatial attention between its layers (Lu et al. 2025).

The paper states a ResNet50 with a spatial-attention block "after each layer and before the next
layer". The form of the block (CBAM, Woo et al., arXiv 1807.06521), its positions, the one-channel
stem and the one-logit head are this project's choices and can be switched in `NetworkConfig`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import resnet50

from inference.architecture import FEATURES, Gate, NetworkConfig
from inference.errors import CohortError

__all__ = ["NetworkConfig", "SaResNet50", "SpatialAttention", "build", "load_pretrained"]


class SpatialAttention(nn.Module):  # type: ignore[misc]
    """CBAM's spatial gate: `M = sigmoid(conv([mean over channels; max over channels]))`."""

    def __init__(self, gate: Gate = "multiply", kernel: int = 7) -> None:
        super().__init__()
        self.gate = gate
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def map(self, x: Tensor) -> Tensor:
        """Give the gate M: (n, c, h, w) -> (n, 1, h, w), 0 to 1."""
        seen = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)  # (n, 2, h, w)
        return torch.sigmoid(self.conv(seen))

    def forward(self, x: Tensor) -> Tensor:
        """Gate the features, same shape."""
        gate = self.map(x)
        return x * gate if self.gate == "multiply" else x * (1 + gate)


class SaResNet50(nn.Module):  # type: ignore[misc]
    """The network: (n, 1, height, width) float 0..1 -> (n,) logits."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        base = resnet50(weights=None, zero_init_residual=True)
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu, self.maxpool = base.bn1, base.relu, base.maxpool
        for number in range(1, 5):
            setattr(self, f"layer{number}", getattr(base, f"layer{number}"))
            if number in config.sa_after:
                setattr(self, f"sa{number}", SpatialAttention(config.gate, config.sa_kernel))
        self.fc = nn.Linear(FEATURES, 1)
        self.auxiliary = nn.Linear(FEATURES, config.auxiliary) if config.auxiliary else None

    def feature_map(self, x: Tensor, maps: dict[int, Tensor] | None = None) -> Tensor:
        """Give the last feature map; `maps` receives the gate of each attention block.

        Shape: (n, 1, h, w) -> (n, 2048, h/32, w/32).
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (n, 64, h/4, w/4)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
            if number in self.config.sa_after:
                block = getattr(self, f"sa{number}")
                if maps is not None:
                    maps[number] = block.map(x)
                x = block(x)
        return x

    def features(self, x: Tensor) -> Tensor:
        """Give the pooled features: (n, 1, h, w) -> (n, 2048)."""
        return self.feature_map(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Give the endpoint's logits: (n, 1, h, w) -> (n,)."""
        logits: Tensor = self.fc(self.features(x)).squeeze(1)
        return logits

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the logits (n,) and the auxiliary outputs (n, auxiliary), for training."""
        pooled = self.features(x)
        if self.auxiliary is None:
            return self.fc(pooled).squeeze(1), pooled.new_zeros((len(pooled), 0))
        return self.fc(pooled).squeeze(1), self.auxiliary(pooled)


def build(config: NetworkConfig | None = None) -> SaResNet50:
    """Build a network with fresh weights (He initialisation, seeded by `torch.manual_seed`)."""
    return SaResNet50(config or NetworkConfig())


def load_pretrained(network: SaResNet50, path: Path) -> list[str]:
    """Start from a local safetensors checkpoint of a ResNet50; give the names left untouched.

    A three-channel stem is summed over its channels; heads of another size are left fresh.

    Raises:
        CohortError: the file is no safetensors file, or nothing in it fits this network.
    """
    try:
        given = load_file(path)
    except SafetensorError as error:
        raise CohortError(f"{path.name} is no safetensors file") from error
    stem = given.get("conv1.weight")
    if stem is not None and stem.shape[1] != 1:
        given["conv1.weight"] = stem.sum(1, keepdim=True)
    own = network.state_dict()
    fit = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not any(k.endswith("weight") for k in fit):
        raise CohortError(f"{path.name} holds no weight that fits a ResNet50")
    network.load_state_dict(fit, strict=False)
    return sorted(set(own) - set(fit))
