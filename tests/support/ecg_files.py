"""ECG files written from known samples, each by the format's own rules and not by our readers."""

from __future__ import annotations

import base64
import binascii
import io
import struct
import zlib

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GeneralECGWaveformStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SCP_NUMBERS = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))


HTJ2K_LOSSLESS = (
    "/0//UQApQAAAAABAAAAAQAAAAAAAAAAAAAAAQAAAAEAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUE"
    "BEAB/1wAEyBIUFBQUFBQUFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAALYAAf+TwCoA"
    "/zXt0QBBlADAE0ATAAjyAIJ0AKL4AANUAMAVEAVAQgjxqnACdQAQAP7Byey1AMAVkAVgAAAAAOfAp6enwngACAAA"
    "/v2Se/ZJ7LgAwBacAV4AAAAAAAD5/wCnp6enp6enQn0AAgD+/3hn79/v3+/f7LwAwC2YBaoAAAAA/r/8FPT09PT0"
    "9PT09PT09PT08nUBAAAAAP9/2wOuuuuuuuuuuuuuupEB/9k="
)
HTJ2K_LOSSY = (
    "/0//UQApQAAAAABAAAAAQAAAAAAAAAAAAAAAQAAAAEAAAAAAAAAAAAABBwEB/1AACAACAAAAIv9SAAwAAgABAAUE"
    "BEAA/1wAIyJ3GHbqdup2vG8AbwBu4mdMZ0xnZFADUANQRlfSV9JXYf9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/"
    "kAAKAAAAAADjAAH/k8ABVuO8sWr82/4A4ZQAwAFTAAVIKaQggggBQrQAEyBMAOEBBrQAwALTgAWkohCi1dLrhRCi"
    "1dLrBnBwBFmXAAAAAAAVX/EVX/EAEIAMetC4AMAFtQAWsIiUOAemxDkwJc6BKXH+XSV/JX8lfgCtC3wAAoYPPjx8"
    "ePjw8H5A5KdPkpu+teo8AMAXQQBaQCQkCUlCkpAkJAlJQpKQef8BJdkuyXZLsl2S7JdRWRIBBAAAAP7/eGV79179"
    "17917L0AwBaYAAAAAP6//AKUpSlKUpSlKUvvAP/Z"
)
"""(64, 64) of 2 x + y by OpenJPH, which shares nothing with the OpenJPEG that reads it here."""


