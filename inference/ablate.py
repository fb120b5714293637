"""Ablations: one declared axis at a time against the base settings, on the same folds and seed.

The cohort is read once. Each variant trains in a directory of its own: a finished one keeps its
bundle, settings, split and log and is not trained again; an interrupted one goes on. Every variant
scores the same test ECGs (the guard is left out), so differences from the base are measured pair by
pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from inference import markup, metrics
from inference.axes import AXES, SIZES, Size, variants
from inference.bank import Bank, draw
from inference.bundle import Bundle, open_bundle
from inference.charts import aurocs, forest
from inference.checkpoint import check_room
from inference.cohort import Tell, silent
from inference.develop import (
    DevelopConfig,
    inputs_of,
    make_bundle,
    outcomes_of,
    refuse_another,
    tidy,
    train_on,
)
from inference.examples import Examples
from inference.figures import EvaluateConfig, Metric, bootstrapped
from inference.outcomes import Outcomes
from inference.parts import Parts, read_parts
from inference.runtime import load
from inference.train import Report, check_start
from inference.train_config import TrainConfig

BASE = "base"
_METRICS: dict[str, Metric] = {
    "auroc": metrics.auroc,
    "auprc": metrics.auprc,
    "f1": lambda labels, scores: metrics.f1(labels, scores, 0.5),
}


@dataclass(frozen=True, slots=True)
class AblateConfig:
    """What is compared.

    Attributes:
        base: what every variant changes in one place.
        axes: of `AXES`.
        only: names of the variants to train; empty trains all.
        sizes: the variants of the axis `size`.
        folds, test_fold: as in `DevelopConfig`.
        draws: of the bootstrap, by patient.
        draw_once: keep the training examples of every epoch in `out` and have the variants that
            draw alike share them; the results are the same.
    """

    base: TrainConfig = field(default_factory=TrainConfig)
    axes: Sequence[str] = AXES
    only: Sequence[str] = ()
    sizes: Sequence[Size] = SIZES
    folds: int = 5
    test_fold: int = 0
    draws: int = 1000
    draw_once: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be compared, before anything is read."""
        grid(self)
        self.use()
        self.report()

    def use(self) -> DevelopConfig:
        """Give how the cohort is used."""
        return DevelopConfig(self.folds, self.test_fold, int8=False)

    def report(self) -> EvaluateConfig:
        """Give what the comparison reports."""
        return EvaluateConfig(draws=self.draws)


@dataclass(frozen=True, slots=True)
class Variant:
    """One cell of the grid: an axis, a name, and all settings."""

    axis: str
    name: str
    train: TrainConfig

    @property
    def folder(self) -> str:
        """Name its directory."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).split())


def grid(config: AblateConfig) -> list[Variant]:
    """Give the base, then every variant that differs from it.

    Raises:
        ValueError: an unknown axis, a name in `only` that no axis has, or nothing but the base.
    """
    made = [
        Variant(axis, name, train)
        for axis in config.axes
        for name, train in variants(config.base, axis, config.sizes).items()
    ]
    unknown = set(config.only) - {each.name for each in made}
    if unknown:
        raise ValueError(f"no variant {', '.join(sorted(unknown))} on these axes")
    wanted = [each for each in made if not config.only or each.name in config.only]
    differing = [each for each in wanted if each.train != config.base]
    if not differing:
        raise ValueError("nothing to compare: no variant on these axes differs from the base")
    return [Variant(BASE, BASE, config.base), *differing]


def ablate(
    table: Path,
    out: Path,
    config: AblateConfig,
    *,
    tell: Tell = silent,
    begin: Callable[[str], None] = lambda _: None,
    progress: Report = lambda _: None,
) -> list[dict[str, Any]]:
    """Train every variant; write `ablation.json` and `ablation.html` anew after each.

    Args:
        table: the cohort.
        out: directory; a variant's own is `AXIS/NAME` in it, with its bundle; examples that are
            drawn once are in `bank-...`.
        config: what is compared.
        tell: told of the reading of the cohort.
        begin: told of each variant as it begins.
        progress: told of the training.

    Raises:
        CohortError, RuntimeMissing: as `inference.develop.develop`; or there is no room for the
            examples.
    """
    cells, use = grid(config), config.use()
    check_start(config.base)
    parts = read_parts(table, config.folds, config.test_fold, tell)
    rows: list[dict[str, Any]] = []
    base: Outcomes | None = None
    for number, cell in enumerate(cells, start=1):
        begin(f"{number}/{len(cells)} {cell.axis}: {cell.name}")
        folder = out / cell.axis / cell.folder
        refuse_another(parts, folder, cell.train)
        if not (folder / "bundle").exists():
            drawn = _drawn(cell.train, parts, out, tell) if config.draw_once else None
            train_on(parts, folder, cell.train, progress, drawn)
            make_bundle(parts, folder, cell.train, _named(use, cell))
        tidy(folder)
        bundle = open_bundle(folder / "bundle")
        outcomes = _scored(bundle, parts)
        base = base or outcomes
        rows.append(_row(cell, outcomes, base, config))
        write(rows, _facts(config, parts), out)
    return rows


def _named(use: DevelopConfig, cell: Variant) -> DevelopConfig:
    return replace(use, name=f"ablation-{cell.axis}-{cell.folder}")


def _drawn(train: TrainConfig, parts: Parts, out: Path, tell: Tell) -> Bank:
    """Give every training example of a run, drawn now if no variant before draws alike.

    Raises:
        CohortError: there is no room for them.
    """
    sources = parts.sources["train"]
    alike = (asdict(train.recipe), asdict(train.augment), train.seed, train.epochs, parts.split())
    name = hashlib.sha256(json.dumps([*alike, parts.digest]).encode()).hexdigest()[:12]
    folder = out / f"bank-{name}"
    if not folder.exists():
        out.mkdir(parents=True, exist_ok=True)
        height, width = train.recipe.input_height, train.recipe.input_width
        check_room(out, train.epochs * len(sources) * height * width, "the examples")
        examples = Examples(sources, train.recipe, train.augment, train.seed)
        begun = folder.with_suffix(".drawing")
        draw([examples] * train.epochs, begun, train.workers, partial(tell, "drawing examples"))
        begun.rename(folder)
    return Bank(folder, range(len(sources)), range(train.epochs))


def _scored(bundle: Bundle, parts: Parts) -> Outcomes:
    """Score every test ECG; `scores` above 0.5 are at or over the bundle's own threshold."""
    test = parts.sources["test"]
    inputs = inputs_of(test, TrainConfig(recipe=bundle.recipe))
    logits = load(bundle, "openvino-fp32").logits(inputs[:, None])
    level = np.log(bundle.threshold / (1 - bundle.threshold))
    return outcomes_of(bundle, test, logits - level)


