"""DICOM waveforms (PS3.3 C.10.9): multiplex groups, channel calibration, lead codes."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from inference.decode.dicom_element import needed
from inference.decode.leads import assemble, mv_per, named, numbered
from inference.errors import Undecodable, Unscorable
from inference.forms import F32, Waveform

LONGEST_S = 60.0
"""Seconds that are read of a recording; a Holter's day is not brought into memory."""
_SHORTEST_RHYTHM_S = 2.0

_SAMPLES = {
    ("SB", 8): "i1", ("UB", 8): "u1", ("SS", 16): "i2", ("US", 16): "u2",
    ("SL", 32): "i4", ("UL", 32): "u4", ("SV", 64): "i8", ("UV", 64): "u8",
}  # fmt: skip
"""Waveform Sample Interpretation (5400,1006) and Bits Allocated (5400,1004), PS3.3 C.10.9.1.5."""
_BEAT = re.compile(r"MEDIAN|AVERAGE|REPRESENTATIVE|TEMPLATE|BEAT", re.IGNORECASE)
_NUMERIC_CODE = re.compile(r"(?:2:|10:|5\.6\.3-9-)(\d{1,3})$")
_MDC_BASE = 131328  # 2 << 16 | 256: MDC_ECG_ELEC_POTL_*, IEEE 11073-10102


@dataclass(frozen=True)
class _Group:
    """One multiplex group: lead to (samples,) mV, all at one rate, beginning at an offset."""

    rows: dict[str, F32]
    rate_hz: float
    offset_s: float
    seconds: float
    derived: bool
    beat: bool
    filtered: str


def read(found: FileDataset) -> Waveform:
    """Read the rhythm of a waveform object; median beats are told apart and left out.

    Raises:
        Undecodable: truncated or of an encoding that is not linear PCM.
        Unscorable: `too-few-leads`, `too-short` or `no-calibration`.
    """
    order = "<" if found.file_meta.TransferSyntaxUID.is_little_endian else ">"
    groups = [_group(item, order) for item in found.WaveformSequence]
    chosen = _rhythm(groups)
    facts = {
        "format": "dicom-waveform",
        "groups": f"{len(chosen)} of {len(groups)}",
        "class": str(found.SOPClassUID),
    }
    if chosen[0].filtered:
        facts["filter"] = chosen[0].filtered
    rate_hz = chosen[0].rate_hz
    return assemble(_on_one_clock(chosen), rate_hz, facts)


def _group(item: Dataset, order: str) -> _Group:
    rate_hz = float(needed(item, "SamplingFrequency"))
    channels = int(needed(item, "NumberOfWaveformChannels"))
    count = int(needed(item, "NumberOfWaveformSamples"))
    if not np.isfinite(rate_hz) or rate_hz <= 0 or channels <= 0 or count <= 0:
        raise Unscorable("too-short", "a waveform group without samples, channels or rate")
    samples = _multiplex(item, order, channels, count, round(LONGEST_S * rate_hz))
    gaps = _gaps(item, samples)
    definitions = needed(item, "ChannelDefinitionSequence")
    rows: dict[str, F32] = {}
    for number, channel in enumerate(definitions[:channels]):
        lead = _lead(channel)
        if lead is None or lead[0] in rows:
            continue
        raw = samples[:, number]
        row = _millivolts(channel, raw) * np.float32(lead[1])
        if gaps is not None:
            row[gaps[:, number]] = np.nan
        rows[lead[0]] = row
    label = str(item.get("MultiplexGroupLabel", ""))
    derived = str(item.get("WaveformOriginality", "")).upper() == "DERIVED"
    seconds = count / rate_hz
    return _Group(
        rows=rows,
        rate_hz=rate_hz,
        offset_s=float(item.get("MultiplexGroupTimeOffset") or 0) / 1000,  # ms
        seconds=seconds,
        derived=derived,
        beat=bool(_BEAT.search(label)) or (derived and seconds < _SHORTEST_RHYTHM_S),
        filtered=next(map(_filtered, definitions), ""),
    )


def _filtered(channel: Dataset) -> str:
    """The recorder's filters in words (PS3.3 C.10.9.1, -3 dB points in Hz); empty if not told."""
    low, high = _hertz(channel, "FilterLowFrequency"), _hertz(channel, "FilterHighFrequency")
    notch = _hertz(channel, "NotchFilterFrequency")
    words = [f"filter {low}-{high} Hz"] if low and high else []
    if notch not in {"", "0"}:
        words.append(f"notch {notch} Hz")
    return ", ".join(words)


def _hertz(channel: Dataset, name: str) -> str:
    """A frequency as text; empty where it is absent or no number, for no score depends on it."""
    try:
        return f"{float(channel[name].value):g}"
    except (KeyError, TypeError, ValueError):
        return ""


