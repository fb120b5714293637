"""A self-contained HTML report of a validation: no scripts, no outside files, no PHI."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from inference.charts import chart
from inference.forms import U8

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;
color:#1c1c22}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.25rem .8rem .25rem 0;text-align:left;
border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}th{font-weight:600}
.warn{background:#fff4e0;border-left:4px solid #d98a00;padding:.6rem .9rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:1rem}
figure{margin:0}figcaption{font-size:.85rem;color:#555}svg{width:100%}svg text{font-size:11px}
svg .x{text-anchor:middle;fill:#555}svg .y{text-anchor:end;fill:#555}
svg .frame{fill:none;stroke:#bbb}svg polyline{fill:none;stroke-width:1.8}
img{max-width:100%;border:1px solid #ddd}code{font-size:.85em}
"""

_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1 at the threshold",
    "f1_at_half": "F1 at 0.5",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV (of this cohort)",
    "npv": "NPV (of this cohort)",
}


def html(results: Mapping[str, Any], misses: Sequence[tuple[str, U8]] = ()) -> str:
    """Give the report of `inference.evaluate.summarise`, with pictures of the worst mistakes."""
    parts = [
        _model(results["model"]),
        _cohort(results["cohort"]),
        _headline(results),
        _real(results["at_real_prevalence"]),
        f'<h2>Curves</h2><div class="charts">{_charts(results)}</div>',
        _subgroups(results["subgroups"]),
        _drop(results.get("drop")),
        _pictures(misses),
        _tripod(results),
    ]
    return document(str(results["title"]), "".join(parts))


