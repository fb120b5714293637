"""Which lead is it, and twelve of them out of what a file holds."""

from __future__ import annotations

import re

import numpy as np

from inference.errors import Unscorable
from inference.forms import F32, LEADS, Waveform

SCP_LEADS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6",
    61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
"""Lead numbers of SCP-ECG (EN 1064, 5.6.3), which IEEE 11073-10102 and DICOM CID 3001 share."""
SCP_MINUS_AVR = 65

_LOWEST_RATE_HZ = 50.0
_HIGHEST_RATE_HZ = 32000.0
_TOKEN = re.compile(
    r"(?<![A-Z0-9])(-?)(III|II|I|D1|D2|D3|DIII|DII|DI|AVR|AVL|AVF|V[1-6])(?![A-Z0-9])"
)
_SPELLED = re.compile(r"AUGMENTED VOLTAGE,? (RIGHT|LEFT|FOOT)")
_UPPER = {lead.upper(): lead for lead in LEADS} | {
    "D1": "I", "D2": "II", "D3": "III", "DI": "I", "DII": "II", "DIII": "III",
}  # fmt: skip
_IN_MV = {
    "V": 1e3, "MV": 1.0, "UV": 1e-3, "NV": 1e-6,
    "MILLIVOLT": 1.0, "MILLIVOLTS": 1.0, "MICROVOLT": 1e-3, "MICROVOLTS": 1e-3,
    "NANOVOLT": 1e-6, "NANOVOLTS": 1e-6, "VOLT": 1e3, "VOLTS": 1e3,
}  # fmt: skip


def named(text: str) -> tuple[str, int] | None:
    """Find a standard lead in a name such as `Lead I (Einthoven)`, `MDC_ECG_LEAD_aVR` or `-aVR`.

    Returns:
        The lead as in `LEADS` and the sign (-1 for `-aVR`), or None.
    """
    upper = text.upper().replace("_", " ").replace("\N{MINUS SIGN}", "-")
    found = _TOKEN.search(upper)
    if found is None:
        spelled = _SPELLED.search(upper)
        return (f"aV{spelled[1][0]}", 1) if spelled else None
    lead = _UPPER[found[2]]
    # `Lead-II` has a hyphen; only Cabrera's -aVR has a sign
    return lead, -1 if found[1] and lead == "aVR" else 1


def numbered(number: int) -> tuple[str, int] | None:
    """Give the lead and sign of an SCP-ECG lead number, or None."""
    if number == SCP_MINUS_AVR:
        return "aVR", -1
    name = SCP_LEADS.get(number)
    return (name, 1) if name else None


def mv_per(unit: str) -> float:
    """Give the millivolts in one unit.

    Raises:
        Unscorable: `no-calibration` when it is no unit of voltage.
    """
    spelled = unit.strip().upper().replace("\N{MICRO SIGN}", "U").replace("\u039c", "U")
    try:
        return _IN_MV[spelled]
    except KeyError:
        raise Unscorable(
            "no-calibration", "the samples have no unit of voltage that is known"
        ) from None


def assemble(rows: dict[str, F32], rate_hz: float, facts: dict[str, str]) -> Waveform:
    """Order the leads and derive missing limb leads (Einthoven 1912, Goldberger 1942).

    Args:
        rows: lead name to (samples,) mV; lengths may differ, shorter ones end in NaN.
        rate_hz: samples per second.
        facts: what the decoder found; `derived` is added.

    Raises:
        Unscorable: `too-few-leads`, `too-short` or `bad-rate`.
    """
    if not _LOWEST_RATE_HZ <= rate_hz <= _HIGHEST_RATE_HZ:
        raise Unscorable("bad-rate", f"{rate_hz:g} samples per second is no rate of an ECG")
    longest = max((row.size for row in rows.values()), default=0)
    if rows and longest == 0:
        raise Unscorable("too-short", "the recording has no samples")
    known = {name: _as_long_as(row, longest) for name, row in rows.items()}
    derived = _derive(known)
    missing = [name for name in LEADS if name not in known]
    if missing:
        raise Unscorable(
            "too-few-leads", f"{len(rows)} of the standard leads; missing {', '.join(missing)}"
        )
    if derived:
        facts = facts | {"derived": " ".join(derived)}
    samples = np.stack([known[name] for name in LEADS]).astype(np.float32)
    return Waveform(samples_mv=samples, rate_hz=float(rate_hz), facts=facts)


def _derive(known: dict[str, F32]) -> list[str]:
    """Add what two limb leads determine; return the names that were added."""
    before = set(known)
    if {"I", "III"} <= known.keys() and "II" not in known:
        known["II"] = known["I"] + known["III"]
    if {"II", "III"} <= known.keys() and "I" not in known:
        known["I"] = known["II"] - known["III"]
    if {"I", "II"} <= known.keys():
        one, two = known["I"], known["II"]
        known.setdefault("III", two - one)
        half = np.float32(0.5)
        known.setdefault("aVR", -half * (one + two))
        known.setdefault("aVL", one - half * two)
        known.setdefault("aVF", two - half * one)
    return [name for name in LEADS if name in known and name not in before]


def _as_long_as(row: F32, longest: int) -> F32:
    out = np.full(longest, np.nan, np.float32)
    out[: row.size] = row
    return out
