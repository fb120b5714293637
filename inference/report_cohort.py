"""What a validation report says of its cohort, the ECGs without a score above all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.markup import number, table

_STATED = {"sex": "sex", "age_band": "age", "site": "site"}
_ROWS = 40  # named of each reason
_REASONS = {
    "known": "left out: the model was trained, or its threshold chosen, with this very ECG",
    "too-few-leads": "too few leads to be seen",
    "out-of-domain": "refused by the guard: unlike the ECGs that the model was trained on",
    "undecodable": "not a readable ECG file",
}


def cohort_section(cohort: Mapping[str, Any]) -> str:
    """Tell of the cohort: who was scored, who was not and why, what the guard found."""
    refused, left_out = sum(cohort["refused"].values()), len(cohort["left_out"].get("known", ()))
    rows: list[tuple[str, object]] = [
        ("ECGs in the table", cohort["ecgs"] + refused + left_out),
        ("Not scored", f"{refused}, of these {cohort['refused_positive']} with the outcome"),
        *(
            (f"… {_REASONS.get(reason, reason)}", count)
            for reason, count in sorted(({"out-of-domain": 0} | cohort["refused"]).items())
        ),
        *([("Known to the model and left out", left_out)] if left_out else []),
        ("Scored", f"{cohort['ecgs']} (patients: {cohort['patients']})"),
        ("With the outcome", f"{cohort['positive']} ({cohort['prevalence']:.1%})"),
    ]
    rows += _guarded(cohort["guard"])
    if cohort.get("repeated_files"):
        rows.append(("Repeated files", cohort["repeated_files"]))
    unknown = _not_stated(cohort)
    if unknown:
        rows.append(("Not stated", unknown))
    note = (
        '<p class="note">An ECG that was not scored is reported as such, never as negative; it '
        "counts in no figure below.</p>"
    )
    own = _own(cohort.get("known", 0) - left_out)
    return "<h2>Cohort</h2>" + own + table(("", ""), rows) + note + _left_out(cohort["left_out"])


def _own(known: int) -> str:
    """Warn of scored ECGs that the model was made with."""
    if not known:
        return ""
    return (
        f'<p class="warn"><b>Not a validation on other data:</b> of {known} ECGs the model knows '
        "the outcome, for it was trained, or its threshold chosen, with them.</p>"
    )


def _not_stated(cohort: Mapping[str, Any]) -> str:
    """Say of how many scored ECGs the table leaves sex, age or site open."""
    unknown = cohort["unknown"]
    return ", ".join(f"{_STATED[name]} of {count}" for name, count in unknown.items() if count)


def _left_out(rows: Mapping[str, Sequence[int]]) -> str:
    """Name the rows without a score, so that somebody can look at them."""
    if not rows:
        return ""
    cells = []
    for reason, numbers in rows.items():
        shown, more = ", ".join(map(str, numbers[:_ROWS])), len(numbers) - _ROWS
        rest = f" and {more} more in scores.csv" if more > 0 else ""
        cells.append((_REASONS.get(reason, reason), shown + rest))
    return "<h3>Rows without a score</h3>" + table(("why", "rows of the table"), cells)


def _guarded(guard: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Say how far the scored ECGs lie from the training inputs."""
    rows: list[tuple[str, object]] = []
    names = {"distance": "Distance of their inputs", "embedding": "Distance of their features"}
    for name, what in names.items():
        if name in guard:
            middle, most, largest, bound = (number(value, 2) for value in guard[name])
            told = f"median {middle}, 95 % within {most}, largest {largest}; scored up to {bound}"
            rows.append((f"{what} from the training inputs", told))
    if guard.get("electrodes"):
        rows.append(("Electrodes that seem interchanged", guard["electrodes"]))
    return rows


def missing(cohort: Mapping[str, Any]) -> str:
    """Say what is missing (TRIPOD+AI, item 11)."""
    refused, unknown = sum(cohort["refused"].values()), _not_stated(cohort)
    told = (
        f"{refused} of {cohort['ecgs'] + refused} ECGs could not be scored and count in no figure; "
        "each has its reason."
        if refused
        else "Every ECG was scored."
    )
    if not cohort["unknown"]:
        return f"{told} The table has no sex, age or site."
    if not unknown:
        return f"{told} Sex, age and site are stated of every scored ECG."
    return f"{told} Not stated among the {cohort['ecgs']} scored ECGs: {unknown}."
