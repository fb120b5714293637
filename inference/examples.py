"""From a source of ECGs to training examples, each drawn anew every epoch.

    source ── tracings (augmented in mV) ── draw ── panel (moved) ── preprocess ── input (faded)

The drawing and the four steps are the ones that serve: what the network trains on is what it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from inference import augment
from inference.augment import AugmentConfig
from inference.forms import F32, Tracings
from inference.prepare import as_grey
from inference.preprocess import PX_PER_MM, Recipe, preprocess
from inference.render import panel
from inference.render.look import STROKE_MM

NO_TARGETS = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One draw of a source.

    Attributes:
        tracings: what the page will show.
        label: 0 or 1, the endpoint.
        classes: auxiliary yes/no targets, NaN = unknown; for training only.
        measures: auxiliary real targets of about unit size, NaN = unknown; for training only.
    """

    tracings: Tracings
    label: float
    classes: F32
    measures: F32


class Source(Protocol):
    """One ECG of a cohort."""

    @property
    def key(self) -> str:
        """Name it without PHI."""

    @property
    def label(self) -> int:
        """Give the endpoint, 0 or 1."""

    def draw(self, config: AugmentConfig, rng: np.random.Generator) -> Drawn:
        """Draw it once; with `augment.NONE` always the same."""


class Examples(Dataset[Any]):  # type: ignore[misc]
    """Indexed by (epoch, place); the same seed, epoch and place give the same example."""

    def __init__(
        self, sources: list[Any], recipe: Recipe, config: AugmentConfig, seed: int = 0
    ) -> None:
        self.sources, self.recipe, self.config, self.seed = sources, recipe, config, seed

    def __len__(self) -> int:
        """Count the sources."""
        return len(self.sources)

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        """Give (1, H, W) uint8 input, 255 = all trace, label, classes and measures."""
        epoch, place = at
        rng = np.random.default_rng((self.seed, epoch, place))
        drawn = self.sources[place].draw(self.config, rng)
        pixels = as_grey(to_input(drawn.tracings, self.recipe, self.config, rng))
        return (
            torch.from_numpy(pixels)[None],
            torch.tensor(drawn.label, dtype=torch.float32),
            torch.from_numpy(drawn.classes),
            torch.from_numpy(drawn.measures),
        )


def to_input(
    tracings: Tracings, recipe: Recipe, config: AugmentConfig, rng: np.random.Generator
) -> F32:
    """Draw tracings as the network sees them, (H, W) float32, moved as `config` says."""
    shown = Tracings(
        augment.lose_lead(tracings.leads_mv, config, rng),
        augment.lose_rhythm(tracings.rhythm_mv, config, rng),
        tracings.rate_hz,
    )
    stroke_mm = STROKE_MM + float(rng.uniform(0, config.stroke_mm))
    drawn = augment.panel(panel(shown, stroke_mm=stroke_mm), PX_PER_MM, config, rng)
    return augment.intensity(preprocess(drawn, recipe).input, config, rng)


def one_thread(_: int) -> None:
    """Keep a data-loading process to one thread."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
