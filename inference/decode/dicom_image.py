"""DICOM images of pages: Secondary Capture and its relatives (PS3.3 A.8), to 8-bit grey or RGB."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array

from inference.decode.dicom_element import needed
from inference.decode.page import check_size, is_blank, stretched
from inference.errors import Undecodable, Unscorable
from inference.forms import U8, Picture

_MOST_FRAMES = 20
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


def read(found: FileDataset) -> Picture:
    """Read the first frame that is not blank.

    Raises:
        Undecodable: damaged, or in a transfer syntax that no installed decoder reads.
        Unscorable: `low-resolution`.
    """
    check_size(int(needed(found, "Columns")), int(needed(found, "Rows")))
    needed(found, "PixelData")
    if found.file_meta.TransferSyntaxUID.is_compressed:
        _check_codestream(found)
    frames = max(1, int(found.get("NumberOfFrames") or 1))
    first: U8 | None = None
    shown = 0
    for index in range(min(frames, _MOST_FRAMES)):
        pixels = _frame(found, index)
        if first is None or not is_blank(pixels):
            first, shown = pixels, index
        if not is_blank(pixels):
            break
    if first is None:
        raise Unscorable("blank", "an image without a frame")
    facts = {
        "format": "dicom-image",
        "class": str(found.SOPClassUID),
        "syntax": str(found.file_meta.TransferSyntaxUID),
        "frame": f"{shown + 1} of {frames}",
    }
    return Picture(pixels=first, facts=facts)


def _check_codestream(found: FileDataset) -> None:
    """Refuse a compressed frame whose own header asks for more pixels than a page has."""
    first = get_frame(found.PixelData, 0, number_of_frames=int(found.get("NumberOfFrames") or 1))
    size = codestream_size(first)
    if size:
        check_size(*size)


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height by a JPEG, JPEG-LS or JPEG 2000 header; None for other codes.

    ISO/IEC 10918-1 B.2.2 (SOF), 14495-1 C.2.2 (SOF55), 15444-1 A.5.1 (SIZ).
    """
    siz = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if siz >= 0:
        width, height, left, top = struct.unpack_from(">IIII", frame, siz + 8)
        return width - left, height - top
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", frame, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + length
    return None


def _frame(found: FileDataset, index: int) -> U8:
    """One frame as it is meant to be seen (PS3.3 C.7.6.3, C.11.1, C.11.2)."""
    # YBR becomes RGB here (PS3.3 C.7.6.3.1.2)
    try:
        values = pixel_array(found, index=index)
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        raise Undecodable(
            f"pixels of transfer syntax {found.file_meta.TransferSyntaxUID.name} cannot be decoded "
            f"({type(error).__name__})"
        ) from None
    kind = str(found.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, found)
        return stretched(values, 0, 65535 if values.dtype.itemsize == 2 else 255)
    if values.ndim == 3:
        return _coloured(values, int(found.BitsStored))
    return _grey(found, values, inverted=kind == "MONOCHROME1")


def _coloured(values: NDArray[np.generic], bits: int) -> U8:
    if values.dtype == np.uint8:
        return values.astype(np.uint8)
    return stretched(values, 0, float(2**bits - 1))


def _grey(found: FileDataset, values: NDArray[np.generic], *, inverted: bool) -> U8:
    """Window as the object says, else the full range that is used."""
    stored = apply_modality_lut(values, found)
    bits = int(found.BitsStored)
    if "VOILUTSequence" in found:
        seen = apply_voi(stored, found)
        out = stretched(seen, 0.0, float(2 ** int(found.VOILUTSequence[0].LUTDescriptor[2]) - 1))
    elif "WindowCenter" in found and "WindowWidth" in found:
        out = stretched(_windowed(stored, found), 0.0, 1.0)
    elif bits <= 8 and values.dtype.kind == "u" and stored is values:
        out = stretched(values, 0.0, float(2**bits - 1))
    else:
        out = stretched(stored, float(stored.min()), float(stored.max()))
    return np.subtract(255, out).astype(np.uint8) if inverted else out


def _windowed(stored: NDArray[np.generic], found: FileDataset) -> NDArray[np.float64]:
    """0..1 through the first window, by its function (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = _first(found.WindowCenter), _first(found.WindowWidth)
    values = stored.astype(np.float64)
    function = str(found.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, MultiValue) else value)
