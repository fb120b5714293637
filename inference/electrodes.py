"""Whether an ECG's electrodes seem to be interchanged: a note that goes with the score.

An interchange mixes the leads linearly (Krasteva et al., Sensors 2019;19:2920). Each one is undone
in turn; where the leads then are far more like those of other ECGs, it is suspected. What tells is
that leads are redundant (Kors & van Herpen, Am J Cardiol 2001;88:396): alike is a beat that is
small in the metric of the leads' mean covariance, in P, QRS and T apart. An arm's electrode in the
place of the right leg's leaves a limb lead between the legs, which is flat. A lead upside down (no
electrode does that to V1 to V6, but exports and decoders do) is found like an interchange.

`inference.reference.electrodes` fits and measures it. LA-LL, and V4 to V6 among one another, cannot
be told from other ECGs by this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from inference.beats import page_rows, r_peaks
from inference.errors import Record
from inference.forms import F64, LEADS, Tracings

USUAL = Path(__file__).parent / "electrodes.json"
"""Mean covariances and bounds, as fitted."""
INDEPENDENT = [LEADS.index(name) for name in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
"""The other limb leads follow from I and II."""
PARTS_S = {"P": (-0.20, -0.06), "QRS": (-0.056, 0.064), "T": (0.10, 0.42)}
"""Windows around the R peak, in seconds."""
LIMBS = {"RA-LA": ((-1, 0), (-1, 1)), "RA-LL": ((1, -1), (0, -1))}
"""What I and II become of (I, II)."""
INVERTED = " inverted"
"""How the name of a lead upside down ends."""
CHEST = ("V1-V2", "V2-V3", "V3-V4", "V1-V3", "V2-V4", "V3-V5", "V1-V6")
FLAT_SHARE = 0.1
"""A limb lead is flat that is less than this share of the largest of I, II and III."""
_BEFORE_S, _AFTER_S, _LEVEL_S = 0.25, 0.45, (-0.09, -0.05)


def noted(tracings: Tracings) -> str:
    """Name the interchange that is suspected: `RA-LA`, `V1-V2`, `V4 inverted`; empty for none.

    An ECG without a whole beat in each of its windows raises no suspicion.
    """
    beat = median_beat(tracings)
    if beat is None:
        return ""
    usual = _usual()
    found = gains(parts(beat, tracings.rate_hz), usual["metrics"])
    return flat(beat) or suspected(found, usual["bounds"])


def suspected(found: Mapping[str, float], bounds: Mapping[str, float]) -> str:
    """Name the interchange whose gain lies farthest beyond its group's bound; empty for none."""
    beyond = {name: gain - bounds[group_of(name)] for name, gain in found.items()}
    most = max(beyond, key=lambda name: beyond[name])
    return most if beyond[most] > 0 else ""


def warning(record: Record) -> str:
    """Give the sentence for people on what `Scored.guard` says of the electrodes; mostly empty."""
    name = str(record.get("electrodes", ""))
    if not name:
        return ""
    lead = name.removesuffix(INVERTED)
    told = f"Possible interchange of electrodes {name}" if lead == name else f"{lead} upside down?"
    return f"{told}: look before you trust the score."


def median_beat(tracings: Tracings) -> F64 | None:
    """Give the median beat of the `INDEPENDENT` leads, each in its own window: (8, time) mV.

    Level is that of PR. None without a whole beat in each window.
    """
    rate, window = tracings.rate_hz, tracings.leads_mv.shape[1]
    peaks = r_peaks(page_rows(tracings), rate)
    before, after = round(_BEFORE_S * rate), round(_AFTER_S * rate)
    start, stop = (before + round(at * rate) for at in _LEVEL_S)
    beats = []
    for lead in INDEPENDENT:
        here = peaks - lead // 3 * window
        here = here[(here >= before) & (here + after < window)]
        seen = tracings.leads_mv[lead][here[:, None] + np.arange(-before, after)]  # (beats, time)
        seen = seen[~np.isnan(seen).any(axis=1)]
        if not len(seen):
            return None
        beat = np.median(seen, axis=0).astype(np.float64)
        beats.append(beat - np.median(beat[start:stop]))
    return np.array(beats)


def parts(beat: F64, rate_hz: float) -> dict[str, F64]:
    """Give the (8, 8) mean products of the leads of an (8, time) beat, in each of `PARTS_S`."""
    cut = {
        name: beat[:, round((_BEFORE_S + a) * rate_hz) : round((_BEFORE_S + b) * rate_hz)]
        for name, (a, b) in PARTS_S.items()
    }
    return {name: part @ part.T / part.shape[1] for name, part in cut.items()}


def gains(products: Mapping[str, F64], metrics: Mapping[str, F64]) -> dict[str, float]:
    """Tell how much more usual the leads become by undoing each interchange.

    Args:
        products: of a beat, by part.
        metrics: (8, 8) inverse of the mean covariance, by part.

    Returns:
        The drop of the log energy, summed over the parts, by interchange.
    """
    return {
        name: sum(
            float(np.log((metrics[part] * seen).sum()))
            - float(np.log((metrics[part] * (undo @ seen @ undo.T)).sum()))
            for part, seen in products.items()
        )
        for name, undo in interchanges().items()
    }


def flat(beat: F64) -> str:
    """Name the interchange with the right leg that leaves one limb lead flat; empty for none."""
    i, ii = beat[:2]
    between_legs = {"RA-RL": ii, "LA-RL": ii - i, "RA-RL and LA-LL": i}
    size = {name: float(np.sqrt((lead**2).mean())) for name, lead in between_legs.items()}
    least = min(size, key=lambda name: size[name])
    return least if size[least] < FLAT_SHARE * max(size.values()) else ""


@cache
def interchanges() -> dict[str, F64]:
    """Give the (8, 8) matrix of each interchange or inversion, which is its own inverse."""
    found = {}
    for name, rows in LIMBS.items():
        found[name] = np.eye(8)
        found[name][:2, :2] = rows
    for name in CHEST:
        one, other = (INDEPENDENT.index(LEADS.index(lead)) for lead in name.split("-"))
        found[name] = np.eye(8)
        found[name][[one, other]] = found[name][[other, one]]
    for place, lead in enumerate(INDEPENDENT):
        name = LEADS[lead] + INVERTED
        found[name] = np.eye(8)
        found[name][place, place] = -1
    return found


def group_of(name: str) -> str:
    """Name the group whose bound holds for an interchange: `limbs`, `chest` or `inverted`."""
    return "limbs" if name in LIMBS else "chest" if name in CHEST else INVERTED.strip()


@cache
def _usual() -> dict[str, Any]:
    held = json.loads(USUAL.read_text())
    covariances = {part: np.array(each) for part, each in held["covariances"].items()}
    return {"metrics": metrics_of(covariances), "bounds": held["bounds"]}


def metrics_of(covariances: Mapping[str, F64]) -> dict[str, F64]:
    """Give the inverse of the mean covariance of each part: (8, 8)."""
    return {part: np.asarray(np.linalg.inv(each), float) for part, each in covariances.items()}
