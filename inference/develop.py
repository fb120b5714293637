"""From a cohort table to a bundle and its internal validation, in one call.

table ── folds by patient ── Run ── bundle (validation fold) ── report (test fold)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference import augment, guard
from inference.augment import AugmentConfig
from inference.build import Material, build_bundle
from inference.bundle import Bundle
from inference.cohort import (
    Case,
    check_duplicates,
    check_leakage,
    deal,
    read_cohort,
    with_digests,
)
from inference.errors import CohortError, Unscorable
from inference.evaluate import EvaluateConfig, Outcomes, summarise, write
from inference.examples import to_input
from inference.forms import F32
from inference.reference import golden
from inference.runtime import load, probability
from inference.sources import CohortSource, load_sources
from inference.train import Plan, Report, Run, TrainConfig

NAMES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DevelopConfig:
    """How a cohort is used.

    Attributes:
        folds: dealt by patient when the table has no `fold` column.
        test_fold: which of them tests; the next one validates.
        name, version: of the bundle.
        endpoint: what a label of 1 means, in words.
        int8: also quantise.
    """

    folds: int = 5
    test_fold: int = 0
    name: str = "site"
    version: str = "1"
    endpoint: str = "the cohort's label"
    int8: bool = True


def develop(
    table: Path,
    out: Path,
    train: TrainConfig,
    config: DevelopConfig,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Train, build `out`/bundle and write `out`/report; give the internal results.

    Raises:
        CohortError: the table cannot be used, or its folds leak.
    """
    cases = with_digests(read_cohort(table))
    check_duplicates(cases)
    uses = assign(cases, config)
    parts, refused = {}, {}
    for use in NAMES:
        mine = [case for case, where in zip(cases, uses, strict=True) if where == use]
        parts[use], refused[use] = load_sources(mine)
        if len({source.label for source in parts[use]}) != 2:
            raise CohortError(f"the {use} part needs usable ECGs of both labels")
    out.mkdir(parents=True, exist_ok=True)
    rows = [f"{case.row},{use}" for case, use in zip(cases, uses, strict=True)]
    (out / "split.csv").write_text("\n".join(["row,use", *rows]) + "\n")
    Run(train, Plan(parts["train"], parts["val"]), out).train(report)
    bundle = build_bundle(
        _material(parts, train, config, table, out, refused), out / "bundle", int8=config.int8
    )
    outcomes = score_sources(bundle, parts["test"])
    outcomes = replace(outcomes, refused=dict(Counter(outcomes.refused) + Counter(refused["test"])))
    results = summarise(outcomes, bundle, EvaluateConfig(title="Internal validation"))
    write(results, outcomes, out / "report")
    return results


def assign(cases: Sequence[Case], config: DevelopConfig) -> list[str]:
    """Give each case its use, from the `fold` column (train, val, test, or numbers) or dealt.

    Raises:
        CohortError: unknown names, or a file or patient in two parts.
    """
    given = [case.fold for case in cases]
    if any(given):
        if not set(given) <= set(NAMES) and not all(fold.isdigit() for fold in given):
            raise CohortError("column fold: train, val and test, or a number in every row")
        numbers: Sequence[object] = given
        if not set(given) <= set(NAMES):
            numbers = [int(fold) for fold in given]
    else:
        numbers = [int(fold) for fold in deal(cases, config.folds)]
    check_leakage(cases, numbers)
    if isinstance(numbers[0], str):
        return given
    validation = (config.test_fold + 1) % config.folds
    use = {config.test_fold: "test", validation: "val"}
    return [use.get(number, "train") for number in numbers]  # type: ignore[call-overload]


def inputs_of(
    sources: Sequence[CohortSource], train: TrainConfig, config: AugmentConfig = augment.NONE
) -> F32:
    """Draw sources as they are served: (n, H, W)."""
    rng = np.random.default_rng(0)
    drawn = [
        to_input(source.draw(augment.NONE, rng).tracings, train.recipe, config, rng)
        for source in sources
    ]
    return np.stack(drawn)


def score_sources(bundle: Bundle, sources: Sequence[CohortSource]) -> Outcomes:
    """Score sources with a bundle in fp32, refusing what the bundle's guard refuses."""
    kept, inputs, refused = [], [], Counter[str]()
    table = bundle.card.get("guard", {})
    for source, pixels in zip(
        sources, inputs_of(sources, TrainConfig(recipe=bundle.recipe)), strict=True
    ):
        try:
            guard.check_leads(source.tracings, table)
            guard.check(pixels, table)
        except Unscorable as error:
            refused[error.reason] += 1
        else:
            kept.append(source.case)
            inputs.append(pixels)
    logits = load(bundle, "openvino-fp32").logits(np.stack(inputs)[:, None])
    return Outcomes(
        labels=np.array([case.label for case in kept]),
        scores=probability(logits, bundle),
        logits=logits,
        groups=np.array([case.patient for case in kept]),
        strata={
            name: np.array([getattr(case, name) for case in kept])
            for name in ("sex", "age_band", "site")
        },
        keys=[case.key for case in kept],
        refused=dict(refused),
    )


def _material(
    parts: dict[str, list[CohortSource]],
    train: TrainConfig,
    config: DevelopConfig,
    table: Path,
    out: Path,
    refused: dict[str, dict[str, int]],
) -> Material:
    return Material(
        weights=out / "weights.safetensors",
        network=train.network,
        recipe=train.recipe,
        training=inputs_of(parts["train"][:600], train, augment.PAGES),
        validation=inputs_of(parts["val"], train),
        labels=np.array([source.label for source in parts["val"]]),
        golden=golden.waveforms(),
        facts={
            "name": config.name,
            "version": config.version,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "summary": "SA-ResNet50 trained on a site's cohort",
            "endpoint": {"name": "label", "meaning": config.endpoint},
            "validation": {
                "status": "not validated",
                "note": "Internal validation only; validate externally before use.",
            },
            "data": {
                "attribution": "the site's own cohort",
                "table_sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
                **{use: len(parts[use]) for use in NAMES},
                "refused": {use: sum(refused[use].values()) for use in NAMES},
            },
            "training": {
                "epochs": train.epochs,
                "seed": train.seed,
                "loss": train.loss.kind,
                "peak_lr": train.peak_lr,
                "batch": train.batch,
            },
        },
    )


def read_results(folder: Path) -> dict[str, Any]:
    """Read a report's figures again."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results