def recording(seconds: float = 10.0, rate_hz: int = 500, seed: int = 0) -> np.ndarray:
    """(12, samples) whole numbers that obey Einthoven and Goldberger exactly."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-12, 13, (8, round(seconds * rate_hz)))
    eight = np.cumsum(steps, axis=1) // 8 * 2
    one, two = eight[:2]
    limbs = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.stack([*limbs, *eight[2:]]).astype(np.int32)


def channel(
    number: int,
    *,
    scheme: str = "MDC",
    code: str | None = None,
    meaning: str = "",
    label: str = "",
    sensitivity: float | None = 1.0,
    factor: float | None = 1.0,
    baseline: float = 0.0,
    units: str | None = "uV",
) -> Dataset:
    """One channel definition (PS3.3 C.10.9.1.4)."""
    out = Dataset()
    source = Dataset()
    source.CodeValue = f"2:{number}" if code is None else code
    source.CodingSchemeDesignator = scheme
    source.CodeMeaning = meaning
    out.ChannelSourceSequence = Sequence([source])
    if label:
        out.ChannelLabel = label
    if sensitivity is not None:
        out.ChannelSensitivity = sensitivity
    if factor is not None:
        out.ChannelSensitivityCorrectionFactor = factor
    out.ChannelBaseline = baseline
    if units:
        unit = Dataset()
        unit.CodeValue, unit.CodingSchemeDesignator = units, "UCUM"
        out.ChannelSensitivityUnitsSequence = Sequence([unit])
    return out


def group(
    samples: np.ndarray,
    channels: list[Dataset],
    *,
    rate_hz: float = 500,
    kind: str = "SS",
    bits: int = 16,
    label: str = "RHYTHM",
    originality: str = "ORIGINAL",
    offset_ms: float | None = None,
    padding: int | None = None,
    order: str = "<",
) -> Dataset:
    """One multiplex group of (channels, samples) whole numbers."""
    dtype = np.dtype(f"{order}{'u' if kind.startswith('U') else 'i'}{bits // 8}")
    out = Dataset()
    out.WaveformOriginality = originality
    out.MultiplexGroupLabel = label
    out.NumberOfWaveformChannels = samples.shape[0]
    out.NumberOfWaveformSamples = samples.shape[1]
    out.SamplingFrequency = rate_hz
    out.WaveformBitsAllocated = bits
    out.WaveformSampleInterpretation = kind
    out.ChannelDefinitionSequence = Sequence(channels)
    if offset_ms is not None:
        out.MultiplexGroupTimeOffset = offset_ms
    vr = "OB" if bits == 8 else "OW"
    if padding is not None:
        out.add_new(0x5400100A, vr, np.array([padding]).astype(dtype).tobytes())
    out.add_new(0x54001010, vr, samples.T.astype(dtype).tobytes())
    return out


def dicom_waveform(*groups: Dataset, sop_class: str = GeneralECGWaveformStorage) -> Dataset:
    """A waveform object of these groups."""
    out = _object(sop_class)
    out.Modality = "ECG"
    out.WaveformSequence = Sequence(groups)
    return out


def twelve_channels(**of_each: object) -> list[Dataset]:
    """The twelve leads by MDC code."""
    return [channel(SCP_NUMBERS[lead], **of_each) for lead in LEADS]


def dicom_image(
    pixels: np.ndarray,
    *,
    photometric: str = "MONOCHROME2",
    bits: int = 8,
    stored: int | None = None,
    frames: int = 1,
    modality: str = "OT",
    signed: bool = False,
) -> Dataset:
    """A Secondary Capture of (rows, cols[, 3]) or (frames, rows, cols[, 3]) values."""
    out = _object(SecondaryCaptureImageStorage)
    shape = pixels.shape[1:] if frames > 1 else pixels.shape
    out.Modality = modality
    out.Rows, out.Columns = shape[:2]
    out.SamplesPerPixel = 3 if len(shape) == 3 else 1
    out.PhotometricInterpretation = photometric
    if out.SamplesPerPixel == 3:
        out.PlanarConfiguration = 0
    if frames > 1:
        out.NumberOfFrames = frames
    out.BitsAllocated = bits
    out.BitsStored = stored or bits
    out.HighBit = out.BitsStored - 1
    out.PixelRepresentation = int(signed)
    dtype = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    data = pixels.astype(dtype).tobytes()
    out.add_new(0x7FE00010, "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    return out


def encapsulated(data_set: Dataset, *frames: bytes) -> Dataset:
    """Give an image these compressed frames instead of its pixels (PS3.5 A.4)."""
    data_set.PixelData = encapsulate(list(frames))
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    data_set.NumberOfFrames = len(frames)
    return data_set


def dicom_pdf(document: bytes, kind: str = "application/pdf") -> Dataset:
    """An Encapsulated PDF, padded to even length."""
    out = _object(EncapsulatedPDFStorage)
    out.MIMETypeOfEncapsulatedDocument = kind
    out.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return out


def as_file(data_set: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A DICOM file (PS3.10) of a data set."""
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = io.BytesIO()
    dcmwrite(out, data_set, enforce_file_format=True)
    return out.getvalue()


def _object(sop_class: str) -> Dataset:
    out = Dataset()
    out.SOPClassUID = sop_class
    out.SOPInstanceUID = generate_uid()
    out.PatientName = "SECRET^PATIENT"
    out.PatientID = "SECRET-ID"
    return out


