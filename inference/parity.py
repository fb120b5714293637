"""Parity: how far each OpenVINO runtime is from the fp32 network, and whether that is near enough.

Measured when a bundle is built, on its validation ECGs against fp32 torch, and again when a site's
calibration and threshold change what a difference means. `auto` takes only what holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from inference.bundle import INT8, Bundle, open_bundle, write_card
from inference.cohort import Tell, silent
from inference.decode import decode_file
from inference.embedding import Embedding
from inference.forms import F32, F64
from inference.metrics import Array, auroc
from inference.outcomes import Outcomes
from inference.prepare import look
from inference.preprocess import preprocess
from inference.runtime import Outputs, probability
from inference.runtime.vino import VinoRuntime, has_bf16

LARGEST = {"openvino-fp32": 0.002, "openvino-bf16": 0.01}
"""Bounds of the largest difference in probability; int8 is bounded by its AUROC instead."""
INT8_AUROC = 0.002
EMBEDDING = 0.15
"""Bound of every runtime: how far an embedding distance may be off, as a share of it; less than the
room that the guard's bound leaves."""
ECGS = 300
"""Of a site's cohort, half of each outcome where there are as many."""


def measure(bundle: Bundle, inputs: F32, labels: Array, reference: Outputs) -> dict[str, Any]:
    """Measure each runtime that runs here against fp32 torch: the card's `[parity]`.

    Args:
        bundle: with its threshold and guard.
        inputs: (n, 1, H, W).
        labels: (n,) 0 or 1.
        reference: what fp32 torch gives for them.
    """
    names = ["openvino-fp32", *_quicker(bundle)]
    given = {name: _runtime(bundle, name).outputs(inputs) for name in names}
    return {name: compare(name, bundle, labels, each, reference) for name, each in given.items()}


def remeasure(bundle: Bundle, parent: Bundle, outcomes: Outcomes, tell: Tell = silent) -> Bundle:
    """Measure a recalibrated bundle on ECGs of the site against OpenVINO's fp32; write its card.

    The parent's verdict stays a condition: a calibration map keeps the order of the scores, so the
    bound on the AUROC is judged on the parent's validation ECGs and not again on a site's few.

    Args:
        bundle: the recalibrated one. One that states no embedding distance is given back as it is.
        parent: what it was made of.
        outcomes: of the site's cohort; those that are sampled are decoded anew.
        tell: told of the decoding.
    """
    if not bundle.embedded:
        return bundle
    before = parent.card.get("parity", {})
    places = sampled(outcomes.labels)
    inputs = []
    for done, place in enumerate(places, start=1):
        _, panel = look(decode_file(outcomes.cases[place].path))
        inputs.append(preprocess(panel, bundle.recipe).input)
        tell("measuring the runtimes", done, len(places))
    batch, labels = np.stack(inputs)[:, None], outcomes.labels[places]
    reference = _runtime(bundle, "openvino-fp32").outputs(batch)
    found: dict[str, Any] = {}
    for name in _quicker(bundle):
        table = compare(name, bundle, labels, _runtime(bundle, name).outputs(batch), reference)
        near = table["largest_difference"] <= LARGEST.get(name, 1.0)
        near = near and table["embedding_difference"] <= EMBEDDING
        found[name] = table | {"holds": near and before.get(name, {}).get("holds") is True}
    write_card(bundle.path, bundle.card | {"parity": found})
    return open_bundle(bundle.path)


def sampled(labels: Array, most: int = ECGS) -> Array:
    """Give the places of at most `most` ECGs, half of each outcome, evenly over the cohort."""
    kept = []
    for value in (0, 1):
        places = np.flatnonzero(labels == value)
        kept.append(places[np.linspace(0, len(places) - 1, min(len(places), most // 2), dtype=int)])
    return np.sort(np.concatenate(kept))


def compare(
    name: str, bundle: Bundle, labels: Array, given: Outputs, reference: Outputs
) -> dict[str, Any]:
    """Compare what a runtime gives with the reference: a table of the card's `[parity]`."""
    found, wanted = (probability(each.logits, bundle) for each in (given, reference))
    largest = float(np.abs(found - wanted).max())
    moved = float(auroc(labels, found) - auroc(labels, wanted))
    described = Embedding.read(bundle.path)
    far, near = (described.distances(each.features) for each in (given, reference))
    stretch = float(np.abs(far / near - 1).max())
    bound = float(bundle.card["guard"]["embedding"]["bound"])
    same = largest <= LARGEST[name] if name in LARGEST else abs(moved) <= INT8_AUROC
    return {
        "inputs": len(found),
        "largest_difference": round(largest, 6),
        "auroc_difference": round(moved, 6),
        "category_changes": _changes(found, wanted, bundle.threshold),
        "embedding_difference": round(stretch, 6),
        "refusal_changes": _changes(far, near, bound),
        "holds": same and stretch <= EMBEDDING,
    }


def _quicker(bundle: Bundle) -> list[str]:
    """Name the runtimes beside fp32 that run here."""
    int8 = ["openvino-int8"] if (bundle.path / INT8[0]).exists() else []
    return [*(["openvino-bf16"] if has_bf16() else []), *int8]


def _runtime(bundle: Bundle, name: str) -> VinoRuntime:
    return VinoRuntime(bundle, name.removeprefix("openvino-"))


def _changes(found: F64, wanted: F64, bound: float) -> int:
    """Count those that lie on another side of the bound."""
    return int(((found >= bound) != (wanted >= bound)).sum())
