"""How well a layout explains a page: simultaneous limb leads must keep Einthoven's law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.forms import F64
from inference.limbs import RELATIONS
from inference.paper.digitise import Curve, sample
from inference.paper.layout import Layout

LABEL_MM = 12.0
"""What the label of a lead may take from its column's beginning."""
_STEP_MM = 0.1  # the tips of simultaneous leads must fall on the same sample
_BLOCKS = 12  # parts of the page's width: a column of 3x4 has three, one of 4x3 four
_SHOWN = 0.8  # share of a column that must be known
_NONE = 9.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How much of the limb leads breaks the law in a layout: 0 = nothing, 1 = they are unrelated.

    Attributes:
        misfit: over all columns. worst: in the worst part of the page, over the mean part's power.
    """

    misfit: float
    worst: float


def fit(layout: Layout, curves: tuple[Curve, ...], begin_mm: float, width_mm: float) -> Fit:
    """Judge a layout by the simultaneous limb leads that it claims."""
    wide = width_mm / len(layout.columns)
    places, broken, whole = [], [], []
    for column, names in enumerate(layout.columns):
        first = begin_mm + wide * column + LABEL_MM
        count = int((wide - LABEL_MM) / _STEP_MM)
        for relation in RELATIONS:
            if not set(relation) <= set(names):
                continue
            rows = [layout.row_of(names.index(name)) for name in relation]
            shown = np.stack(
                [sample(curves[row], first, _STEP_MM, count) for row in rows]
            )  # (leads, count) mm
            known = ~np.isnan(shown).any(axis=0)
            if known.mean() < _SHOWN:
                return Fit(_NONE, _NONE)
            shown = shown[:, known] - np.median(shown[:, known], axis=1, keepdims=True)
            terms = shown * np.array(list(relation.values()))[:, None]
            places.append(wide * column + LABEL_MM + np.flatnonzero(known) * _STEP_MM)
            broken.append(terms.sum(axis=0) ** 2)
            whole.append((terms**2).sum(axis=0))
    if not places:
        return Fit(_NONE, _NONE)
    block = (np.concatenate(places) / width_mm * _BLOCKS).astype(np.intp)
    return _judged(block, np.concatenate(broken), np.concatenate(whole))


def _judged(block: np.ndarray, broken: F64, whole: F64) -> Fit:
    power = float(whole.mean())
    if power <= 0:
        return Fit(_NONE, _NONE)
    count = np.bincount(block, minlength=_BLOCKS)
    parts = np.bincount(block, broken, minlength=_BLOCKS)[count > 0] / count[count > 0]
    return Fit(float(np.sqrt(broken.mean() / power)), float(np.sqrt(parts.max() / power)))
