"""SCP-ECG (EN 1064, ISO 11073-91064): rhythm data of section 6.

Read: Huffman or plain samples, first and second differences, reference beat subtraction. Refused
with a reason: bimodal compression, for which there is no file here to prove a reader on.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.decode import huffman
from inference.decode.leads import assemble, numbered
from inference.errors import Undecodable, Unscorable
from inference.forms import F32, Waveform

I64 = NDArray[np.int64]

_HEADER = 16
_LONGEST = 1 << 20
_NV_IN_MV = 1e-6


@dataclass(frozen=True)
class _Lead:
    number: int
    first: int
    samples: int


@dataclass(frozen=True)
class _Coded:
    """Section 5 or 6: nanovolts per unit, microseconds per sample, one block per lead."""

    nv: int
    interval_us: int
    difference: int
    bimodal: bool
    blocks: list[bytes]


def looks_like(data: bytes) -> bool:
    """Tell an SCP-ECG record by the name in its pointer section."""
    return data[16:22] == b"SCPECG"


def read(data: bytes) -> Waveform:
    """Read the rhythm leads.

    Raises:
        Undecodable: truncated, damaged (checksum) or bimodally compressed.
        Unscorable: `too-few-leads` or `too-short`.
    """
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise Undecodable(f"damaged SCP-ECG record ({type(error).__name__})") from None


def _read(data: bytes) -> Waveform:
    sections = _sections(data)
    if 3 not in sections or 6 not in sections:
        raise Unscorable("too-short", "an SCP-ECG record without rhythm data")
    flags, leads = _leads(sections[3])
    coded = _coded(sections[6], len(leads))
    if coded.bimodal:
        raise Undecodable("bimodally compressed SCP-ECG is not read here")
    if coded.interval_us == 0:
        raise Unscorable("bad-rate", "an SCP-ECG record without a sample interval")
    by = huffman.tables(sections[2]) if 2 in sections else None
    values = [
        _undo_differences(_values(block, lead.samples, by), coded.difference)
        for block, lead in zip(coded.blocks, leads, strict=True)
    ]
    scaled = [row.astype(np.float64) * coded.nv for row in values]  # nV
    if flags & 1:
        _add_reference_beats(scaled, sections, leads, coded, by)
    rows: dict[str, F32] = {}
    start = min(lead.first for lead in leads)
    for lead, row in zip(leads, scaled, strict=True):
        name = numbered(lead.number)
        if name and name[0] not in rows:
            shift = np.full(lead.first - start, np.nan)
            mv = np.concatenate([shift, row * _NV_IN_MV * name[1]])
            rows[name[0]] = mv.astype(np.float32)
    return assemble(rows, 1e6 / coded.interval_us, {"format": "scp-ecg"})


def _sections(data: bytes) -> dict[int, bytes]:
    """Section number to its body, by the pointers of section 0."""
    checksum, size = struct.unpack_from("<HI", data)
    if size > len(data):
        raise Undecodable("truncated SCP-ECG record")
    if binascii.crc_hqx(data[2:size], 0xFFFF) != checksum:
        raise Undecodable("an SCP-ECG record that does not match its checksum")
    length = struct.unpack_from("<I", data, 10)[0]
    found: dict[int, bytes] = {}
    for at in range(6 + _HEADER, min(6 + length, len(data)) - 9, 10):
        number, size, index = struct.unpack_from("<HII", data, at)
        if number and size > _HEADER and index:
            found[number] = data[index - 1 + _HEADER : index - 1 + size]
    return found


def _leads(section: bytes) -> tuple[int, list[_Lead]]:
    """Section 3: flags, and for each lead its number and the samples that it spans."""
    leads = []
    for position in range(section[0]):
        first, last, number = struct.unpack_from("<IIB", section, 2 + 9 * position)
        samples = last - first + 1
        if not 0 < samples <= _LONGEST or first > _LONGEST:
            raise Undecodable("an SCP-ECG lead of an impossible length")
        leads.append(_Lead(number, first, samples))
    if not leads:
        raise Unscorable("too-few-leads", "an SCP-ECG record without leads")
    return section[1], leads


def _coded(section: bytes, leads: int) -> _Coded:
    nv, interval_us, difference, bimodal = struct.unpack_from("<HHBB", section)
    sizes = struct.unpack_from(f"<{leads}H", section, 6)
    at, blocks = 6 + 2 * leads, []
    for size in sizes:
        if at + size > len(section):
            raise Undecodable("truncated SCP-ECG samples")
        blocks.append(section[at : at + size])
        at += size
    return _Coded(nv, interval_us, difference, bool(bimodal), blocks)


def _values(block: bytes, samples: int, by: list[huffman.Table] | None) -> I64:
    if by is not None:
        return huffman.decode(block, samples, by)
    if len(block) < 2 * samples:
        raise Undecodable("truncated SCP-ECG samples")
    return np.frombuffer(block, "<i2", samples).astype(np.int64)


def _undo_differences(values: I64, order: int) -> I64:
    """The first `order` values are samples, the others differences of that order.

    Samples have 16 bits, and so has the arithmetic of encoders: a sum beyond them wraps around.
    """
    if order == 0:
        return values
    if order == 1:
        return np.cumsum(values).astype(np.int16).astype(np.int64)
    if order != 2 or values.size < 2:
        raise Undecodable("an SCP-ECG difference that is not read here")
    slopes = np.cumsum(np.concatenate([[values[1] - values[0]], values[2:]]))
    whole = np.concatenate([values[:1], values[0] + np.cumsum(slopes)])
    return whole.astype(np.int16).astype(np.int64)


def _add_reference_beats(
    rows: list[NDArray[np.float64]],
    sections: dict[int, bytes],
    leads: list[_Lead],
    coded: _Coded,
    by: list[huffman.Table] | None,
) -> None:
    """Put the reference beat (section 5) back where it was subtracted (section 4), in place."""
    if 4 not in sections or 5 not in sections:
        raise Undecodable("SCP-ECG with subtracted beats but without the reference beat")
    beat = _coded(sections[5], len(leads))
    if beat.interval_us != coded.interval_us:
        raise Undecodable("SCP-ECG whose reference beat has another sample interval")
    length_ms, fiducial, count = struct.unpack_from("<HHH", sections[4])
    samples = length_ms * 1000 // beat.interval_us
    for row, lead, block in zip(rows, leads, beat.blocks, strict=True):
        shape = _undo_differences(_values(block, samples, by), beat.difference)
        for position in range(min(count, 10_000)):
            kind, begin, middle, end = struct.unpack_from("<HIII", sections[4], 6 + 14 * position)
            if kind == 0 and end >= begin:
                # sample numbers of the recording, from 1; the fiducials coincide
                at = np.arange(max(begin, lead.first), min(end, lead.first + row.size - 1) + 1)
                inside = at - middle + fiducial - 1
                seen = (inside >= 0) & (inside < shape.size)
                row[at[seen] - lead.first] += shape[inside[seen]] * float(beat.nv)
