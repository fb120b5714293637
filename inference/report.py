"""A self-contained HTML report of a validation: no scripts, no outside files, no PHI."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from inference.charts import aurocs, chart
from inference.figures import LEAST
from inference.forms import U8
from inference.markup import data_url, document, interval, number, table
from inference.report_cohort import cohort_section
from inference.report_tripod import meaning, trained, tripod_section
from inference.thresholds import written

NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC (of this cohort)",
    "f1": "F1 at the threshold",
    "f1_at_half": "F1 at 0.5",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV (of this cohort)",
    "npv": "NPV (of this cohort)",
}
_GROUPS = {
    "sex": "sex",
    "age_band": "age, years",
    "site": "site",
    "period": "time",
    "source": "source",
    "format": "file format",
    "layout": "layout of the page",
}


def html(results: Mapping[str, Any], misses: Sequence[tuple[str, U8]] = ()) -> str:
    """Give the report of `inference.figures.summarise`, with pictures of the worst mistakes."""
    parts = [
        _model(results),
        _key(results),
        cohort_section(results["cohort"]),
        _headline(results),
        _real(results["at_real_prevalence"], results["cohort"]["prevalence"]),
        f'<h2>Curves</h2><div class="charts">{_charts(results)}</div>',
        _folds(results.get("folds")),
        _subgroups(results),
        _drop(results.get("drop")),
        _pictures(misses),
        tripod_section(results),
    ]
    return document(str(results["title"]), "".join(parts))


def _model(results: Mapping[str, Any]) -> str:
    model = results["model"]
    endpoint, validation = model["endpoint"], model["validation"]
    by = f" by {validation['by']}" if validation.get("by") else ""
    runtime = f", computed by {results['runtime']}" if "runtime" in results else ""
    return (
        f"<p>Model <b>{escape(model['name'])} {escape(model['version'])}</b>, {_which(results)}"
        f"{escape(runtime)}; written {escape(results['created'])}.<br>"
        f"Outcome: <b>{escape(endpoint.get('name', ''))}</b> "
        f"({escape(endpoint.get('meaning', ''))}).<br>{escape(trained(model))}</p>"
        f'<p class="warn"><b>{escape(validation["status"] + by)}.</b> '
        f"{escape(endpoint.get('caution', ''))} {escape(validation.get('note', ''))}<br>"
        f"{escape(meaning(model['calibration']))}</p>"
    )


def _which(results: Mapping[str, Any]) -> str:
    """Name the bundle and its threshold; over all folds there is one of each a fold."""
    if "folds" in results:
        return f"{len(results['folds']['each'])} networks, each judged at its own threshold"
    model = results["model"]
    bundle, threshold = escape(model["bundle"][:16]), written(model["threshold"])
    return f"bundle <code>{bundle}</code>, threshold {threshold}"


def _folds(given: Mapping[str, Any] | None) -> str:
    """Tell of each fold's network, where every fold was tested."""
    if given is None:
        return ""
    rows = [
        (
            each["fold"],
            each["bundle"][:16],
            each["ecgs"],
            each["positive"],
            written(each["threshold"]),
            interval(each["auroc"]),
        )
        for each in given["each"]
    ]
    head = ("fold", "bundle", "ECGs", "outcome", "threshold", "AUROC")
    return (
        "<h2>Folds</h2><p>Every ECG is scored once, by the network that did not see it. Mean AUROC "
        f"of the folds: <b>{number(given['mean_auroc'])}</b>. The figures above pool the folds, "
        "each score relative to its network's threshold; calibration, Brier score, decision curve "
        "and F1 at 0.5 are of the probabilities.</p>" + table(head, rows)
    )


def _key(results: Mapping[str, Any]) -> str:
    """The five figures that a reader looks for first."""
    found, real = results["metrics"], results["at_real_prevalence"]
    shown = [
        ("AUROC", found["auroc"], 3),
        ("sensitivity", found["sensitivity"], 3),
        ("specificity", found["specificity"], 3),
        (f"PPV at {real['prevalence']:.2%} prevalence", real["intervals"]["ppv"], 4),
        (f"alerts in {real['ecgs_per_day']:g} ECGs a day", real["intervals"]["alerts_per_day"], 1),
    ]
    boxes = [
        f"<div>{escape(name)}<b>{number(value[0], digits)}</b><small>95 % interval "
        f"{number(value[1], digits)} to {number(value[2], digits)}</small></div>"
        for name, value, digits in shown
    ]
    return f'<div class="key">{"".join(boxes)}</div>'


def _headline(results: Mapping[str, Any]) -> str:
    draws, baseline = results["bootstrap"]["draws"], results["baselines"]["all_positive_f1"]
    rows: list[tuple[str, object]] = []
    for name, value in results["metrics"].items():
        rows.append((NAMES[name], interval(value)))
        if name == "f1_at_half":
            rows.append(("F1 of calling every ECG positive", number(baseline)))
    slope, intercept = results["calibration_line"]
    rows += [
        ("Brier score", number(results["brier"])),
        ("Calibration slope, intercept", f"{number(slope, 2)}, {number(intercept, 2)}"),
        ("Observed over expected outcomes", number(results["observed_over_expected"], 2)),
    ]
    return (
        "<h2>Results</h2>"
        + table(("", f"estimate (95 % interval, {draws} bootstrap draws by patient)"), rows)
        + _elsewhere(results)
        + _matrix(results["confusion"])
    )


