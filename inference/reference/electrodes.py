"""`python -m inference.reference.electrodes DATA`: fit and measure the note on interchanges.

Mean covariances and bounds are those of the unselected PTB-XL records (`raw`), as a page shows
them. What is printed is measured on fifths of the records by the covariances of the other four, but
by the bounds of all. An interchange is simulated by its algebra (Krasteva et al., Sensors
2019;19:2920), with the right leg at the potential of the left, and 0.01 mV of noise between them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference import electrodes
from inference.errors import Unscorable
from inference.forms import F32, F64, Waveform
from inference.reference import ptbxl
from inference.tracings import cut

BOUNDS = {"limbs": 0.9975, "chest": 0.9985, "inverted": 0.9995}
"""Share of the records in whose leads none of the group's interchanges is suspected."""
RIDGE = 1e-3
_FOLDS = 5

Products = Mapping[str, F64]


def beats(records: Sequence[F32]) -> F64:
    """Give the median beats (n, 8, time) of (12, samples) records that have one in each window."""
    found = []
    for samples in records:
        try:
            beat = electrodes.median_beat(cut(Waveform(samples, ptbxl.RATE_HZ)))
        except Unscorable:
            continue
        if beat is not None:
            found.append(beat)
    return np.array(found)


def covariances(products: Sequence[Products]) -> dict[str, F64]:
    """Give the mean of the products, each scaled to the same power: part to (8, 8)."""
    out = {}
    for part in electrodes.PARTS_S:
        scaled = [each[part] * 8 / (np.trace(each[part]) + 1e-5) for each in products]
        out[part] = np.mean(scaled, axis=0) + RIDGE * np.eye(8)
    return out


def crossed(given: Sequence[Products], mixed: F64) -> list[dict[str, float]]:
    """Give the gains of beats whose leads were `mixed` (8, 8), by covariances of other beats."""
    fold = np.random.default_rng(0).integers(0, _FOLDS, len(given))
    metrics = [
        electrodes.metrics_of(
            covariances([each for each, at in zip(given, fold, strict=True) if at != n])
        )
        for n in range(_FOLDS)
    ]
    return [
        electrodes.gains({p: mixed @ s @ mixed.T for p, s in each.items()}, metrics[at])
        for each, at in zip(given, fold, strict=True)
    ]


def fit(given: Sequence[Products]) -> dict[str, Any]:
    """Give covariances and bounds, as JSON holds them."""
    plain = crossed(given, np.eye(8))
    bounds = {}
    for group, share in BOUNDS.items():
        most = [
            max(gain for name, gain in each.items() if electrodes.group_of(name) == group)
            for each in plain
        ]
        bounds[group] = round(float(np.quantile(most, share)), 4)
    rounded = {part: each.round(5).tolist() for part, each in covariances(given).items()}
    return {"covariances": rounded, "bounds": bounds, "records": len(given)}


def measure(given: Sequence[Products], bounds: Mapping[str, float]) -> dict[str, float]:
    """Give the share of beats that are noted: as they are, and with each interchange."""
    told = {}
    for name, mixed in {"none": np.eye(8), **electrodes.interchanges()}.items():
        noted = [bool(electrodes.suspected(each, bounds)) for each in crossed(given, mixed)]
        told[name] = float(np.mean(noted))
    return told


def flat_leads(found: F64) -> dict[str, float]:
    """Give the share of beats noted for a flat limb lead: as they are, and with each mix-up."""
    told = {"flat": float(np.mean([bool(electrodes.flat(beat)) for beat in found]))}
    noise = np.random.default_rng(0).normal(0, 0.01, (len(found), found.shape[2]))
    i, ii = found[:, 0], found[:, 1]
    limbs = {"RA-RL": (i - ii, noise), "LA-RL": (ii, ii + noise), "RA-RL and LA-LL": (noise, ii)}
    for name, leads in limbs.items():
        mixed = np.stack(leads, axis=1)  # (n, 2, time)
        told[name] = float(np.mean([electrodes.flat(beat) == name for beat in mixed]))
    return told


def main() -> None:
    """Fit, write the table beside `inference.electrodes` and print what was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.reference.electrodes", description=__doc__
    )
    parser.add_argument("data", type=Path)
    records = [r.samples for r in ptbxl.read(parser.parse_args().data / "ptbxl") if r.part == "raw"]
    found = beats(records)
    given = [electrodes.parts(beat, ptbxl.RATE_HZ) for beat in found]
    table = fit(given)
    electrodes.USUAL.write_text(json.dumps(table, indent=1) + "\n")
    told = measure(given, table["bounds"]) | flat_leads(found)
    sys.stdout.write(f"{len(records)} records, {len(found)} with a beat in each window\n")
    sys.stdout.writelines(f"{name}: {share:.4f}\n" for name, share in told.items())


if __name__ == "__main__":
    main()
