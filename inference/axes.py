"""The declared axes: what the paper leaves open, each with the variants that are compared.

One axis at a time changes a training's settings. Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inference.loss import KINDS
from inference.preprocess import Recipe
from inference.train_config import TrainConfig

AXES = ("attention", "loss", "preprocess", "size", "pretraining")
SIZES = ((128, 256), (224, 224), (256, 384), (512, 768))
"""The panel is twice as wide as high: an input of another aspect shows it stretched."""
AREAS_MM2 = (1.0, 16.0)
"""Smallest components that are kept, beside the base's."""

Size = tuple[int, int]
"""Height and width of the input, px."""


def variants(base: TrainConfig, axis: str, sizes: Sequence[Size] = SIZES) -> dict[str, TrainConfig]:
    """Give the variants of one axis by name, the base's own value among them.

    Without weights to start from, the axis `pretraining` has none.

    Raises:
        ValueError: an unknown axis.
    """
    net = base.network
    if axis == "attention":
        places: dict[str, tuple[int, ...]] = {"none": (), "after 1-3": (1, 2, 3)}
        places["after 1-4"] = (1, 2, 3, 4)
        made = {k: replace(base, network=replace(net, sa_after=v)) for k, v in places.items()}
        residual = replace(net, sa_after=(1, 2, 3), gate="residual")
        return made | {"after 1-3, residual gate": replace(base, network=residual)}
    if axis == "loss":
        return {kind: replace(base, loss=replace(base.loss, kind=kind)) for kind in KINDS}
    if axis == "preprocess":
        recipe = base.recipe
        return {
            "all steps": base,
            "Otsu": replace(base, recipe=replace(recipe, binarise="otsu")),
            "no noise reduction": replace(base, recipe=replace(recipe, denoise="none")),
            **{
                f"components of {area:g} mm2": replace(
                    base, recipe=replace(recipe, min_component_mm2=area)
                )
                for area in AREAS_MM2
            },
            "no components": replace(base, recipe=replace(recipe, min_component_mm2=0.0)),
            "no opening": replace(base, recipe=replace(recipe, opening="none")),
            "none (grey)": replace(base, recipe=_grey(recipe)),
        }
    if axis == "size":
        return {f"{h}x{w}": _sized(base, h, w) for h, w in sizes}
    if axis == "pretraining":
        scratch = {"from scratch": replace(base, pretrained="")}
        return {"from weights": base} | scratch if base.pretrained else {}
    raise ValueError(f"an axis is one of {', '.join(AXES)}, not {axis!r}")


def _grey(recipe: Recipe) -> Recipe:
    return replace(recipe, binarise="none", denoise="none", min_component_mm2=0.0, opening="none")


def _sized(base: TrainConfig, height: int, width: int) -> TrainConfig:
    return replace(
        base,
        network=replace(base.network, height=height, width=width),
        recipe=replace(base.recipe, input_height=height, input_width=width),
    )