def _elsewhere(results: Mapping[str, Any]) -> str:
    """Warn that the probabilities are meant for another prevalence than the cohort's."""
    meant, here = results["model"]["calibration"].get("prevalence"), results["cohort"]["prevalence"]
    if meant is None or 0.8 < meant / here < 1.25:
        return ""
    return (
        f'<p class="note">Probabilities are made for a prevalence of {meant:.2%}; calibration and '
        f"Brier score are of this cohort, with {here:.1%}, and show that difference too.</p>"
    )


def _matrix(c: Mapping[str, int]) -> str:
    ill, well = c["tp"] + c["fn"], c["fp"] + c["tn"]
    return (
        '<table class="matrix"><thead><tr><th>at the threshold</th><th>outcome</th>'
        "<th>no outcome</th><th>all</th></tr></thead><tbody>"
        f'<tr><th>called positive</th><td class="right">{c["tp"]} true positive</td>'
        f'<td class="wrong">{c["fp"]} false alarms</td><td>{c["tp"] + c["fp"]}</td></tr>'
        f'<tr><th>called negative</th><td class="wrong">{c["fn"]} missed</td>'
        f'<td class="right">{c["tn"]} true negative</td><td>{c["fn"] + c["tn"]}</td></tr>'
        f"<tr><th>all</th><td>{ill}</td><td>{well}</td><td>{ill + well}</td></tr></tbody></table>"
    )


def _real(real: Mapping[str, Any], here: float) -> str:
    known = real["intervals"]
    rows = [
        ("PPV", interval(known["ppv"], 4)),
        ("NPV", interval(known["npv"], 5)),
        ("Alerts a day", interval(known["alerts_per_day"], 1)),
        ("… of these true", number(real["true_alerts_per_day"], 2)),
        ("Missed a day", number(real["missed_per_day"], 2)),
    ]
    return (
        f"<h2>At a prevalence of {real['prevalence']:.2%}, {real['ecgs_per_day']:g} ECGs a day</h2>"
        f"<p>In this cohort {here:.1%} have the outcome; PPV, NPV, F1 and AUPRC hold at that "
        "prevalence only. By Bayes' rule, with the sensitivity and specificity above:</p>"
        + table(("", "estimate (95 % interval)"), rows)
    )


def _charts(results: Mapping[str, Any]) -> str:
    curves, bins, found = results["curves"], results["calibration"], results["metrics"]
    observed = ([b["score"] for b in bins], [b["observed"] for b in bins])
    here = results["cohort"]["prevalence"]
    top = 0.03 * math.ceil(max(here, 0.05) / 0.03)
    sensitivity, specificity = found["sensitivity"][0], found["specificity"][0]
    precision = found["ppv"][0]
    return "".join(
        (
            chart(
                f"ROC, area {interval(found['auroc'])}",
                "1 - specificity",
                "sensitivity",
                [("model", *curves["roc"]), ("chance", (0, 1), (0, 1))],
                at=(1 - specificity, sensitivity),
            ),
            chart(
                f"Precision-recall, area {interval(found['auprc'])}",
                "recall (sensitivity)",
                "precision (PPV)",
                [("model", *curves["pr"]), ("all positive", (0, 1), (here, here))],
                at=None if precision is None else (sensitivity, precision),
            ),
            chart(
                "Calibration, tenths of the scores",
                "mean score",
                "observed share",
                [("model", *observed), ("perfect", (0, 1), (0, 1))],
                dots=True,
            ),
            chart(
                "Decision curve",
                "threshold probability",
                "net benefit",
                [
                    ("model", *curves["decision"]),
                    ("alert all", *curves["decision_all"]),
                    ("alert none", (0, 1), (0, 0)),
                ],
                y_range=(-top / 3, top),
            ),
        )
    )


def _subgroups(results: Mapping[str, Any]) -> str:
    rows = results["subgroups"]
    if not rows:
        return "<h2>Subgroups</h2><p>The cohort names no sex, age, site, time or source.</p>"
    cells = [
        (
            _GROUPS[row["group"]],
            row["value"],
            row["n"],
            row["positive"],
            interval(row["auroc"]),
            *(interval(row[name]) for name in ("sensitivity", "specificity")),
        )
        for row in rows
    ]
    head = ("group", "value", "ECGs", "outcome", "AUROC", "sensitivity", "specificity")
    shown = [
        (f"{_GROUPS[row['group']]}: {row['value']} (n = {row['n']})", *row["auroc"])
        for row in rows
        if row["auroc"][0] is not None
    ]
    whole = results["metrics"]["auroc"][0]
    drawn = aurocs("AUROC by subgroup; dashed: the whole cohort", shown, whole)
    note = (
        '<p class="note">Small subgroups differ by chance: read the intervals. A figure needs '
        f"{LEAST} ECGs of each class that it is made of.</p>"
    )
    return "<h2>Subgroups</h2>" + table(head, cells) + drawn + note


def _drop(given: Mapping[str, Mapping[str, Any]] | None) -> str:
    if given is None:
        return ""
    rows = [
        (NAMES[name], *(interval(value[key]) for key in ("internal", "external", "difference")))
        for name, value in given.items()
    ]
    return "<h2>From internal to external</h2>" + table(
        ("", "internal", "external", "drop (internal - external)"), rows
    )


def _pictures(misses: Sequence[tuple[str, U8]]) -> str:
    shown = "".join(
        f'<figure><img alt="{escape(caption)}" src="{data_url(page)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, page in misses
    )
    note = '<p class="note">Drawn anew of what the model read, without header or names.</p>'
    return f"<h2>The most confident mistakes</h2>{note}{shown}" if shown else ""