def document(title: str, body: str) -> str:
    """Give a whole HTML page around a body."""
    name = escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>{body}</body></html>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Give an HTML table; every cell is escaped."""
    top = "".join(f"<th>{escape(str(cell))}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure; what is undefined is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(value: Sequence[float | None]) -> str:
    """Write an estimate with its interval."""
    return f"{number(value[0])} ({number(value[1])} to {number(value[2])})"


def _model(model: Mapping[str, Any]) -> str:
    endpoint = model["endpoint"]
    caution = endpoint.get("caution", "")
    status = model["validation"]["status"]
    return (
        f"<p>Model <b>{escape(model['name'])} {escape(model['version'])}</b>, bundle "
        f"<code>{escape(model['bundle'][:16])}</code>, threshold {model['threshold']:.3f}. "
        f"Endpoint: <b>{escape(endpoint.get('name', ''))}</b> "
        f"({escape(endpoint.get('meaning', ''))}).</p>"
        f'<p class="warn"><b>{escape(status)}.</b> {escape(caution)} '
        f"{escape(model['validation'].get('note', ''))}</p>"
    )


def _cohort(cohort: Mapping[str, Any]) -> str:
    refused = sum(cohort["refused"].values())
    rows: list[tuple[str, object]] = [
        ("ECGs scored", cohort["ecgs"]),
        ("Patients", cohort["patients"]),
        ("With the outcome", f"{cohort['positive']} ({cohort['prevalence']:.1%})"),
        ("Not scored", f"{refused}, of these with the outcome {cohort['refused_positive']}"),
        *((f"… {reason}", count) for reason, count in sorted(cohort["refused"].items())),
    ]
    if "repeated_files" in cohort:
        rows.append(("Repeated files", cohort["repeated_files"]))
    return "<h2>Cohort</h2>" + table(("", ""), rows)


def _headline(results: Mapping[str, Any]) -> str:
    draws = results["bootstrap"]["draws"]
    rows: list[tuple[str, object]] = [
        (_NAMES[name], interval(value)) for name, value in results["metrics"].items()
    ]
    rows.append(("F1 of calling all positive", number(results["baselines"]["all_positive_f1"])))
    rows.append(("Brier score", number(results["brier"])))
    c = results["confusion"]
    return (
        f"<h2>Results (95 % intervals, {draws} bootstrap draws by patient)</h2>"
        + table(("", ""), rows)
        + table(
            ("", "outcome", "no outcome"),
            [("positive", c["tp"], c["fp"]), ("negative", c["fn"], c["tn"])],
        )
    )


def _real(real: Mapping[str, Any]) -> str:
    return (
        "<h2>At a real prevalence</h2><p>Case-control cohorts overstate PPV and AUPRC. At a "
        f"prevalence of {real['prevalence']:.2%} and {real['ecgs_per_day']:g} ECGs a day this "
        f"threshold gives PPV <b>{number(real['ppv'], 4)}</b>, NPV {number(real['npv'], 5)} and "
        f"<b>{real['alerts_per_day']:.1f} alerts a day</b>.</p>"
    )


def _charts(results: Mapping[str, Any]) -> str:
    curves, bins = results["curves"], results["calibration"]
    observed = ([b["score"] for b in bins], [b["observed"] for b in bins])
    top = max(0.05, results["cohort"]["prevalence"])
    slope, intercept = results["calibration_line"]
    return "".join(
        (
            chart(
                "ROC",
                "1 - specificity",
                "sensitivity",
                [("model", *curves["roc"]), ("chance", (0, 1), (0, 1))],
            ),
            chart("Precision-recall", "recall", "precision", [("model", *curves["pr"])]),
            chart(
                f"Calibration (slope {slope:.2f}, intercept {intercept:.2f})",
                "score",
                "observed share",
                [("tenths", *observed), ("perfect", (0, 1), (0, 1))],
                dots=True,
            ),
            chart(
                "Decision curve",
                "threshold",
                "net benefit",
                [
                    ("model", *curves["decision"]),
                    ("alert all", *curves["decision_all"]),
                    ("alert none", (0, 1), (0, 0)),
                ],
                y_range=(-0.05, top),
            ),
        )
    )


def _subgroups(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<h2>Subgroups</h2><p>The cohort names no sex, age, site or source.</p>"
    cells = [
        (
            row["group"],
            row["value"],
            row["n"],
            row["positive"],
            interval(row["auroc"]),
            number(row["sensitivity"]),
            number(row["specificity"]),
        )
        for row in rows
    ]
    head = ("group", "value", "ECGs", "outcome", "AUROC", "sensitivity", "specificity")
    return "<h2>Subgroups</h2>" + table(head, cells)


def _drop(given: Mapping[str, float] | None) -> str:
    if given is None:
        return ""
    rows = [(_NAMES[name], f"{value:+.3f}") for name, value in given.items()]
    return "<h2>Drop from internal to external</h2>" + table(("", "internal - external"), rows)


def _pictures(misses: Sequence[tuple[str, U8]]) -> str:
    shown = "".join(
        f'<figure><img alt="{escape(caption)}" src="{data_url(page)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, page in misses
    )
    return f"<h2>The most confident mistakes</h2>{shown}" if shown else ""


def data_url(pixels: U8, width: int = 900) -> str:
    """Give an image as a PNG data URL, at most `width` pixels wide."""
    image = Image.fromarray(pixels)
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _tripod(results: Mapping[str, Any]) -> str:
    """Fill the items of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) that a report can."""
    model, cohort = results["model"], results["cohort"]
    data = model["data"]
    rows = [
        ("Outcome", model["endpoint"].get("meaning", "")),
        ("Sample size", f"{cohort['ecgs']} ECGs, {cohort['positive']} with the outcome"),
        ("Missing data", f"{sum(cohort['refused'].values())} ECGs could not be scored"),
        ("Development data", data.get("attribution", "see the card")),
        ("Model output", "probability, 0 to 1; calibrated only where the card says so"),
        ("Threshold", f"{model['threshold']:.3f}, chosen on validation data only"),
        ("Performance measures", "with 95 % intervals, bootstrap by patient; see above"),
        ("Fairness", "subgroup table above" if results["subgroups"] else "not available"),
        ("Model availability", f"bundle {model['bundle']}"),
        ("To be filled by people", "setting, eligibility, dates, ethics, protocol, funding"),
    ]
    return "<h2>TRIPOD+AI items this report can fill</h2>" + table(("item", ""), rows)
