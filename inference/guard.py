"""The input-domain guard: how far an input is from what the network was trained on.

Before the network: cheap statistics of the input's ink, standardised by those of the training
inputs. After it: how far the network's features are from theirs (`inference.embedding`). A distance
beyond the bundle's bound means that the picture is not one that the model may judge. What is
measured is recorded, of an ECG that is refused as of one that is scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from inference.embedding import Embedding
from inference.errors import Record, Unscorable
from inference.forms import F32, Tracings

ROWS = 4
STATISTICS = (
    "ink",
    *(f"ink_row{n}" for n in range(1, ROWS + 1)),
    *(f"filled_row{n}" for n in range(1, ROWS + 1)),
    "tallest_column",
)
"""Mean ink of all and of each row, share of columns with ink in each row, most ink in a column."""
MARGIN = 2.0
"""The bound is this many times what 99.5 % of the training and validation inputs stay within."""

QUANTILE, ROOM = 0.995, 1.25
"""The bound on the embedding distance is this quantile of the validation inputs, times the room:
the farthest of them are bundle branch blocks and paced rhythms, which must be scored."""


def statistics(pixels: F32) -> F32:
    """Give the statistics of an (H, W) input, in the order of `STATISTICS`."""
    height, width = pixels.shape
    bands = pixels[: height // ROWS * ROWS].reshape(ROWS, height // ROWS, width)
    columns = bands.sum(1)  # (4, W)
    values = (
        pixels.mean(),
        *bands.mean((1, 2)),
        *(columns > 0.1).mean(1),
        np.quantile(pixels.sum(0), 0.98),
    )
    return np.array(values, np.float32)


def fit(inputs: F32) -> dict[str, Any]:
    """Fit the guard on (n, H, W) inputs of the training domain: a table for the card."""
    seen = np.stack([statistics(each) for each in inputs])
    mean = seen.mean(0)
    spread = np.maximum(seen.std(0), 0.02 * np.maximum(np.abs(mean), 0.05))
    table = {"mean": [float(v) for v in mean], "spread": [float(v) for v in spread]}
    usual = float(np.quantile([distance(each, table) for each in inputs], 0.995))
    return table | {"bound": round(MARGIN * usual, 3), "min_leads": 11}


def distance(pixels: F32, table: Mapping[str, Any]) -> float:
    """Give the root mean square of the standardised statistics; about 1 inside the domain."""
    scaled = (statistics(pixels) - np.array(table["mean"])) / np.array(table["spread"])
    return float(np.sqrt((scaled**2).mean()))


def shown_leads(tracings: Tracings) -> int:
    """Count the leads that show at least three quarters of their window."""
    return int((np.isnan(tracings.leads_mv).mean(axis=1) <= 0.25).sum())


@contextmanager
def recorded(record: Record) -> Iterator[None]:
    """Add to a refusal inside what had been measured before."""
    try:
        yield
    except Unscorable as error:
        error.guard = {**record, **error.guard}
        raise


def reading(tracings: Tracings) -> Record:
    """Give what `Read` holds of a page that was read; nothing of a waveform."""
    return asdict(tracings.read) if tracings.read else {}


def check_leads(tracings: Tracings, table: Mapping[str, Any]) -> Record:
    """Give the number of `leads` shown and `min_leads`.

    Raises:
        Unscorable: `too-few-leads`.
    """
    shown, needed = shown_leads(tracings), int(table.get("min_leads", 12))
    record = {"leads": shown, "min_leads": needed}
    if shown < needed:
        told = f"{shown} of 12 leads can be read; {needed} are needed"
        raise Unscorable("too-few-leads", told, record)
    return record


def check(pixels: F32, table: Mapping[str, Any]) -> Record:
    """Give the `distance` of an input and its `bound`.

    Raises:
        Unscorable: `out-of-domain`.
    """
    found, bound = distance(pixels, table), float(table["bound"])
    record = {"distance": _told(found), "bound": bound}
    if not found <= bound:
        raise _out_of_domain("inputs", found, bound, record)
    return record


_IN_WORDS = (
    ("leads", "leads shown", "min_leads", "at least"),
    ("distance", "distance of the input", "bound", "up to"),
    ("embedding", "distance of its features", "embedding_bound", "up to"),
)


def in_words(record: Record) -> list[str]:
    """Say each measured number with its bound; of older records what they hold."""
    said = []
    if "layout" in record:
        said.append(
            f"page of layout {record['layout']} at {record['px_per_mm']:.4g} px/mm, "
            f"misfit to Einthoven's law {record['misfit']:.2f}"
        )
    if "pulses" in record:
        gain = f"{record['gain_mm_per_mv']:g} mm/mV"
        said.append(
            f"gain {gain} by {record['pulses']} calibration pulses"
            if record["pulses"]
            else f"gain taken as {gain}: the page shows no calibration pulse"
        )
    for name, what, bound, how in _IN_WORDS:
        if name in record:
            limit = f" ({how} {record[bound]:.4g})" if bound in record else ""
            value = record[name]
            said.append(
                f"{what} {value if isinstance(value, str) else format(value, '.4g')}{limit}"
            )
    return said


def fit_features(embedding: Embedding, features: F32) -> dict[str, Any]:
    """Give the card's `[guard.embedding]`; (n, d) features of validation inputs set the bound."""
    found = embedding.distances(features)
    return {
        "components": len(embedding.spread),
        "quantile": QUANTILE,
        "room": ROOM,
        "inputs": len(features),
        "bound": round(ROOM * float(np.quantile(found, QUANTILE)), 4),
    }


def check_features(features: F32, embedding: Embedding, table: Mapping[str, Any]) -> Record:
    """Give the distance of one input's (1, d) features, `embedding`, and `embedding_bound`.

    Raises:
        Unscorable: `out-of-domain`.
    """
    found, bound = float(embedding.distances(features)[0]), float(table["embedding"]["bound"])
    record = {"embedding": _told(found), "embedding_bound": bound}
    if not found <= bound:
        raise _out_of_domain("features", found, bound, record)
    return record


def _told(found: float) -> float | str:
    """JSON has neither NaN nor infinity, which are what an overflowing network gives."""
    return round(found, 4) if math.isfinite(found) else "not finite"


def _out_of_domain(what: str, found: float, bound: float, record: Record) -> Unscorable:
    told = f"distance {found:.2f} from the training {what}; up to {bound:.2f}"
    return Unscorable("out-of-domain", told, record)