def muse(samples: np.ndarray, *, leads: tuple[str, ...] = EIGHT, crc: bool = True) -> bytes:
    """A MUSE document of 12-lead samples, 4.88 uV each."""
    data = {lead: samples[LEADS.index(lead)].astype("<i2").tobytes() for lead in leads}
    body = "".join(
        f"<LeadData><LeadSampleCountTotal>{samples.shape[1]}</LeadSampleCountTotal>"
        "<LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
        "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
        f"<LeadID>{lead}</LeadID><LeadSampleSize>2</LeadSampleSize><LeadOff>FALSE</LeadOff>"
        f"<LeadDataCRC32>{zlib.crc32(raw) if crc else 0}</LeadDataCRC32>"
        f"<WaveFormData>{base64.encodebytes(raw).decode()}</WaveFormData></LeadData>"
        for lead, raw in data.items()
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG>'
        "<PatientDemographics><PatientID>SECRET-ID</PatientID></PatientDemographics>"
        "<Waveform><WaveformType>Rhythm</WaveformType><SampleBase>500</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{body}</Waveform></RestingECG>"
    ).encode()


def aecg(samples: np.ndarray, *, unit: str = "uV", scale: float = 2.5, origin: float = 0) -> bytes:
    """An aECG document of twelve leads."""
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value>'
        f'<origin value="{origin}" unit="{unit}"/><scale value="{scale}" unit="{unit}"/>'
        f"<digits>{' '.join(map(str, row))}</digits></value></sequence></component>"
        for lead, row in zip(LEADS, samples, strict=True)
    )
    return (
        '<AnnotatedECG xmlns="urn:hl7-org:v3"><component><series><component><sequenceSet>'
        '<component><sequence><code code="TIME_ABSOLUTE"/><value>'
        '<increment value="2" unit="ms"/></value></sequence></component>'
        f"{sequences}</sequenceSet></component></series></component></AnnotatedECG>"
    ).encode()


def scp(
    samples: np.ndarray,
    *,
    encoded: list[bytes],
    difference: int,
    huffman: bytes | None,
    bimodal: int = 0,
    beats: tuple[bytes, bytes] | None = None,
    first: int = 1,
) -> bytes:
    """An SCP-ECG record: samples already encoded per lead from `first` on, section 2 as given."""
    last = first + samples.shape[1] - 1
    leads = b"".join(struct.pack("<IIB", first, last, SCP_NUMBERS[lead]) for lead in LEADS)
    three = struct.pack("<BB", len(LEADS), 4 | bool(beats)) + leads
    sizes = struct.pack("<12H", *map(len, encoded))
    six = struct.pack("<HHBB", 2500, 2000, difference, bimodal) + sizes + b"".join(encoded)
    bodies = {3: three, 6: six} | ({2: huffman} if huffman is not None else {})
    if beats:
        bodies |= {4: beats[0], 5: beats[1]}
    return _scp_record(bodies)


def _scp_record(bodies: dict[int, bytes]) -> bytes:
    def section(number: int, body: bytes, reserved: bytes = b"\0" * 6) -> bytes:
        rest = struct.pack("<HIBB", number, len(body) + 16, 20, 20) + reserved + body
        return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest

    parts, at, pointers = [], 6 + 16 + 12 * 10 + 1, [struct.pack("<HII", 0, 136, 7)]
    for number in range(1, 12):
        body = bodies.get(number)
        part = section(number, body) if body is not None else b""
        pointers.append(struct.pack("<HII", number, len(part), at if part else 0))
        parts.append(part)
        at += len(part)
    record = section(0, b"".join(pointers), b"SCPECG") + b"".join(parts)
    sized = struct.pack("<I", len(record) + 6) + record
    return struct.pack("<H", binascii.crc_hqx(sized, 0xFFFF)) + sized


def scp_default_huffman(values: list[int]) -> bytes:
    """Encode by the standard's default table, bit by bit."""
    bits = []
    for value in values:
        size = abs(value)
        if size == 0:
            bits.append("0")
        elif size <= 8:
            bits.append("1" * size + "0" + ("1" if value < 0 else "0"))
        elif -128 <= value <= 127:
            bits.append("1111111110" + format(value & 0xFF, "08b"))
        else:
            bits.append("1111111111" + format(value & 0xFFFF, "016b"))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")
