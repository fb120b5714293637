"""The DICOM file format (PS3.10 chapter 7): file meta information around an untouched data set.

What we write is the same for the same object, whoever sent it and whichever version of us runs:
an object sent again must have the same digest. So it holds no AE title, version or date.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.dicom.contexts import EXPLICIT_LE
from gateway.dicom.elements import walk
from gateway.dicom.pdu import IMPLEMENTATION_CLASS_UID
from gateway.errors import NotUnderstood

PREAMBLE = b"\0" * 128 + b"DICM"
SHORTEST = len(PREAMBLE) + 12


@dataclass(frozen=True, slots=True)
class Part10:
    """A file, split.

    Attributes:
        sop_class, sop_uid: Media Storage SOP Class and Instance UID.
        transfer_syntax: of the data set.
        data_set: the encoded data set.
    """

    sop_class: str
    sop_uid: str
    transfer_syntax: str
    data_set: memoryview


def _ui(element: int, uid: str) -> bytes:
    raw = uid.encode("ascii", "replace")
    raw += b"\0" * (len(raw) % 2)
    return struct.pack("<HH2sH", 2, element, b"UI", len(raw)) + raw


def file_header(sop_class: str, sop_uid: str, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information to put before an encoded data set."""
    meta = (
        struct.pack("<HH2sHI2s", 2, 1, b"OB", 0, 2, b"\0\1")
        + _ui(0x0002, sop_class)
        + _ui(0x0003, sop_uid)
        + _ui(0x0010, transfer_syntax)
        + _ui(0x0012, IMPLEMENTATION_CLASS_UID)
    )
    return PREAMBLE + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta


def split(content: bytes) -> Part10:
    """Take a file apart.

    Raises:
        NotUnderstood: no DICOM file, or its meta information is damaged.
    """
    if len(content) < SHORTEST or content[128:132] != b"DICM":
        raise NotUnderstood("not a DICOM file: no DICM prefix")
    view = memoryview(content)
    tag, vr, size, length = struct.unpack_from("<I2sHI", view, len(PREAMBLE))
    start = SHORTEST
    if (tag, vr, size) != (0x00000002, b"UL", 4) or start + length > len(view):
        raise NotUnderstood("the file meta information is damaged")
    meta = {
        element.tag & 0xFFFF: bytes(element.value).decode("ascii", "replace").strip(" \0")
        for element in walk(view[start : start + length], implicit=False)
        if element.tag & 0xFFFF in {0x0002, 0x0003, 0x0010}
    }
    return Part10(
        sop_class=meta.get(0x0002, ""),
        sop_uid=meta.get(0x0003, ""),
        transfer_syntax=meta.get(0x0010, EXPLICIT_LE),
        data_set=view[start + length :],
    )
