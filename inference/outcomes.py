"""What a model says of a cohort: each ECG scored or refused with a reason; the worst mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from inference.cohort import Case, Tell, halves, silent
from inference.decode import decode_file
from inference.errors import Record, Undecodable, Unscorable
from inference.forms import U8, Waveform
from inference.metrics import Array
from inference.prepare import look
from inference.render import Style, page
from inference.score import Scorer

KNOWN = ("sex", "age_band", "site")
"""Subgroups that a cohort table may tell."""
SUBGROUPS = (*KNOWN, "period", "source", "format", "layout")
_PAGE = Style(px_per_mm=5)
_WORST = 6


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Scored ECGs of a cohort.

    Attributes:
        labels: (n,) 0 or 1. scores: (n,) probabilities. logits: (n,).
        groups: (n,) patients, any values.
        strata: subgroup name to (n,) strings, empty where unknown.
        keys: names without PHI.
        guard: what the guard measured of each; empty where that was not kept.
        refused: reason code to count, of ECGs that could not be scored.
        refused_positive: how many of the refused had the outcome.
        left_out: the rows without a score, each with its reason; empty where rows are not kept.
        cases: the rows that were scored, where pictures may be wanted.
        pictures: key to the page as the model read it, of some ECGs; without its header.
    """

    labels: Array
    scores: Array
    logits: Array
    groups: Array
    strata: Mapping[str, Array] = field(default_factory=dict)
    keys: Sequence[str] = ()
    guard: Sequence[Record] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    refused_positive: int = 0
    left_out: Mapping[Case, str] = field(default_factory=dict)
    cases: Sequence[Case] = ()
    pictures: Mapping[str, U8] = field(default_factory=dict)


class _Judged(NamedTuple):
    """What is kept of one scored ECG, without its images."""

    case: Case
    probability: float
    logit: float
    guard: Record
    format: str


def score_cohort(scorer: Scorer, cases: Sequence[Case], tell: Tell = silent) -> Outcomes:
    """Score every case; what cannot be scored is kept with its reason, never left out silently."""
    kept: list[_Judged] = []
    refused: dict[Case, str] = {}
    for done, case in enumerate(cases, start=1):
        try:
            scored = scorer.score_file(case.path)
        except (Unscorable, Undecodable) as error:
            refused[case] = getattr(error, "reason", "undecodable")
        else:
            kind = scored.prepared.source.facts.get("format", "")
            kept.append(_Judged(case, scored.probability, scored.logit, scored.guard, kind))
        tell("scoring", done, len(cases))
    rows = [each.case for each in kept]
    outcomes = Outcomes(
        labels=np.array([case.label for case in rows]),
        scores=np.array([each.probability for each in kept]),
        logits=np.array([each.logit for each in kept]),
        groups=np.array([case.patient for case in rows]),
        strata=strata_of(
            rows,
            source=[str(each.guard["source"]) for each in kept],
            format=[each.format for each in kept],
            layout=[str(each.guard.get("layout", "")) for each in kept],
        ),
        keys=[case.key for case in rows],
        guard=[each.guard for each in kept],
        cases=rows,
    )
    return with_refused(outcomes, refused)


def strata_of(cases: Sequence[Case], **read: Sequence[str]) -> dict[str, Array]:
    """Give the subgroup of each case by `SUBGROUPS`, empty where unknown.

    `read` holds what the files told: `source`, `format`, `layout`.
    """
    named: dict[str, Sequence[str]] = {n: [getattr(case, n) for case in cases] for n in KNOWN}
    named |= {"period": halves([case.time for case in cases])}
    named |= read
    return {name: np.array(values) for name, values in named.items()}


def with_refused(outcomes: Outcomes, refused: Mapping[Case, str]) -> Outcomes:
    """Add cases that were refused, each with its reason, to those counted already."""
    return replace(
        outcomes,
        refused=dict(Counter(outcomes.refused) + Counter(refused.values())),
        refused_positive=outcomes.refused_positive + sum(case.label for case in refused),
        left_out={**outcomes.left_out, **refused},
    )


def with_pictures(outcomes: Outcomes, threshold: float) -> Outcomes:
    """Add the pages of the most confident mistakes, drawn anew of what was read: no header."""
    shown = {}
    for place in worst(outcomes, threshold):
        source = decode_file(outcomes.cases[place].path)
        read = source if isinstance(source, Waveform) else look(source)[0]
        shown[outcomes.keys[place]] = page(read, _PAGE)
    return replace(outcomes, pictures=shown)


def worst(outcomes: Outcomes, threshold: float, count: int = _WORST) -> list[int]:
    """Give the places of the most confident mistakes: the misses, then as many false alarms."""
    labels, scores = outcomes.labels, outcomes.scores
    order = [int(i) for i in np.argsort(scores, kind="stable")]
    missed = [i for i in order if labels[i] == 1 and scores[i] < threshold]
    false = [i for i in reversed(order) if labels[i] == 0 and scores[i] >= threshold]
    return missed[: count // 2] + false[: count // 2]
