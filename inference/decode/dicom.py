"""DICOM: what an object holds (a waveform, a PDF or pixels) and which reader takes it (PS3.3)."""

from __future__ import annotations

import io
import warnings
import zlib

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from inference.decode import dicom_image, dicom_waveform, pdf
from inference.decode.dicom_element import needed
from inference.errors import InferenceError, Undecodable, Unscorable
from inference.forms import Picture, Waveform

_PREAMBLE = 128
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LARGEST_INFLATED = 256 << 20
_PATIENT_IMAGES = frozenset(
    "CR CT DX IO IVUS MG MR NM OCT OP PT PX RF RTDOSE RTIMAGE SEG US XA".split()  # noqa: SIM905 - readable
)
"""Modalities (PS3.3 C.7.3.1.1.1) whose images show a patient, never a page."""


def looks_like(data: bytes) -> bool:
    """Tell a DICOM file (PS3.10 7.1), also one that was stored without its preamble."""
    if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return True
    # a bare data set begins with group 0002 or 0008, little or big endian, and small elements
    return data[:2] in (b"\x02\x00", b"\x08\x00") and data[2:4] in (
        b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x10\x00", b"\x12\x00",
        b"\x16\x00", b"\x18\x00",
    )  # fmt: skip


def read(data: bytes) -> Waveform | Picture:
    """Read a DICOM object.

    Raises:
        Undecodable: not readable as DICOM, or in a transfer syntax that is not decoded here.
        Unscorable: an object that holds no 12-lead ECG.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns, with values, about what carts get wrong
        try:
            _check_deflated(data)
            found = pydicom.dcmread(io.BytesIO(data), force=True)
            _settle_syntax(found)
            return _by_content(found)
        except InferenceError:
            raise
        except Exception as error:
            # the library's message may quote values of the data set, so only its kind is kept
            raise Undecodable(f"damaged DICOM file ({type(error).__name__})") from None


def _check_deflated(data: bytes) -> None:
    """Refuse a deflated data set (PS3.5 A.5) that would not fit in memory once inflated."""
    meta_end = 144 + int.from_bytes(data[140:144], "little")  # (0002,0000), PS3.10 7.1
    if _DEFLATED not in data[:meta_end] or data[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = _LARGEST_INFLATED
    piece = inflater.decompress(data[meta_end:], 1 << 20)
    while piece:
        left -= len(piece)
        if left < 0:
            raise Undecodable("a deflated data set of more than 256 MB")
        piece = inflater.decompress(inflater.unconsumed_tail, 1 << 20)


def _settle_syntax(found: FileDataset) -> None:
    """Name the transfer syntax that a data set without file meta information was read as."""
    if "TransferSyntaxUID" not in found.file_meta:
        implicit, little = found.original_encoding
        found.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian
            if implicit
            else ExplicitVRLittleEndian
            if little
            else ExplicitVRBigEndian
        )


def _by_content(found: FileDataset) -> Waveform | Picture:
    if "SOPClassUID" not in found:
        raise Undecodable("not a DICOM object: it has no SOP Class UID")
    if "WaveformSequence" in found:
        return dicom_waveform.read(found)
    if "EncapsulatedDocument" in found:
        return _document(found)
    if "PixelData" in found:
        return _image(found)
    raise Unscorable("not-an-ecg", f"a {_class_name(found)} object without waveform or image")


def _document(found: Dataset) -> Picture:
    """Encapsulated PDF (PS3.3 A.45.1); any other document type is refused."""
    kind = str(found.get("MIMETypeOfEncapsulatedDocument", "")).lower()
    document = bytes(needed(found, "EncapsulatedDocument"))
    if kind not in ("", "application/pdf") or b"%PDF-" not in document[:1024]:
        raise Unscorable("not-an-ecg", "an encapsulated document that is not a PDF")
    return pdf.read(document)


def _image(found: FileDataset) -> Picture:
    modality = str(found.get("Modality", "")).upper()
    if modality in _PATIENT_IMAGES:
        raise Unscorable("not-an-ecg", f"an image of modality {modality}, not a page of an ECG")
    return dicom_image.read(found)


def _class_name(found: Dataset) -> str:
    name = pydicom.uid.UID(found.SOPClassUID).name
    return name if not name[:1].isdigit() else "private"
