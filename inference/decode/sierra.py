"""Philips Sierra ECG XML 1.03 to 1.04.02: 16-bit samples in base 64, plain or XLI-compressed.

XLI, as the format's users describe it: per lead an 8-byte header (size, unknown, first
difference), then LZW with 10-bit codes, most significant bit first; what comes out are the high
bytes of all samples, then their low bytes, of a second difference biased by 64. Limb leads III to
aVF hold only what is left after their prediction from I and II.
"""

from __future__ import annotations

import base64
import binascii
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from inference.decode.leads import assemble, named
from inference.errors import Undecodable, Unscorable
from inference.forms import LEADS, Waveform

I32 = NDArray[np.int32]

_TYPES = ("SierraECG", "PhilipsECG")
_VERSIONS = ("1.03", "1.04", "1.04.01", "1.04.02")
_TWELVE = ("STD-12", "10-WIRE")
_CODE_BITS = 10
_LAST_CODE = (1 << _CODE_BITS) - 2  # the code after it ends the data
_BIAS = 64
_LONGEST = 1 << 20
_RHYTHM_S = 10
"""What follows is the cart's calibration pulse, which is no ECG."""


def read(root: Element) -> Waveform:
    """Read the parsed waveforms; representative beats are left out.

    Raises:
        Undecodable: another type or version, an unknown compression, damaged samples.
        Unscorable: `too-few-leads`, `too-short` or `no-calibration`.
    """
    _check_version(root)
    waves = root.find(".//parsedwaveforms")
    signal = root.find(".//dataacquisition//signalcharacteristics")
    if waves is None or signal is None:
        raise Unscorable("too-short", "a Sierra document without parsed waveforms")
    labels = _labels(waves, signal)
    rate_hz = float(waves.get("samplespersecond") or _text(signal, "samplingrate"))
    count = round(float(waves.get("durationperchannel", "0")) * rate_hz / 1000)
    if not 0 < count <= _LONGEST:
        raise Unscorable("too-short", "a Sierra document without a plausible duration")
    resolution = waves.get("resolution") or _text(signal, "signalresolution", "resolution")
    offset = float(waves.get("signaloffset") or _text(signal, "signaloffset") or 0)
    if not resolution or not float(resolution) > 0:
        raise Unscorable("no-calibration", "a Sierra document without a resolution")
    samples = _samples(waves, len(labels), count)
    if labels[:6] == list(LEADS[:6]):
        _undo_prediction(samples)
    rows = {
        # uV to mV
        label: ((row[: round(_RHYTHM_S * rate_hz)] - offset) * float(resolution) / 1000).astype(
            "f4"
        )
        for label, row in zip(labels, samples, strict=True)
        if label
    }
    return assemble(rows, rate_hz, {"format": "sierra-xml"})


def _check_version(root: Element) -> None:
    kind = (root.findtext(".//documentinfo/documenttype") or "").strip()
    version = (root.findtext(".//documentinfo/documentversion") or "").strip()
    if kind not in _TYPES or version not in _VERSIONS:
        raise Undecodable("a Sierra document of a type or version that is not read here")


def _labels(waves: Element, signal: Element) -> list[str]:
    """Standard names of the channels in order, empty for other channels."""
    stated = waves.get("leadlabels", "").split()
    if stated:
        names = [named(label) for label in stated[: int(waves.get("numberofleads", len(stated)))]]
        return [name[0] if name else "" for name in names]
    channels = int(_text(signal, "numberchannelsallocated") or 0)
    if _text(signal, "acquisitiontype") not in _TWELVE or channels < len(LEADS):
        raise Unscorable("too-few-leads", "not a 12-lead acquisition")
    return [*LEADS, *([""] * (min(channels, 64) - len(LEADS)))]


def _samples(waves: Element, channels: int, count: int) -> list[I32]:
    """Each channel's stored values, (count,) each."""
    if waves.get("dataencoding") != "Base64":
        raise Undecodable("Sierra samples that are not in base 64")
    try:
        data = base64.b64decode("".join((waves.text or "").split()), validate=True)
    except binascii.Error:
        raise Undecodable("damaged base 64 in a Sierra document") from None
    method = waves.get("compressmethod") or waves.get("compression") or "Uncompressed"
    if method == "Uncompressed":
        return _plain(data, channels, count)
    if method == "XLI":
        return xli(data, channels, count)
    raise Undecodable("a Sierra compression that is not read here")


def _plain(data: bytes, channels: int, count: int) -> list[I32]:
    if len(data) < 2 * channels * count:
        raise Undecodable("truncated Sierra samples")
    return list(np.frombuffer(data, "<i2", channels * count).reshape(channels, count).astype("i4"))


def xli(data: bytes, channels: int, count: int) -> list[I32]:
    """Decompress XLI.

    Args:
        data: all channels' chunks.
        channels: how many there must be.
        count: samples in each.

    Raises:
        Undecodable: fewer channels or samples than stated.
    """
    out: list[I32] = []
    at = 0
    while len(out) < channels:
        size = int.from_bytes(data[at : at + 4], "little")
        start = int.from_bytes(data[at + 6 : at + 8], "little", signed=True)
        chunk = data[at + 8 : at + 8 + size]
        if len(chunk) < size or size == 0:
            raise Undecodable("truncated XLI data")
        out.append(_undo_differences(_lzw(chunk, 2 * count), start, count))
        at += 8 + size
    return out


def _lzw(chunk: bytes, wanted: int) -> bytes:
    """Decompress up to `wanted` bytes of LZW with fixed 10-bit codes."""
    bits = int.from_bytes(chunk, "big")
    left = 8 * len(chunk)
    table = [bytes((value,)) for value in range(256)]
    out = bytearray()
    previous = b""
    while left >= _CODE_BITS and len(out) < wanted:
        left -= _CODE_BITS
        code = bits >> left & ((1 << _CODE_BITS) - 1)
        if code > _LAST_CODE:
            break
        if code > len(table) or (code == len(table) and not previous):
            raise Undecodable("damaged XLI data")
        text = table[code] if code < len(table) else previous + previous[:1]
        if previous and len(table) <= _LAST_CODE:
            table.append(previous + text[:1])
        out += text
        previous = text
    return bytes(out)


def _undo_differences(data: bytes, start: int, count: int) -> I32:
    """Join high and low bytes, then sum the biased second difference up."""
    if len(data) < 2 * count or count < 2:
        raise Undecodable("truncated XLI data")
    raw = np.frombuffer(data, np.uint8, 2 * count).astype(np.int32)
    stored = (raw[:count] << 8 | raw[count:]).astype(np.uint16).view(np.int16).astype(np.int64)
    # each step turns the slope by the value stored one sample before, less the bias
    turns = np.concatenate([[start], stored[2:-1] - _BIAS])
    slopes = stored[1] - stored[0] - np.cumsum(turns)
    values = np.concatenate([stored[:2], stored[1] + np.cumsum(slopes)])[:count]
    return values.astype(np.int16).astype(np.int32)


def _undo_prediction(samples: list[I32]) -> None:
    """Turn the remainders of III, aVR, aVL, aVF into values, in place.

    A plain document may hold the leads themselves; Einthoven's law tells.
    """
    one, two, three = samples[:3]
    if np.abs(two - one - three).max() <= 2:
        return
    samples[2] = two - one - three
    samples[3] = -samples[3] - (one + two >> 1)
    samples[4] = (one - samples[2] >> 1) - samples[4]
    samples[5] = (two + samples[2] >> 1) - samples[5]


def _text(element: Element, *tags: str) -> str:
    return next((text.strip() for tag in tags if (text := element.findtext(tag))), "")