def _multiplex(
    item: Dataset, order: str, channels: int, count: int, longest: int
) -> NDArray[np.generic]:
    """(samples, channels) of encoded values, a view of the first `longest` samples."""
    kind = (str(item.WaveformSampleInterpretation), int(item.WaveformBitsAllocated))
    if kind not in _SAMPLES:
        raise Undecodable(f"waveform samples of kind {kind[0][:2]}/{kind[1]} bits are not read")
    dtype = np.dtype(order + _SAMPLES[kind])
    data = needed(item, "WaveformData")
    if len(data) < channels * count * dtype.itemsize:
        raise Undecodable("truncated waveform: fewer samples than its header says")
    kept = min(count, longest)
    return np.frombuffer(data, dtype, channels * kept).reshape(kept, channels)


def _gaps(item: Dataset, samples: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """Where samples are padding (Waveform Padding Value, 5400,100A, encoded like the samples).

    Carts send a padding value of 0, which is also what a trace crosses all the time: then only
    a moment at which every channel is 0 is a gap.
    """
    value = item.get("WaveformPaddingValue")
    if isinstance(value, bytes):
        size = samples.dtype.itemsize
        value = np.frombuffer(value[:size], samples.dtype)[0] if len(value) >= size else None
    if value is None:
        return None
    padded: NDArray[np.bool_] = samples == np.asarray(value)
    if int(value) == 0:
        padded = np.broadcast_to(padded.all(axis=1, keepdims=True), padded.shape)
    return padded


def _lead(channel: Dataset) -> tuple[str, int] | None:
    """The lead of a channel by its code (CID 3001), its code's meaning, or its label."""
    sources = channel.get("ChannelSourceSequence") or []
    for source in sources:
        code = str(source.get("CodeValue", ""))
        number = _NUMERIC_CODE.search(code)
        found = numbered(int(number[1])) if number else None
        if found is None and code.isdigit() and int(code) > _MDC_BASE:
            found = numbered(int(code) - _MDC_BASE)
        found = found or named(code) or named(str(source.get("CodeMeaning", "")))
        if found:
            return found
    return named(str(channel.get("ChannelLabel", "")))


def _millivolts(channel: Dataset, raw: NDArray[np.generic]) -> F32:
    """Encoded values x sensitivity x correction + baseline, in mV (PS3.3 C.10.9.1.4.1 to .3)."""
    if channel.get("ChannelSensitivity") is None:
        raise Unscorable("no-calibration", "a lead without channel sensitivity")
    units = channel.get("ChannelSensitivityUnitsSequence") or []
    if not units:
        raise Unscorable("no-calibration", "a lead without unit of sensitivity")
    unit_mv = mv_per(str(units[0].get("CodeValue", "")))
    correction = channel.get("ChannelSensitivityCorrectionFactor")
    scale = float(channel.ChannelSensitivity) * float(1 if correction is None else correction)
    baseline = float(channel.get("ChannelBaseline") or 0)
    if not np.isfinite([scale, baseline]).all() or scale == 0:
        raise Unscorable("no-calibration", "a lead whose sensitivity is zero or not a number")
    out: F32 = ((raw.astype(np.float64) * scale + baseline) * unit_mv).astype(np.float32)
    return out


def _rhythm(groups: list[_Group]) -> list[_Group]:
    """The groups that hold the recording itself, original ones before derived ones."""
    rhythm = [group for group in groups if group.rows and not group.beat]
    if not rhythm:
        if any(group.rows for group in groups):
            raise Unscorable("too-short", "only representative beats, no rhythm")
        raise Unscorable("too-few-leads", "no channel is a standard ECG lead")
    chosen = [group for group in rhythm if not group.derived] or rhythm
    best = max(chosen, key=lambda group: (len(group.rows), group.seconds))
    return [best, *(g for g in chosen if g is not best and g.rate_hz == best.rate_hz)]


def _on_one_clock(groups: list[_Group]) -> dict[str, F32]:
    """Put groups that were recorded one after the other on one time axis, NaN where nothing was.

    The first group (with the most leads) wins where a lead is in several at the same time.
    """
    start = min(group.offset_s for group in groups)
    rate_hz = groups[0].rate_hz
    longest = round(LONGEST_S * rate_hz)
    rows: dict[str, F32] = {}
    for group in groups:
        first = min(round((group.offset_s - start) * rate_hz), longest)
        for name, row in group.rows.items():
            end = min(first + row.size, longest)
            placed = np.full(end, np.nan, np.float32)
            placed[first:end] = row[: end - first]
            rows[name] = _filled(rows.get(name), placed)
    return rows


def _filled(before: F32 | None, more: F32) -> F32:
    """The earlier row, its gaps filled from another."""
    if before is None:
        return more
    out = np.full(max(before.size, more.size), np.nan, np.float32)
    out[: more.size] = more
    out[: before.size] = np.where(np.isnan(before), out[: before.size], before)
    return out
