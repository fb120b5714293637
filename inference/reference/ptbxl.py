"""Read the PTB-XL subset: records in true millivolts, and records whose scale was lost."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.beats import Ints, r_peaks
from inference.errors import CohortError
from inference.forms import F32

RATE_HZ = 250.0
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
STATEMENTS = (
    *("ABQRS", "IMI", "ASMI", "LVH", "NDT", "LAFB", "AFIB", "ISC_", "IRBBB", "PVC", "STD_"),
    *("VCLVH", "STACH", "1AVB", "IVCD", "NST_", "SARRH", "SBRAD", "ISCAL", "CLBBB", "ILMI"),
    *("QWAVE", "CRBBB", "LOWT", "AMI", "INVT"),
)
"""SCP-ECG statements (EN 1064) that at least 24 records of `raw` carry, besides SR and NORM."""
ENDPOINT = "ischaemia_pattern"
ATTRIBUTION = "PTB-XL (Wagner et al., Scientific Data 2020;7:154), CC BY 4.0, resampled to 250 Hz"
_LARGEST_MV = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One 10-s 12-lead record.

    Attributes:
        key: `ptbxl:<ecg_id>`.
        part: `train`, `val` (both z-scored per lead) or `raw` (millivolts).
        samples: (12, 2500) at 250 Hz; mV, or standard deviations when `scaled`.
        scaled: the millivolt scale is lost (z-scored per lead).
        label: 1 for MI or STTC, the stand-in endpoint.
        superclasses: (5,) 0 or 1 in the order of `SUPERCLASSES`.
        statements: (26,) 0 or 1 in the order of `STATEMENTS`; NaN where none are told.
        peaks: R peaks, sample indices.
        limb_ratios: (6,) relative standard deviations of the limb leads, mean 1; ones when the
            scale is known or the ratios cannot be told.
    """

    key: str
    part: str
    samples: F32
    scaled: bool
    label: int
    superclasses: F32
    statements: F32
    peaks: Ints
    limb_ratios: F32


def read(folder: Path) -> list[Record]:
    """Read `labels.csv` and both arrays.

    Raises:
        CohortError: a file is missing, or a row names a record that its file does not hold.
    """
    try:
        with (folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        arrays = {name: _load(folder / name) for name in {Path(r["file"]).name for r in rows}}
    except OSError as error:
        raise CohortError(f"cannot read the cohort: {error}") from error
    records = []
    for number, row in enumerate(rows, start=2):
        samples, index = arrays[Path(row["file"]).name]
        if int(row["ecg_id"]) not in index:
            raise CohortError(f"labels.csv row {number}: {row['file']} lacks this ecg_id")
        records.append(_record(row, samples[index[int(row["ecg_id"])]]))
    return records


def _load(path: Path) -> tuple[np.ndarray, dict[int, int]]:
    with np.load(path, allow_pickle=False) as held:
        return held["x"], {int(each): i for i, each in enumerate(held["ecg_id"])}


def _record(row: dict[str, str], stored: np.ndarray) -> Record:
    scaled = row["fold"] != "raw"
    samples = stored.astype(np.float32) / np.float32(100 if scaled else 1000)
    if not scaled:
        samples = np.clip(samples, -_LARGEST_MV, _LARGEST_MV)
    return Record(
        key=f"ptbxl:{row['ecg_id']}",
        part=row["fold"],
        samples=samples,
        scaled=scaled,
        label=int(row[ENDPOINT]),
        superclasses=np.array([float(row[name]) for name in SUPERCLASSES], np.float32),
        statements=_statements(row["scp_codes"].split()),
        peaks=r_peaks(samples, RATE_HZ),
        limb_ratios=limb_ratios(samples) if scaled else np.ones(6, np.float32),
    )


def _statements(told: list[str]) -> F32:
    if not told:
        return np.full(len(STATEMENTS), np.nan, np.float32)
    return np.array([each in told for each in STATEMENTS], np.float32)


def limb_ratios(scored: F32) -> F32:
    """Recover the ratios of the limb leads' amplitudes from z-scored leads.

    Einthoven's law `a I - b II + c III = 0` holds for one ratio a:b:c only; the augmented leads
    follow from it (Goldberger). Ones when no positive solution fits.
    """
    three = scored[:3] * np.array([[1], [-1], [1]], np.float32)
    weights = np.linalg.eigh(three @ three.T / three.shape[1])[1][:, 0]  # of the smallest value
    if not ((weights > 0.02).all() or (weights < -0.02).all()):
        return np.ones(6, np.float32)
    one, two = np.abs(weights[:2])[:, None] * scored[:2]
    six = np.stack((one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2))
    spread = six.std(1)
    ratios: F32 = (spread / spread.mean()).astype(np.float32)
    return ratios


def lead_scales(records: list[Record]) -> F32:
    """Give (records, 12) standard deviations in mV of those with a true scale.

    Measured in the band of the z-scored records (0.5-40 Hz, here by removing a 1-s mean), so that
    a wandering baseline does not count as amplitude.
    """
    scales = [_spread(r.samples) for r in records if not r.scaled]
    return np.stack(scales).astype(np.float32)


def _spread(samples: F32) -> F32:
    width = round(2 * RATE_HZ)
    total = np.cumsum(np.pad(samples, ((0, 0), (width // 2 + 1, width // 2)), "edge"), axis=1)
    drift = (total[:, width:] - total[:, :-width])[:, : samples.shape[1]] / width
    spread: F32 = (samples - drift).std(1)
    return np.clip(spread, 0.01, 2.0)
