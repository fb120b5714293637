"""ECGs wrapped as carts wrap them: DICOM files (PS3.10) and HL7 v2 messages. Bytes out."""

from __future__ import annotations

import base64
import io
import uuid
import warnings
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    TwelveLeadECGWaveformStorage,
)

from gateway.ecg import Encounter, Patient
from gateway.hl7.writing import escape, timestamp
from inference.forms import LEADS, U8, Waveform

APPLICATION, FACILITY = "DEMO-CART", "DEMO"
MICROVOLT_STEP = 4.88
"""Microvolts per digit, as a 12-bit converter with a span of 20 mV gives."""

_LEAD_CODES = ("1", "2", "61", "62", "63", "64", "3", "4", "5", "6", "7", "8")
_MDC = {name: f"2:{code}" for name, code in zip(LEADS, _LEAD_CODES, strict=True)}


@dataclass(frozen=True, slots=True)
class Taken:
    """Who an ECG is of and when it was taken.

    Attributes:
        patient: the patient.
        at: acquisition time, aware.
        placer: order number, may be empty.
    """

    patient: Patient
    at: datetime
    placer: str = ""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A whole DICOM file and what a sender must know of it."""

    content: bytes = field(repr=False)
    sop_class: str
    sop_uid: str
    transfer_syntax: str


def waveform_file(waveform: Waveform, taken: Taken) -> DicomFile:
    """Write 12-lead ECG Waveform Storage (PS3.3 A.34.3) with 16-bit samples."""
    data = _base(taken, TwelveLeadECGWaveformStorage, "ECG")
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = len(LEADS)
    group.NumberOfWaveformSamples = waveform.samples_mv.shape[1]
    group.SamplingFrequency = waveform.rate_hz
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = [_channel(name) for name in LEADS]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    digits = np.rint(waveform.samples_mv * 1000 / MICROVOLT_STEP).astype("<i2")  # (leads, samples)
    group.WaveformData = digits.T.tobytes()
    data.WaveformSequence = [group]
    return _file(data, ExplicitVRLittleEndian)


def picture_file(pixels: U8, taken: Taken, *, jpeg: bool) -> DicomFile:
    """Write a page as Secondary Capture (PS3.3 A.8.1), RGB as it is or JPEG baseline.

    Args:
        pixels: (rows, cols, 3) RGB.
        taken: who and when.
        jpeg: compress it.
    """
    data = _base(taken, SecondaryCaptureImageStorage, "OT")
    data.ConversionType = "WSD"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    if not jpeg:
        data.PixelData = pixels.tobytes()
        return _file(data, ExplicitVRLittleEndian)
    data.LossyImageCompression = "01"
    data.LossyImageCompressionMethod = "ISO_10918_1"
    data.PixelData = encapsulate([_encoded(pixels, "JPEG")])
    data["PixelData"].VR = "OB"
    return _file(data, JPEGBaseline8Bit)


def pdf_file(document: bytes, taken: Taken) -> DicomFile:
    """Write a PDF as Encapsulated PDF Storage (PS3.3 A.45.1)."""
    data = _base(taken, EncapsulatedPDFStorage, "ECG")
    data.BurnedInAnnotation, data.ConversionType = "YES", "WSD"
    data.DocumentTitle = "12-lead ECG"
    data.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data.EncapsulatedDocumentLength = len(document)
    data.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return _file(data, ExplicitVRLittleEndian)


def png(pixels: U8) -> bytes:
    """Write a picture as PNG."""
    return _encoded(pixels, "PNG")


def result_message(content: bytes, kind: tuple[str, str], taken: Taken, control_id: str) -> bytes:
    """Write ORU^R01 with the file as OBX `ED` (HL7 v2.5.1 2.A.24).

    Args:
        content: the file.
        kind: ED-2 and ED-3, e.g. `("IM", "PNG")` or `("AP", "PDF")`.
        taken: who and when.
        control_id: MSH-10.
    """
    at = timestamp(taken.at)
    encoded = base64.b64encode(content).decode("ascii")
    return _message(
        _msh("ORU^R01^ORU_R01", control_id, at),
        _pid(taken.patient),
        "ORC|RE",
        f"OBR|1|{escape(taken.placer)}|{control_id}^{APPLICATION}|11524-6^EKG study^LN|||{at}",
        f"OBX|1|ED|11524-6^EKG study^LN|1|^{kind[0]}^{kind[1]}^Base64^{encoded}||||||F|||{at}",
    )


def admission_message(
    patient: Patient, encounter: Encounter, at: datetime, control_id: str
) -> bytes:
    """Write ADT^A01: the patient came to this place at this time."""
    time = timestamp(at)
    place = "^".join(escape(part) for part in encounter.location.split("^"))
    doctor = "^".join(escape(part) for part in encounter.attending.split("^"))
    pv1 = [""] * 20
    pv1[0], pv1[1], pv1[2], pv1[3] = "PV1", "1", encounter.patient_class, place
    pv1[7], pv1[19] = doctor, encounter.visit_number
    return _message(
        _msh("ADT^A01^ADT_A01", control_id, time), f"EVN|A01|{time}", _pid(patient), "|".join(pv1)
    )


def new_control_id() -> str:
    """Draw an MSH-10."""
    return uuid.uuid4().hex[:20].upper()


def _base(taken: Taken, sop_class: UID, modality: str) -> Dataset:
    patient, at = taken.patient, taken.at
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = sop_class
    data.SOPInstanceUID, data.StudyInstanceUID = _uid(), _uid()
    data.SeriesInstanceUID = _uid()
    data.StudyDate = data.ContentDate = data.AcquisitionDate = at.strftime("%Y%m%d")
    data.StudyTime = data.ContentTime = data.AcquisitionTime = at.strftime("%H%M%S")
    data.AcquisitionDateTime = timestamp(at)
    data.TimezoneOffsetFromUTC = at.strftime("%z")
    data.Modality, data.Manufacturer = modality, "Simulated cart"
    data.PatientName = f"{patient.family}^{patient.given}^{patient.middle}".rstrip("^")
    data.PatientID, data.IssuerOfPatientID = patient.id, patient.id_authority
    data.PatientBirthDate, data.PatientSex = patient.birth_date, patient.sex
    data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.SeriesNumber = data.InstanceNumber = 1
    return data


def _uid() -> str:
    """Draw a UID under 2.25 (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def _channel(name: str) -> Dataset:
    source = Dataset()
    source.CodeValue, source.CodingSchemeDesignator = _MDC[name], "MDC"
    source.CodeMeaning = f"Lead {name}"
    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
    channel = Dataset()
    channel.ChannelSourceSequence = [source]
    channel.ChannelSensitivity = MICROVOLT_STEP
    channel.ChannelSensitivityUnitsSequence = [unit]
    channel.ChannelSensitivityCorrectionFactor = 1
    channel.ChannelBaseline = 0
    channel.WaveformBitsStored = 16
    return channel


def _file(data: Dataset, transfer_syntax: UID) -> DicomFile:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    data.file_meta = meta
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on the caller's own values
        data.save_as(out, enforce_file_format=True)
    return DicomFile(
        out.getvalue(), str(data.SOPClassUID), str(data.SOPInstanceUID), str(transfer_syntax)
    )


def _encoded(pixels: U8, kind: str) -> bytes:
    out = io.BytesIO()
    options = {"quality": 92} if kind == "JPEG" else {"compress_level": 1}
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def _msh(kind: str, control_id: str, at: str) -> str:
    return (
        f"MSH|^~\\&|{APPLICATION}|{FACILITY}|ECG-GATEWAY|HOSPITAL|{at}||{kind}|{control_id}"
        "|P|2.5.1||||||UNICODE UTF-8"
    )


def _pid(patient: Patient) -> str:
    name = "^".join(escape(part) for part in (patient.family, patient.given, patient.middle))
    number = f"{escape(patient.id)}^^^{escape(patient.id_authority)}^MR"
    return f"PID|1||{number}||{name.rstrip('^')}||{patient.birth_date}|{patient.sex}"


def _message(*segments: str) -> bytes:
    return "".join(f"{segment}\r" for segment in segments).encode()
