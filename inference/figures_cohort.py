"""Who was scored, when and how old, who was not and why, and how far the inputs lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from inference.outcomes import KNOWN, Outcomes


def cohort_figures(outcomes: Outcomes) -> dict[str, Any]:
    """Give what a report says of its cohort, as plain values; both outcomes must be there."""
    labels = outcomes.labels
    return {
        "ecgs": int(labels.size),
        "patients": int(np.unique(outcomes.groups).size),
        "positive": int(labels.sum()),
        "prevalence": float(labels.mean()),
        "age": _ages(outcomes),
        "recorded": _recorded(outcomes),
        "refused": dict(outcomes.refused),
        "refused_positive": outcomes.refused_positive,
        "left_out": _left_out(outcomes),
        "unknown": _unknown(outcomes),
        "guard": _guarded(outcomes),
    }


def _ages(outcomes: Outcomes) -> list[float] | None:
    """Give quartile, median and quartile of the known ages, in years."""
    known = [case.age for case in outcomes.cases if case.age is not None]
    return np.quantile(known, (0.25, 0.5, 0.75)).tolist() if known else None


def _recorded(outcomes: Outcomes) -> dict[str, Any] | None:
    """Give the months of the first and last ECG, and how many have no time."""
    known = sorted(case.time for case in outcomes.cases if case.time is not None)
    if not known:
        return None
    first, last = (f"{each:%Y-%m}" for each in (known[0], known[-1]))
    return {"first": first, "last": last, "unknown": len(outcomes.cases) - len(known)}


def _left_out(outcomes: Outcomes) -> dict[str, list[int]]:
    """Give the rows without a score by their reason."""
    rows: dict[str, list[int]] = {}
    for case, reason in outcomes.left_out.items():
        rows.setdefault(reason, []).append(case.row)
    return {reason: sorted(rows[reason]) for reason in sorted(rows)}


def _unknown(outcomes: Outcomes) -> dict[str, int]:
    """Count the scored ECGs whose sex, age or site the table leaves open."""
    strata = outcomes.strata
    return {n: int((strata[n] == "").sum()) for n in KNOWN if n in strata}


def _guarded(outcomes: Outcomes) -> dict[str, Any]:
    """Count what the guard refused as out of domain; say how far what it let pass lies, and may."""
    told: dict[str, Any] = {"refused": outcomes.refused.get("out-of-domain", 0)}
    for name, bound in (("distance", "bound"), ("embedding", "embedding_bound")):
        measured = [record for record in outcomes.guard if bound in record]
        if measured:
            found = np.array([record[name] for record in measured], float)
            told[name] = [*np.quantile(found, (0.5, 0.95, 1.0)).tolist(), measured[0][bound]]
    if outcomes.guard:
        told["electrodes"] = sum(bool(record.get("electrodes")) for record in outcomes.guard)
    return told
