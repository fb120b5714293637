"""The numbers that describe an SA-ResNet50, readable without torch: a bundle's `[network]` table.

The paper (Lu et al. 2025) states a ResNet50 with a spatial-attention block "after each layer and
before the next layer"; everything else here is this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Gate = Literal["multiply", "residual"]
FEATURES = 2048
"""Channels of the last layer, pooled before the head."""
BLOCKS = (3, 4, 6, 3)
"""Bottlenecks in layers 1 to 4 (He et al., arXiv 1512.03385, table 1)."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What is built.

    Attributes:
        height, width: input size in pixels; one channel, 0 = paper, 1 = trace.
        sa_after: the layers (1 to 4) that are followed by a spatial-attention block.
        gate: `multiply` is `x * M` (CBAM); `residual` is `x * (1 + M)`.
        sa_kernel: side of the attention convolution, odd, in pixels of the feature map.
        auxiliary: outputs of the training-only head on the pooled features; 0 leaves it out.
    """

    height: int = 128
    width: int = 256
    sa_after: tuple[int, ...] = (1, 2, 3)
    gate: Gate = "multiply"
    sa_kernel: int = 7
    auxiliary: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not set(self.sa_after) <= {1, 2, 3, 4}:
            raise ValueError(f"sa_after names layers 1 to 4, not {self.sa_after}")
        if self.gate not in ("multiply", "residual"):
            raise ValueError(f"gate is multiply or residual, not {self.gate!r}")
        if self.sa_kernel % 2 == 0 or min(self.height, self.width) < 32:
            raise ValueError("sa_kernel must be odd, height and width at least 32 px")

    def document(self) -> dict[str, Any]:
        """Give the fields as plain values, for a card or a checkpoint."""
        return asdict(self) | {"sa_after": list(self.sa_after)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> NetworkConfig:
        """Read what `document` wrote."""
        return cls(**{**document, "sa_after": tuple(document["sa_after"])})
