"""Ablations: one declared axis at a time against the base settings, on the same folds and seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference import report
from inference.develop import DevelopConfig, develop
from inference.loss import KINDS, LossConfig
from inference.network import NetworkConfig
from inference.preprocess import Recipe
from inference.train import TrainConfig

AXES = ("attention", "loss", "preprocess", "size")
SIZES = ((128, 256), (224, 224), (256, 384), (512, 768))


def variants(base: TrainConfig, axis: str) -> dict[str, TrainConfig]:
    """Give the variants of one axis by name, the base's own value among them.

    Raises:
        ValueError: an unknown axis.
    """
    net = base.network
    if axis == "attention":
        places: dict[str, tuple[int, ...]] = {"none": (), "after 1-3": (1, 2, 3)}
        places["after 1-4"] = (1, 2, 3, 4)
        made = {k: replace(base, network=replace(net, sa_after=v)) for k, v in places.items()}
        residual = replace(net, gate="residual")
        return made | {"after 1-3, residual gate": replace(base, network=residual)}
    if axis == "loss":
        return {kind: replace(base, loss=LossConfig(kind)) for kind in KINDS}
    if axis == "preprocess":
        recipe = base.recipe
        return {
            "all steps": base,
            "fixed threshold": replace(base, recipe=replace(recipe, binarise="fixed")),
            "no noise reduction": replace(base, recipe=replace(recipe, denoise="none")),
            "no components": replace(base, recipe=replace(recipe, min_component_mm2=0.0)),
            "no opening": replace(base, recipe=replace(recipe, opening="none")),
            "none (grey)": replace(base, recipe=_grey(recipe)),
        }
    if axis == "size":
        return {f"{h}x{w}": _sized(base, h, w) for h, w in SIZES}
    raise ValueError(f"an axis is one of {', '.join(AXES)}, not {axis!r}")


def _grey(recipe: Recipe) -> Recipe:
    return replace(recipe, binarise="none", denoise="none", min_component_mm2=0.0, opening="none")


def _sized(base: TrainConfig, height: int, width: int) -> TrainConfig:
    network: NetworkConfig = replace(base.network, height=height, width=width)
    return replace(
        base,
        network=network,
        recipe=replace(base.recipe, input_height=height, input_width=width),
    )


def ablate(
    table: Path,
    out: Path,
    *,
    epochs: int,
    axes: Sequence[str],
    folds: int = 5,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Train every variant of the axes; write `ablation.json` and `ablation.html`.

    A variant whose results are there already is not trained again.
    """
    base = TrainConfig(epochs=epochs, device=device)
    grid = [(axis, name, config) for axis in axes for name, config in variants(base, axis).items()]
    results = []
    for number, (axis, name, config) in enumerate(grid, start=1):
        tell(f"{number}/{len(grid)} {axis}: {name}")
        folder = out / axis / "".join(c if c.isalnum() else "-" for c in name)
        kept = folder / "report" / "results.json"
        if kept.exists():
            found = json.loads(kept.read_text())
        else:
            found = develop(table, folder, config, DevelopConfig(folds=folds, int8=False))
        results.append({"axis": axis, "variant": name, "metrics": found["metrics"]})
    write(results, out)
    return results


def write(results: Sequence[dict[str, Any]], out: Path) -> None:
    """Write the comparison as JSON and HTML."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablation.json").write_text(json.dumps(list(results), indent=1))
    rows = [
        (r["axis"], r["variant"], *(report.interval(r["metrics"][m]) for m in _SHOWN))
        for r in results
    ]
    body = report.table(("axis", "variant", "AUROC", "AUPRC", "F1"), rows)
    (out / "ablation.html").write_text(report.document("Ablations", body))


_SHOWN = ("auroc", "auprc", "f1")
