"""Every fold of a cohort in turn: a run a fold, and one internal validation over all of them.

table ── folds by patient ──> OUT/fold-0 ... (bundle, report) ── pooled ──> OUT/report

Each ECG is scored once, by the network that never saw it, and judged at that network's own
threshold. Pooled, the scores are therefore taken relative to it: their log odds less the
threshold's. Calibration, Brier score, decision curve and F1 at 0.5 are of the probabilities as they
are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference import metrics, processes
from inference.bundle import Bundle, open_bundle
from inference.cohort import Tell, silent
from inference.develop import (
    RUNTIME,
    DevelopConfig,
    make_bundle,
    refuse_another,
    tidy,
    train_on,
    validated,
)
from inference.evaluate import write
from inference.figures import (
    EvaluateConfig,
    bootstrapped,
    decisions,
    f1_at_half,
    log_odds,
    of_probabilities,
    plain,
    summarise,
)
from inference.metrics import Array
from inference.outcomes import Outcomes, with_pictures
from inference.parts import Parts, read_folds
from inference.train import Report, check_start
from inference.train_config import TrainConfig


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one network says of the fold that tests it.

    Attributes:
        number: of the fold.
        bundle: the network, with its own threshold.
        outcomes: the fold's ECGs, scored as probabilities.
        auroc: estimate and 95 % interval.
    """

    number: int
    bundle: Bundle
    outcomes: Outcomes
    auroc: Sequence[float | None]


def develop_all(
    table: Path,
    out: Path,
    train: TrainConfig,
    config: DevelopConfig,
    *,
    report: Report = lambda _: None,
    tell: Tell = silent,
    begin: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train every fold in `out`/fold-NUMBER; write and give the pooled results, in `out`/report.

    A finished fold keeps bundle, report, settings, split and log and is not trained again; an
    interrupted one goes on. `config.test_fold` has no meaning here. Of several processes only the
    first builds and reports; the others give nothing.

    Args:
        table: the cohort, decoded once.
        out: directory.
        train: the settings of every fold.
        config: how the cohort is used; a fold's bundle is called NAME-fold-NUMBER.
        report: told of each training.
        tell: told of all other slow work.
        begin: told of each fold as it begins.

    Raises:
        CohortError, RuntimeMissing: as `inference.develop.develop`; or the table names one split.
    """
    check_start(train)
    folds = read_folds(table, config.folds, tell)
    homes = {number: out / f"fold-{number}" for number in folds}
    for number, parts in folds.items():
        refuse_another(parts, homes[number], train)
    finished = {number for number, home in homes.items() if (home / "bundle").exists()}
    judged = []
    for place, (number, parts) in enumerate(folds.items(), start=1):
        begin(f"{place}/{len(folds)} fold {number}")
        if number not in finished:
            train_on(parts, homes[number], train, report)
        if processes.rank() == 0:
            use = replace(config, test_fold=number, name=f"{config.name}-fold-{number}")
            judged.append(_judged(parts, homes[number], train, use, tell))
    return _report(judged, out, config) if judged else {}


def _judged(
    parts: Parts, home: Path, train: TrainConfig, config: DevelopConfig, tell: Tell
) -> Judged:
    """Build a fold's bundle if it has none, and write its report."""
    if not (home / "bundle").exists():
        make_bundle(parts, home, train, config, tell)
    tidy(home)
    bundle = open_bundle(home / "bundle")
    results, outcomes = validated(bundle, parts, home, config, tell)
    return Judged(config.test_fold, bundle, outcomes, results["metrics"]["auroc"])


def _report(judged: Sequence[Judged], out: Path, config: DevelopConfig) -> dict[str, Any]:
    results = summarise_all(judged, config.name, config.report()) | {"runtime": RUNTIME}
    shown = with_pictures(relative(judged), 0.5).pictures
    write(results, replace(pooled(judged), pictures=shown), out / "report")
    return results


def summarise_all(judged: Sequence[Judged], name: str, config: EvaluateConfig) -> dict[str, Any]:
    """Give the figures of `inference.figures.summarise` over all folds, and each fold's AUROC."""
    whole, first = pooled(judged), judged[0].bundle
    card = first.card | {"name": name, "threshold": 0.5}
    results = summarise(relative(judged), replace(first, card=card), config)
    said: dict[str, Any] = plain(
        of_probabilities(whole.labels, whole.scores)
        | bootstrapped(whole, {"f1_at_half": f1_at_half}, config)
        | decisions(whole.labels, whole.scores)
    )
    results["metrics"]["f1_at_half"] = said.pop("f1_at_half")
    results["curves"] |= {curve: said.pop(curve) for curve in ("decision", "decision_all")}
    facts = {key: first.card["data"][key] for key in ("attribution", "table_sha256")}
    results["model"] |= {"bundle": "", "threshold": None, "data": facts}
    return results | said | {"folds": plain(_folds(judged))}


def _folds(judged: Sequence[Judged]) -> dict[str, Any]:
    each = [
        {
            "fold": one.number,
            "bundle": one.bundle.digest,
            "threshold": one.bundle.threshold,
            "ecgs": int(one.outcomes.labels.size),
            "positive": int(one.outcomes.labels.sum()),
            "auroc": list(one.auroc),
        }
        for one in judged
    ]
    found = [metrics.auroc(one.outcomes.labels, one.outcomes.scores) for one in judged]
    return {"mean_auroc": float(np.mean(found)), "each": each}


def relative(judged: Sequence[Judged]) -> Outcomes:
    """Pool the folds with scores of 0.5 at their networks' own thresholds.

    The guards have bounds of their own, so what they measured is left to the folds' reports.
    """
    levels = [log_odds(np.array(one.bundle.threshold)) for one in judged]
    scores = [
        1 / (1 + np.exp(level - log_odds(one.outcomes.scores)))
        for one, level in zip(judged, levels, strict=True)
    ]
    return replace(pooled(judged), scores=np.concatenate(scores))


def pooled(judged: Sequence[Judged]) -> Outcomes:
    """Join the folds' ECGs with the probabilities that their networks gave."""
    parts = [one.outcomes for one in judged]

    def joined(name: str) -> Array:
        return np.concatenate([getattr(part, name) for part in parts])

    return Outcomes(
        labels=joined("labels"),
        scores=joined("scores"),
        logits=joined("logits"),
        groups=joined("groups"),
        strata={n: np.concatenate([part.strata[n] for part in parts]) for n in parts[0].strata},
        keys=[key for part in parts for key in part.keys],
        refused=dict(sum((Counter(part.refused) for part in parts), Counter[str]())),
        refused_positive=sum(part.refused_positive for part in parts),
        left_out={case: why for part in parts for case, why in part.left_out.items()},
        cases=[case for part in parts for case in part.cases],
    )
