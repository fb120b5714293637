"""From a cohort table to a bundle and its internal validation, in one call.

table ── folds by patient ── Run ── bundle (validation fold) ── report (test fold)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference import augment, golden, processes
from inference.augment import AugmentConfig
from inference.bank import Bank
from inference.build import Material, build_bundle
from inference.bundle import Bundle, check_name, created
from inference.checkpoint import CHECKPOINT, WEIGHTS
from inference.cohort import Tell, silent
from inference.errors import CohortError, Unscorable
from inference.evaluate import write
from inference.examples import to_input
from inference.figures import ECGS_PER_DAY, PREVALENCE, EvaluateConfig, summarise
from inference.forms import F32
from inference.metrics import Array
from inference.outcomes import Outcomes, strata_of, with_pictures, with_refused
from inference.parts import USES, Parts, read_parts
from inference.runtime import load, probability
from inference.score import Scorer
from inference.sources import CohortSource
from inference.thresholds import ThresholdRule
from inference.train import Plan, Report, Run, check_start
from inference.train_config import TrainConfig

RUNTIME = "openvino-fp32"
"""What validates internally."""


@dataclass(frozen=True, slots=True)
class DevelopConfig:
    """How a cohort is used.

    Attributes:
        folds: dealt by patient when the table has no `fold` column.
        test_fold: which of them tests; the next one validates.
        name, version: of the bundle.
        endpoint: what a label of 1 means, in words.
        int8: also quantise.
        prevalence, ecgs_per_day: of the hospital, for the report.
        rule: chooses the threshold, on the fold that validates.
    """

    folds: int = 5
    test_fold: int = 0
    name: str = "site"
    version: str = "1"
    endpoint: str = "the cohort's label"
    int8: bool = True
    prevalence: float = PREVALENCE
    ecgs_per_day: float = ECGS_PER_DAY
    rule: ThresholdRule = field(default_factory=ThresholdRule)

    def __post_init__(self) -> None:
        """Refuse folds, a hospital or a name that cannot be, before anything is trained."""
        if self.folds < 3 or self.test_fold < 0:
            raise ValueError("at least three folds are needed: to train, to validate, to test")
        check_name(self.name, self.version)
        self.report()

    def report(self) -> EvaluateConfig:
        """Give what the internal validation reports."""
        title = f"{self.name}: internal validation"
        return EvaluateConfig(self.prevalence, self.ecgs_per_day, title=title)


def develop(
    table: Path,
    out: Path,
    train: TrainConfig,
    config: DevelopConfig,
    report: Report = lambda _: None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Train, build `out`/bundle and write `out`/report; give the internal results.

    Of several processes (`inference.processes`) only the first builds and reports; the others give
    nothing.

    Raises:
        CohortError: the table cannot be used, its folds leak, or `out` holds another run; or the
            weights to start from are none.
        RuntimeMissing: there is no such device.
    """
    check_start(train)
    parts = read_parts(table, config.folds, config.test_fold, tell)
    train_on(parts, out, train, report)
    if processes.rank():
        return {}
    bundle = make_bundle(parts, out, train, config, tell)
    return validated(bundle, parts, out, config, tell)[0]


def validated(
    bundle: Bundle, parts: Parts, out: Path, config: DevelopConfig, tell: Tell = silent
) -> tuple[dict[str, Any], Outcomes]:
    """Score the test part and write `out`/report; give the results and what they are of."""
    outcomes = score_sources(bundle, parts.sources["test"], tell)
    outcomes = with_refused(outcomes, parts.refused["test"])
    results = summarise(outcomes, bundle, config.report()) | {"runtime": RUNTIME}
    write(results, with_pictures(outcomes, bundle.threshold), out / "report")
    return results, outcomes


def train_on(
    parts: Parts,
    out: Path,
    train: TrainConfig,
    report: Report = lambda _: None,
    drawn: Bank | None = None,
) -> None:
    """Train in `out`, going on where an earlier call was stopped; `drawn` as in `Plan`.

    Raises:
        CohortError: `out` holds a run of other settings or of another split.
    """
    refuse_another(parts, out, train)
    run = Run(train, Plan(parts.sources["train"], parts.sources["val"], drawn=drawn), out)
    if processes.rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / "split.csv").write_text(parts.split())
    run.train(report)


