"""Limb leads that contradict one another: one is mislabelled, misscaled or upside down.

Six limb leads show three electrodes, so they keep Einthoven's and Goldberger's relations whatever
the heart does and wherever the electrodes lie: interchanged electrodes (`inference.electrodes`)
keep them too. Only leads that were recorded, or exchanged as if they were, can break them; those
that a decoder derived keep them by themselves. A page is judged by the same relations, to find its
layout (`inference.paper.einthoven`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inference.errors import Unscorable
from inference.forms import F32, LEADS, Waveform
from inference.tracings import PAGE_S

RELATIONS: tuple[dict[str, float], ...] = (
    {"I": 1.0, "II": -1.0, "III": 1.0},
    {"aVR": 1.0, "aVL": 1.0, "aVF": 1.0},
    {"aVL": 1.0, "I": -1.5, "-aVR": 1.0},
    {"II": 1.0, "aVF": -2.0, "III": 1.0},
    {"I": 0.5, "II": 0.5, "aVR": 1.0},
    {"I": 0.5, "II": 0.5, "-aVR": -1.0},
    {"aVL": 2.0, "I": -1.0, "III": 1.0},
)
"""Linear relations between simultaneous limb leads that sum to zero; `-aVR` is inverted aVR."""

CHANGE_S = 0.1
"""What is compared is how the leads change over this time: QRS, ST and T stay, and wander, which
filters that differ by lead leave, goes. From 0.02 to 0.2 s the faults are found alike."""
LARGEST_SHARE = 0.2
"""How much of the leads may break a relation, both root mean square. Recorded ECGs reach 0.06; a
cohort whose leads were denoised one by one reaches 0.17 (docs/input-checks.md)."""
LEAST_MV = 0.03
"""Less is rounding, to 20 uV at most, whatever its share of a low voltage."""
_OF_WAVEFORMS = tuple(each for each in RELATIONS if each.keys() <= set(LEADS))  # no -aVR
_LEAST_S = 1.0
_ENOUGH_HZ = 100.0  # a relation holds at each moment, so not every one must be looked at


def check(waveform: Waveform) -> None:
    """Compare the limb leads of the ten seconds that a page shows.

    Leads that were not recorded at the same time are not compared.

    Raises:
        Unscorable: `contradictory-leads`.
    """
    step = max(1, round(waveform.rate_hz / _ENOUGH_HZ))
    shown = waveform.samples_mv[:6, : round(PAGE_S * waveform.rate_hz) : step]
    lag = round(CHANGE_S * waveform.rate_hz / step)
    changes = shown[:, lag:] - shown[:, :-lag]  # (6, samples) mV
    for relation in _OF_WAVEFORMS:
        terms = _together(relation, changes)
        if terms.shape[1] * step < _LEAST_S * waveform.rate_hz:
            continue
        broken = terms.sum(axis=0)
        power = np.sqrt((terms**2).sum(axis=0).mean())
        if np.sqrt((broken**2).mean()) > max(LEAST_MV, LARGEST_SHARE * power):
            raise Unscorable(
                "contradictory-leads",
                f"the limb leads contradict one another ({_in_words(relation)} by up to "
                f"{np.abs(broken).max():.2g} mV): one is mislabelled, misscaled or upside down",
            )


def _together(relation: Mapping[str, float], changes: F32) -> F32:
    """(leads of the relation, samples) mV: its weighted terms where all of them are known."""
    terms = np.stack([weight * changes[LEADS.index(name)] for name, weight in relation.items()])
    known: F32 = terms[:, ~np.isnan(terms).any(axis=0)]
    return known


def _in_words(relation: Mapping[str, float]) -> str:
    """Say what its last lead, whose weight is 1, is not, e.g. `III is not II - I`."""
    *others, last = relation
    terms = sorted(((-relation[name], name) for name in others), reverse=True)
    told = " ".join(
        f"{'+' if weight > 0 else '-'} {'' if abs(weight) == 1 else f'{abs(weight):g} '}{name}"
        for weight, name in terms
    )  # e.g. + II - I
    return f"{last} is not {told[0].strip('+')}{told[2:]}"
