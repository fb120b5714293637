"""Waveforms of four other collections: a small external set, labelled in their own words.

CPSC 2018 and its extra set (China), Georgia (USA), PTB's `s0010_re` (Germany) as WFDB records, and
Chapman-Shaoxing (China) as MAT files, denoised lead by lead by its makers. Each collection's terms
stand for the endpoint or do not; that was decided before any was scored.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.decode import decode_file
from inference.errors import CohortError
from inference.forms import Waveform

ATTRIBUTION = "CPSC 2018, CPSC extra, Georgia, Chapman-Shaoxing (CC BY 4.0), PTB (ODC-By 1.0)"
INFARCTION_OR_STT = frozenset(
    {
        *("old MI", "myocardial infarction", "acute inferolateral MI (PTB patient001)"),
        *("myocardial ischemia", "lateral ischaemia", "413844008"),  # SNOMED CT: chronic ischaemia
        *("ST depression", "ST elevation", "ST interval abnormal", "nonspecific ST-T abn"),
        *("t wave inversion", "t wave abnormal"),
        *("STDD", "STE", "STTC", "STTU", "TWC", "TWO"),  # Chapman: ST and T changes
    }
)
"""What counts as PTB-XL's superclasses MI or STTC. A Q wave alone (AQW) does not there either."""
_CHAPMAN_HZ = 500.0
_SITES = {
    "A": "CPSC 2018",
    "Q": "CPSC extra",
    "E": "Georgia",
    "M": "Chapman-Shaoxing",
    "s": "PTB",
}
"""First letter of a record's name to the collection that names its records so."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One recording with its outcome, and the collection that it is of."""

    key: str
    label: int
    waveform: Waveform
    site: str = ""


def read(folder: Path) -> list[Labelled]:
    """Read `waveforms/index.tsv` and every recording once; copies are left out.

    Raises:
        CohortError: the index is missing.
        Undecodable, Unscorable: a record cannot be read.
    """
    try:
        with (folder / "index.tsv").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except OSError as error:
        raise CohortError(f"cannot read the waveforms: {error}") from error
    found: dict[bytes, Labelled] = {}
    for row in rows:
        path = folder.parent / row["path"]
        waveform = _chapman(path) if path.suffix == ".mat" else _wfdb(path)
        key = "/".join(path.parts[-2:])
        found.setdefault(
            waveform.samples_mv.tobytes(),
            Labelled(key, label_of(row["labels"]), waveform, _SITES.get(path.name[0], "")),
        )
    return list(found.values())


def label_of(told: str) -> int:
    """Give 1 where a collection's own words name an infarction or an ST-T change.

    Chapman's first word is the rhythm (`ST` is sinus tachycardia), the others are conditions.
    """
    terms = [part.strip() for part in told.split(";")]
    words = {word for term in terms[1:] for word in term.split()}
    return int(bool(INFARCTION_OR_STT & {*terms, *words}))


def _wfdb(path: Path) -> Waveform:
    decoded = decode_file(path)
    if not isinstance(decoded, Waveform):
        raise CohortError(f"{path.name} holds no waveform")
    return decoded


def _chapman(path: Path) -> Waveform:
    from scipy.io import loadmat  # noqa: PLC0415 - only here, and part of the train extra

    samples = loadmat(path)["val"].T  # (12, samples) uV
    return Waveform((samples / 1000).astype(np.float32), _CHAPMAN_HZ, {"format": "mat"})
