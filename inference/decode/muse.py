"""GE MUSE XML (`RestingECG`): eight leads of base-64 samples, the rest derived."""

from __future__ import annotations

import base64
import binascii
import zlib
from xml.etree.ElementTree import Element

import numpy as np

from inference.decode.leads import assemble, mv_per, named
from inference.errors import Undecodable, Unscorable
from inference.forms import F32, Waveform


def read(root: Element) -> Waveform:
    """Read the rhythm waveform; the median beat is left out.

    Raises:
        Undecodable: samples that are damaged or fewer than stated.
        Unscorable: `too-few-leads`, `too-short`, `lead-off` or `no-calibration`.
    """
    rhythms = [w for w in root.iterfind("Waveform") if _text(w, "WaveformType") == "Rhythm"]
    if not rhythms:
        raise Unscorable("too-short", "a MUSE document without a rhythm waveform")
    rhythm = max(rhythms, key=lambda waveform: len(waveform.findall("LeadData")))
    # SampleBase x 10^SampleExponent samples per second
    rate_hz = float(_text(rhythm, "SampleBase")) * 10.0 ** int(_text(rhythm, "SampleExponent", "0"))
    rows: dict[str, F32] = {}
    for lead in rhythm.iterfind("LeadData"):
        name = named(_text(lead, "LeadID"))
        if name and name[0] not in rows:
            rows[name[0]] = _millivolts(lead)
    return assemble(rows, rate_hz, {"format": "muse-xml", **_filters(rhythm)})


def _millivolts(lead: Element) -> F32:
    """One lead's samples x units per bit, from its first sample's offset on."""
    if _text(lead, "LeadOff").upper() == "TRUE":
        raise Unscorable("lead-off", "the cart says that an electrode was off")
    size = int(_text(lead, "LeadSampleSize", "2"))
    if size not in (2, 4):
        raise Undecodable(f"MUSE samples of {size} bytes")
    data = _samples(lead)
    count = int(_text(lead, "LeadSampleCountTotal"))
    if count < 0 or len(data) < count * size:
        raise Undecodable("truncated MUSE lead: fewer samples than stated")
    unit_mv = float(_text(lead, "LeadAmplitudeUnitsPerBit")) * mv_per(
        _text(lead, "LeadAmplitudeUnits")
    )
    values = np.frombuffer(data, f"<i{size}", count)
    offset = int(_text(lead, "LeadOffsetFirstSample", "0"))
    out: F32 = (values.astype(np.float64) * unit_mv).astype(np.float32)
    return np.concatenate([np.full(max(offset, 0), np.nan, np.float32), out]) if offset > 0 else out


def _samples(lead: Element) -> bytes:
    text = lead.findtext("WaveFormData") or ""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise Undecodable("damaged base-64 in a MUSE lead") from None
    expected = int(_text(lead, "LeadDataCRC32", "0"))
    # zero: an exporter that does not fill it in
    if expected and zlib.crc32(data) != expected:
        raise Undecodable("a MUSE lead does not match its checksum")
    return data


def _filters(rhythm: Element) -> dict[str, str]:
    """What the cart filtered; HighPassFilter is in hundredths of a hertz."""
    names = {"low_pass_hz": "LowPassFilter", "notch_hz": "ACFilter"}
    return {key: _text(rhythm, tag) for key, tag in names.items() if _text(rhythm, tag)}


def _text(element: Element, tag: str, default: str = "") -> str:
    return (element.findtext(tag) or default).strip()
