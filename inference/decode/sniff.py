"""Which format are these bytes? Told by content; the declared media type only breaks ties."""

from __future__ import annotations

from collections.abc import Callable

from inference.decode import dicom, image, pdf, scp, xml
from inference.errors import Undecodable
from inference.forms import Picture, Waveform

LARGEST_BYTES = 512 << 20
"""Nothing that one ECG needs; larger input is refused before it is looked at."""

_PDF_HEADER_WITHIN = 1024  # readers accept leading junk (ISO 32000-1 annex H, note 13)
_XML_STARTS = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<\x00", b"\xfe\xff\x00<", b"<\x00", b"\x00<")


def decode(data: bytes, media_type: str = "") -> Waveform | Picture:
    """Read an ECG file.

    Args:
        data: the whole file: DICOM (waveform, image or encapsulated PDF), PDF, PNG, JPEG, TIFF,
            HL7 aECG, GE MUSE or Philips Sierra XML, or SCP-ECG.
        media_type: what the sender called it; used only where the bytes leave room for doubt.

    Returns:
        A waveform in mV, or a picture of a page.

    Raises:
        Undecodable: the bytes are no readable file of these formats.
        Unscorable: they are, but hold no 12-lead ECG.
    """
    if not data:
        raise Undecodable("the file is empty")
    if len(data) > LARGEST_BYTES:
        raise Undecodable(f"{len(data) >> 20} MB is more than any ECG; at most 512 MB are read")
    return _reader(data, media_type)(data)


def _reader(data: bytes, media_type: str) -> Callable[[bytes], Waveform | Picture]:
    """The reader for these bytes."""
    if dicom.looks_like(data):
        return dicom.read
    if image.looks_like(data):
        return image.read
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return pdf.read
    if scp.looks_like(data):
        return scp.read
    if data[:512].lstrip().startswith(_XML_STARTS):
        return xml.read
    if media_type == "application/dicom":
        return dicom.read
    raise Undecodable("not a file of any format that is read here")
