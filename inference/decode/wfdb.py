"""WFDB records (PhysioNet; signal(5), header(5)): a header file and its signal files beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.decode.leads import assemble, mv_per, named
from inference.errors import Undecodable, Unscorable
from inference.forms import F32, Waveform

I64 = NDArray[np.int64]

LONGEST_S = 60.0
_LARGEST_BYTES = 256 << 20
_UNCALIBRATED_PER_MV = 200.0  # header(5): the gain that is assumed where none is given
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?$")
_GAIN = re.compile(r"([-+.\deE]+)(?:\((-?\d+)\))?(?:/(\S+))?$")
_MISSING = {"16": -(1 << 15), "24": -(1 << 23), "32": -(1 << 31), "212": -(1 << 11), "80": -128,
            "61": -(1 << 15)}  # fmt: skip


@dataclass(frozen=True)
class _Signal:
    file: str
    format: str
    skip: int
    per_mv: float
    baseline: int
    checksum: int | None
    name: str


def read(header: Path) -> Waveform:
    """Read a single-segment record.

    Args:
        header: the `.hea` file; its signal files lie beside it.

    Raises:
        Undecodable: damaged, truncated, or in a form that is not read here.
        Unscorable: `too-few-leads`, `too-short` or `no-calibration`.
    """
    try:
        rate_hz, count, signals = _header(header.read_text("utf-8", errors="replace"))
        return assemble(_rows(header.parent, rate_hz, count, signals), rate_hz, {"format": "wfdb"})
    except (ValueError, IndexError, OverflowError, OSError) as error:
        raise Undecodable(f"damaged WFDB record ({type(error).__name__})") from None


def signal_files(header: Path) -> list[Path]:
    """Name the record's signal files, which hold its content: the header may be renamed.

    Raises:
        Undecodable: no readable header of signals in its own folder.
    """
    try:
        _, _, signals = _header(header.read_text("utf-8", errors="replace"))
    except (ValueError, IndexError, OverflowError, OSError) as error:
        raise Undecodable(f"damaged WFDB record ({type(error).__name__})") from None
    return [_beside(header.parent, name) for name in dict.fromkeys(s.file for s in signals)]


def _beside(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise Undecodable("a WFDB header that points out of its folder")
    return folder / name


def _header(text: str) -> tuple[float, int, list[_Signal]]:
    """Samples per second, samples per signal (0: unknown), signals."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    record = lines[0].split()
    if "/" in record[0]:
        raise Undecodable("multi-segment WFDB records are not read here")
    number = int(record[1])
    rate_hz = float(re.split(r"[/(]", record[2])[0]) if len(record) > 2 else 250.0
    count = int(record[3]) if len(record) > 3 else 0
    if not 0 < number <= 256 or len(lines) < 1 + number:
        raise Undecodable("a WFDB header without its signals")
    return rate_hz, count, [_signal(line) for line in lines[1 : 1 + number]]


def _signal(line: str) -> _Signal:
    fields = line.split(maxsplit=8)
    form = _FORMAT.match(fields[1])
    if form is None or (form[2] or "1") != "1" or (form[3] or "0") != "0":
        raise Undecodable("WFDB signals with skew or several samples a frame are not read here")
    gain = _GAIN.match(fields[2] if len(fields) > 2 else "0")
    if gain is None:
        raise Undecodable("a WFDB gain that is no number")
    per_unit = float(gain[1]) or _UNCALIBRATED_PER_MV
    zero = int(fields[4]) if len(fields) > 4 else 0
    return _Signal(
        file=fields[0],
        format=form[1],
        skip=int(form[4] or 0),
        per_mv=per_unit / mv_per(gain[3] or "mV"),
        baseline=int(gain[2]) if gain[2] else zero,
        checksum=int(fields[6]) if len(fields) > 6 else None,
        name=fields[8].strip() if len(fields) > 8 else "",
    )


def _rows(folder: Path, rate_hz: float, count: int, signals: list[_Signal]) -> dict[str, F32]:
    rows: dict[str, F32] = {}
    for file in dict.fromkeys(signal.file for signal in signals):
        together = [signal for signal in signals if signal.file == file]
        lead_names = [named(signal.name) for signal in together]
        if not any(lead_names):
            continue  # Frank leads and the like, in a file of their own
        frames = _frames(folder, together, count)
        for number, (signal, lead) in enumerate(zip(together, lead_names, strict=True)):
            if lead is None or lead[0] in rows:
                continue
            raw = frames[:, number]
            _check(raw, signal, whole=count == raw.size)
            raw = raw[: round(LONGEST_S * rate_hz)]
            row = ((raw - signal.baseline) / signal.per_mv).astype(np.float32)
            row[raw == _MISSING[signal.format]] = np.nan
            rows[lead[0]] = row * np.float32(lead[1])
    if not rows:
        raise Unscorable("too-few-leads", "no signal of the record is a standard ECG lead")
    return rows


def _frames(folder: Path, signals: list[_Signal], count: int) -> I64:
    """(samples, signals) of one file."""
    first = signals[0]
    path = _beside(folder, first.file)
    if path.stat().st_size > _LARGEST_BYTES:
        raise Undecodable("a WFDB signal file of more than 256 MB")
    if any(signal.format != first.format for signal in signals):
        raise Undecodable("a WFDB file of several formats")
    values = _samples(path.read_bytes()[first.skip :], first.format)
    frames = values[: values.size // len(signals) * len(signals)].reshape(-1, len(signals))
    if frames.shape[0] < count:
        raise Undecodable("truncated WFDB record: fewer samples than its header says")
    return frames[:count] if count else frames


def _samples(data: bytes, form: str) -> I64:
    """Decode one of the formats of signal(5)."""
    if form in ("16", "61"):
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2" if form == "16" else ">i2").astype(
            "i8"
        )
    if form == "32":
        return np.frombuffer(data[: len(data) // 4 * 4], "<i4").astype(np.int64)
    if form == "80":
        return np.frombuffer(data, np.uint8).astype(np.int64) - 128
    bytes_ = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).astype(np.int64).reshape(-1, 3)
    if form == "24":
        wide = bytes_[:, 0] | bytes_[:, 1] << 8 | bytes_[:, 2] << 16
        return np.where(wide >= 1 << 23, wide - (1 << 24), wide)
    if form == "212":
        pair = np.stack(
            [bytes_[:, 0] | (bytes_[:, 1] & 15) << 8, bytes_[:, 2] | (bytes_[:, 1] >> 4) << 8], 1
        ).reshape(-1)
        return np.where(pair >= 1 << 11, pair - (1 << 12), pair)
    raise Undecodable("a WFDB signal format that is not read here")


def _check(raw: I64, signal: _Signal, *, whole: bool) -> None:
    """Compare with the header's checksum: the low 16 bits of the samples' sum."""
    if whole and signal.checksum is not None and (int(raw.sum()) - signal.checksum) & 0xFFFF:
        raise Undecodable("a WFDB signal that does not match its checksum")
