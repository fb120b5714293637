"""How far an input's features are from those of the training inputs: what the network itself sees.

The features (2048, rectified and pooled, what the head weighs) of the training inputs are described
by the first principal components of their square roots, which are nearer to Gaussian, and by what
lies beside these. An input is judged by both halves: the Mahalanobis distance within the components
(Lee et al., arXiv 1807.03888) and the norm of the residual beside them (as in ViM, Wang et al.,
arXiv 2203.10807), each over what is usual for the training inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from inference.errors import BundleError
from inference.forms import F32

EMBEDDING = "embedding.safetensors"
SHARE = 0.99
"""The components hold this share of the variance of the training inputs ..."""
PER_COMPONENT = 10
"""... or fewer of it, so that each is known from this many training inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The training inputs' features, described.

    Attributes:
        mean: (d,) of the features' square roots.
        axes: (k, d) principal components, orthonormal.
        spread: (k,) standard deviation along each.
        residual: (1,) root mean square of the distance from their span.
    """

    mean: F32
    axes: F32
    spread: F32
    residual: F32

    def distances(self, features: F32) -> NDArray[np.float64]:
        """Give the distance of (n, d) features, 0 or more: (n,), about 1 for a training input."""
        centred = np.sqrt(features) - self.mean  # (n, d)
        along = centred @ self.axes.T  # (n, k)
        beside = (centred**2).sum(1) - (along**2).sum(1)  # (n,) squared
        within = ((along / self.spread) ** 2).mean(1)
        both = (within + np.maximum(beside, 0) / self.residual**2) / 2
        return np.asarray(np.sqrt(both), np.float64)

    def save(self, folder: Path) -> None:
        """Write the bundle's file."""
        held = save({name: getattr(self, name) for name in self.__slots__})
        (folder / EMBEDDING).write_bytes(held)  # save_file would keep it from other users

    @classmethod
    def read(cls, folder: Path) -> Embedding:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is damaged, or not one of this version.
        """
        try:
            held: dict[str, Any] = load_file(folder / EMBEDDING)
            return cls(**held)
        except (OSError, SafetensorError, TypeError) as error:
            raise BundleError(f"{EMBEDDING}: {error}") from error


def fit(features: F32) -> Embedding:
    """Describe the (n, d) features of the training inputs."""
    roots = np.sqrt(features)
    mean = roots.mean(0)
    centred = roots - mean
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    held = np.cumsum(sizes**2) / (sizes**2).sum()
    count = min(int(np.searchsorted(held, SHARE)) + 1, max(1, len(features) // PER_COMPONENT))
    kept = axes[:count]
    beside = (centred**2).sum(1) - ((centred @ kept.T) ** 2).sum(1)
    return Embedding(
        mean=mean,
        axes=np.ascontiguousarray(kept),
        spread=sizes[:count] / np.sqrt(np.float32(len(features) - 1)),
        residual=np.sqrt(beside.mean(keepdims=True)),
    )