def make_bundle(
    parts: Parts, out: Path, train: TrainConfig, config: DevelopConfig, tell: Tell = silent
) -> Bundle:
    """Build `out`/bundle of the weights that `train_on` left there."""
    tell("building the bundle", 0, 1)
    material = _material(parts, train, config, out)
    bundle = build_bundle(material, out / "bundle", int8=config.int8)
    tell("building the bundle", 1, 1)
    return bundle


def tidy(out: Path) -> None:
    """Drop what a run that has its bundle needs no more: checkpoint, and weights of its own."""
    for name in (CHECKPOINT, WEIGHTS):
        (out / name).unlink(missing_ok=True)


_FREE = ("workers", "threads", "device", "bf16", "checkpoint_minutes", "training")
"""Settings that may change when a run goes on."""


def refuse_another(parts: Parts, out: Path, train: TrainConfig) -> None:
    """Refuse to go on with a run that was begun otherwise.

    Raises:
        CohortError: naming what differs.
    """
    if not any((out / begun).exists() for begun in (CHECKPOINT, "bundle")):
        return
    there, here = json.loads((out / "config.json").read_text()), train.document()
    differ = [name for name in here if name not in _FREE and there.get(name) != here[name]]
    if (out / "split.csv").read_text() != parts.split():
        differ.append("the split of the cohort")
    if differ:
        raise CohortError(
            f"{out} holds a run with other settings ({', '.join(differ)}); "
            "name another directory, or remove it"
        )


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


def score_sources(bundle: Bundle, sources: Sequence[CohortSource], tell: Tell = silent) -> Outcomes:
    """Score sources with a bundle in fp32, refusing what the bundle's guard refuses."""
    kept, logits, records, refused = [], [], [], {}
    scorer = Scorer(bundle, load(bundle, RUNTIME))
    inputs = inputs_of(sources, TrainConfig(recipe=bundle.recipe))
    for done, (source, pixels) in enumerate(zip(sources, inputs, strict=True), start=1):
        try:
            logit, record = scorer.judge(source.tracings, pixels)
        except Unscorable as error:
            refused[source.case] = error.reason
        else:
            kept.append(source)
            logits.append(logit)
            records.append(record)
        tell("scoring", done, len(sources))
    outcomes = replace(outcomes_of(bundle, kept, np.array(logits)), guard=records)
    return with_refused(outcomes, refused)


def outcomes_of(bundle: Bundle, sources: Sequence[CohortSource], logits: Array) -> Outcomes:
    """Join (n,) logits with the rows that they are of."""
    cases = [source.case for source in sources]
    return Outcomes(
        labels=np.array([case.label for case in cases]),
        scores=probability(logits, bundle),
        logits=logits,
        groups=np.array([case.patient for case in cases]),
        strata=strata_of(
            cases,
            source=[source.form for source in sources],
            format=[source.format for source in sources],
            layout=[s.tracings.read.layout if s.tracings.read else "" for s in sources],
        ),
        keys=[case.key for case in cases],
        cases=cases,
    )


def _material(parts: Parts, train: TrainConfig, config: DevelopConfig, out: Path) -> Material:
    sources = parts.sources
    return Material(
        weights=out / WEIGHTS,
        network=train.network,
        recipe=train.recipe,
        training=inputs_of(sources["train"][:600], train, augment.PAGES),
        validation=inputs_of(sources["val"], train),
        pages=inputs_of(sources["val"], train, augment.PAGES),
        labels=np.array([source.label for source in sources["val"]]),
        golden=golden.waveforms(),
        rule=config.rule,
        known=[each.case.digest for use in ("train", "val") for each in sources[use]],
        facts={
            "name": config.name,
            "version": config.version,
            "created": created(),
            "summary": "SA-ResNet50 trained on a site's cohort",
            "endpoint": {"name": "label", "meaning": config.endpoint},
            "validation": {
                "status": "not validated",
                "note": "Internal validation only; validate externally before use.",
            },
            "data": {
                "attribution": "the site's own cohort",
                "table_sha256": parts.digest,
                "split": "by patient",
                **{use: len(sources[use]) for use in USES},
                "positive": {use: sum(s.label for s in sources[use]) for use in USES},
                "refused": {use: len(parts.refused[use]) for use in USES},
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
