"""Validate a bundle on a cohort: score its table, write the figures and the report.

cohort ── Scorer ──> Outcomes ── inference.figures ──> results (JSON) ── inference.report ──> HTML
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference import report
from inference.cohort import Tell, check_duplicates, read_cohort, silent, with_digests
from inference.errors import CohortError
from inference.figures import EvaluateConfig, drop, summarise
from inference.forms import U8
from inference.known import may_judge
from inference.outcomes import Outcomes, score_cohort, with_pictures
from inference.score import Scorer
from inference.thresholds import written


def evaluate(
    scorer: Scorer,
    table: Path,
    out: Path,
    config: EvaluateConfig,
    *,
    internal: Path | None = None,
    allow_known: bool = False,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Score a cohort table and write `results.json`, `scores.csv` and `report.html` into `out`.

    Args:
        scorer: the bundle on a runtime.
        table: the cohort, see `inference.cohort`.
        out: directory of the report.
        config: what is reported.
        internal: results.json of the internal validation, for the drop.
        allow_known: also count ECGs that the bundle was made with; else they are left out.
        tell: told of the progress.

    Raises:
        CohortError: the table cannot be used, only one outcome could be scored, or the bundle was
            made with these ECGs.
    """
    inside = None if internal is None else read_results(internal)
    cases = with_digests(read_cohort(table))
    repeats = check_duplicates(cases)
    judges, known = may_judge(cases, scorer.bundle, allow_known=allow_known)
    outcomes = score_cohort(scorer, judges, tell)
    if not allow_known:
        left_out = {**outcomes.left_out, **dict.fromkeys(known, "known")}
        outcomes = replace(outcomes, left_out=left_out)
    results = summarise(outcomes, scorer.bundle, config)
    results["cohort"] |= {"repeated_files": repeats, "known": len(known)}
    results["runtime"] = scorer.runtime.name
    if inside is not None:
        results["drop"] = drop(inside, results)
    write(results, with_pictures(outcomes, scorer.bundle.threshold), out)
    return results


def read_results(path: Path) -> dict[str, Any]:
    """Read the figures of another report.

    Raises:
        CohortError: the file is no `results.json`.
    """
    try:
        held: dict[str, Any] = json.loads(path.read_text())
        held["metrics"]["auroc"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CohortError(f"{path} is not the results.json of a report") from error
    return held


def write(results: Mapping[str, Any], outcomes: Outcomes, out: Path) -> None:
    """Write the three files of a report."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False))
    lines = ["key,label,probability,logit,reason"]
    lines += [
        f"{key},{label},{score:.6f},{logit:.6f},"
        for key, label, score, logit in zip(
            outcomes.keys, outcomes.labels, outcomes.scores, outcomes.logits, strict=True
        )
    ]
    lines += [f"{case.key},{case.label},,,{why}" for case, why in outcomes.left_out.items()]
    (out / "scores.csv").write_text("\n".join(lines) + "\n")
    (out / "report.html").write_text(report.html(results, _misses(outcomes)))


def _misses(outcomes: Outcomes) -> list[tuple[str, U8]]:
    at = {key: place for place, key in enumerate(outcomes.keys)}
    shown = []
    for key, picture in outcomes.pictures.items():
        label, score = outcomes.labels[at[key]], outcomes.scores[at[key]]
        what = "missed" if label == 1 else "false alarm"
        shown.append((f"{what}: {key}, score {written(score)}", picture))
    return shown
