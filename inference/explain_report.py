"""Explanations as one self-contained page, of one model or of two on the same ECGs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from inference import markup
from inference.explain import RUNTIME, SHARES, Explained, compare
from inference.forms import LEADS
from inference.thresholds import written


def html(
    found: Mapping[str, Explained],
    against: Mapping[str, Explained] | None = None,
    names: tuple[str, str] = ("", ""),
) -> str:
    """Give a self-contained page of all explanations; `against` holds another model's."""
    parts = [_NOTE, _summary(list(found.values()))]
    if against:
        parts.append(_compared(list(found.values()), list(against.values()), names))
    for name, one in found.items():
        parts.append(_one(name, one))
        if against:
            parts.append(f"<h3>{escape(names[1])}, score {against[name].probability:.3f}</h3>")
            parts.append(_shown(against[name], ("gradcam", "saliency")))
    return markup.document("Where the model looks", "".join(parts))


_NOTE = (
    '<p class="warn">An explanation shows what the network computes with, not that it is right. '
    "Enrichment is the share of saliency over the share of ink: 1 is no more than the trace "
    "itself.</p>"
    f"<p>Scores are those of the network in {RUNTIME}, whose gradients are shown; "
    "<code>score</code> takes the fastest runtime that the bundle allows, which differs a "
    "little.</p>"
)


def _summary(found: Sequence[Explained]) -> str:
    rows = []
    for part in SHARES:
        share, ink, more = (
            float(np.mean([getattr(each, what)[part] for each in found]))
            for what in ("shares", "ink", "enrichment")
        )
        rows.append((part, f"{share:.1%}", f"{ink:.1%}", f"{more:.2f}"))
    head = ("part of the beat", "share of saliency", "share of ink", "enrichment")
    out = f"<h2>Mean of all ECGs (n = {len(found)})</h2>" + markup.table(head, rows)
    mean = np.mean([each.by_lead for each in found], axis=0)
    leads = [
        (lead, *(f"{v:.1%}" for v in row), f"{row.sum():.1%}")
        for lead, row in zip(LEADS, mean, strict=True)
    ]
    out += "<h3>Share of saliency by lead (the rhythm strip holds the rest)</h3>"
    out += markup.table(("lead", *SHARES, "all"), leads)
    covered = [each.occlusion for each in found if each.occlusion]
    return out + (_occluded(covered) if covered else "")


def _occluded(covered: Sequence[Mapping[str, float | None]]) -> str:
    """The changes by part; leads upside down, one an ECG, in one row, and leads covered too."""
    groups: dict[str, list[float | None]] = {}
    for each in covered:
        for name, change in each.items():
            lead, _, what = name.partition(" ")
            group = f"one lead {what}" if lead in LEADS else name
            groups.setdefault(group, []).append(change)
    rows = []
    for name, changes in groups.items():
        known = [abs(change) for change in changes if change is not None]
        shown = (f"{np.mean(known):.4f}", f"{max(known):.4f}") if known else ("-", "-")
        rows.append((name, len(known), len(changes) - len(known), *shown))
    head = (
        "covered or changed",
        "ECGs scored",
        "not scorable",
        "mean |change|",
        "largest |change|",
    )
    return "<h3>Occlusion: change of the score</h3>" + markup.table(head, rows)


def _compared(one: Sequence[Explained], other: Sequence[Explained], names: tuple[str, str]) -> str:
    rows = [
        (part, *(markup.interval(value, 2) for value in values))
        for part, values in compare(one, other).items()
    ]
    head = ("enrichment", *names, "difference")
    return "<h2>Two models on the same ECGs (mean, 95 % interval)</h2>" + markup.table(head, rows)


def _one(name: str, found: Explained) -> str:
    said = "positive" if found.probability >= found.threshold else "negative"
    told = f"score {written(found.probability, found.threshold)} ({RUNTIME}), "
    told += f"threshold {written(found.threshold)}: {said}"
    shown = ("gradcam", "saliency", *(f"attention{n}" for n in found.gates))
    return f"<h2>{escape(name)}: {told}</h2>" + _shown(found, shown)


def _shown(found: Explained, names: Sequence[str]) -> str:
    pictures = [
        f'<figure><img alt="{name}" src="{markup.data_url(found.images[name])}">'
        f"<figcaption>{name}</figcaption></figure>"
        for name in names
    ]
    return f'<div class="charts">{"".join(pictures)}</div>'