def _row(cell: Variant, outcomes: Outcomes, base: Outcomes, config: AblateConfig) -> dict[str, Any]:
    use = config.report()
    both = replace(outcomes, scores=np.stack((outcomes.scores, base.scores), 1))  # (n, 2)
    moved = {name: _difference(metric) for name, metric in _METRICS.items()}
    return {
        "axis": cell.axis,
        "variant": cell.name,
        "metrics": bootstrapped(outcomes, _METRICS, use),
        "difference": None if outcomes is base else bootstrapped(both, moved, use),
    }


def _difference(metric: Metric) -> Metric:
    return lambda labels, both: metric(labels, both[:, 0]) - metric(labels, both[:, 1])


def _facts(config: AblateConfig, parts: Parts) -> dict[str, Any]:
    sizes = {use: len(held) for use, held in parts.sources.items()}
    return {"base": config.base.document(), "ecgs": sizes, "draws": config.draws}


def write(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], out: Path) -> None:
    """Write the comparison as JSON and HTML."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablation.json").write_text(json.dumps({**facts, "variants": list(rows)}, indent=1))
    (out / "ablation.html").write_text(html(rows, facts))


def html(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """Give the comparison as a page."""
    base, ecgs = facts["base"], facts["ecgs"]
    net, given = base["network"], base["pretrained"]
    start = f" from the weights in {escape(Path(given).name)}" if given else ""
    told = (
        f"<p>Base: SA after layers {net['sa_after']}, gate {escape(net['gate'])}, loss "
        f"{escape(base['loss']['kind'])}, input {net['height']}x{net['width']}, {base['epochs']} "
        f"epochs{start}, batch {base['batch']}, peak learning rate {base['peak_lr']:g}, seed "
        f"{base['seed']}. Trained on {ecgs['train']} ECGs, threshold chosen on {ecgs['val']}, "
        f"figures of {ecgs['test']}; 95 % intervals, {facts['draws']} bootstrap draws by patient. "
        "A difference is of the same ECGs, variant less base. The intervals hold the chance of "
        "the test ECGs, not that of another seed.</p>"
    )
    if any(row["axis"] == "size" for row in rows):
        told += _STRETCHED
    shown = [(f"{row['axis']}: {row['variant']}", *row["metrics"]["auroc"]) for row in rows]
    moved = [
        (f"{row['axis']}: {row['variant']}", *row["difference"]["auroc"])
        for row in rows
        if row["difference"]
    ]
    line = rows[0]["metrics"]["auroc"][0]
    body = told + markup.table(_HEAD, [_cells(row) for row in rows])
    body += aurocs("AUROC; dashed: the base", shown, line)
    widest = max((abs(end) for row in moved for end in row[1:] if end is not None), default=0.1)
    span = (-widest, widest)
    body += forest("Difference of AUROC from the base", moved, span, 0.0) if moved else ""
    return markup.document("Ablation", body)


_NAMES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1"}
_HEAD = ("axis", "variant", *_NAMES.values(), *(f"{name} less base" for name in _NAMES.values()))
_STRETCHED = (
    '<p class="note">The panel is twice as wide as high. A size of another aspect shows it '
    "stretched, so on the axis of sizes it differs from the base in the traces' shape too.</p>"
)


def _cells(row: Mapping[str, Any]) -> list[str]:
    found, moved = row["metrics"], row["difference"]
    return [
        row["axis"],
        row["variant"],
        *(markup.interval(found[name]) for name in _NAMES),
        *(markup.interval(moved[name]) if moved else "" for name in _NAMES),
    ]
