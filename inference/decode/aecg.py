"""HL7 Annotated ECG (HL7 v3 ANSI/HL7 V3 ECG R1): series of SLIST_PQ sequences."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from inference.decode.leads import assemble, mv_per, named
from inference.errors import Unscorable
from inference.forms import F32, Waveform

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def read(root: Element) -> Waveform:
    """Read the rhythm series; derived series (representative beats) are left out.

    Raises:
        Unscorable: `too-few-leads`, `too-short` or `no-calibration`.
    """
    found = [
        leads_of(sequences)
        for series in root.iterfind("component/series")
        for sequences in series.iterfind("component/sequenceSet")
    ]
    if not found:
        raise Unscorable("too-short", "an annotated ECG without a rhythm series")
    rate_hz, rows = max(found, key=lambda item: (len(item[1]), _seconds(item)))
    return assemble(rows, rate_hz, {"format": "hl7-aecg"})


def leads_of(sequences: Element) -> tuple[float, dict[str, F32]]:
    """Samples per second and lead rows in mV of one sequence set."""
    rate_hz = 0.0
    rows: dict[str, F32] = {}
    for sequence in sequences.iterfind("component/sequence"):
        code = _attribute(sequence, "code", "code")
        if code.startswith("TIME_"):
            rate_hz = 1 / _increment_s(sequence)
            continue
        lead = named(code)
        if lead and lead[0] not in rows:
            rows[lead[0]] = _millivolts(sequence) * np.float32(lead[1])
    return rate_hz, rows


def _millivolts(sequence: Element) -> F32:
    """Origin + scale x digits, each with its own unit."""
    origin = _quantity_mv(sequence, "value/origin", default=0.0)
    scale = _quantity_mv(sequence, "value/scale", default=None)
    digits = np.array((sequence.findtext("value/digits") or "").split(), np.float64)
    out: F32 = (origin + scale * digits).astype(np.float32)
    return out


def _quantity_mv(sequence: Element, path: str, default: float | None) -> float:
    element = sequence.find(path)
    if element is None:
        if default is None:
            raise Unscorable("no-calibration", "a lead without a scale")
        return default
    value = float(element.get("value", "nan"))
    return 0.0 if value == 0 and default == 0 else value * mv_per(element.get("unit", ""))


def _increment_s(sequence: Element) -> float:
    element = sequence.find("value/increment")
    if element is None:
        raise Unscorable("bad-rate", "a time sequence without an increment")
    return float(element.get("value", "0")) * _SECONDS[element.get("unit", "s")]


def _attribute(element: Element, path: str, name: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get(name, "")


def _seconds(item: tuple[float, dict[str, F32]]) -> float:
    rate_hz, rows = item
    return max((row.size for row in rows.values()), default=0) / rate_hz if rate_hz else 0.0
