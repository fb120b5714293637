"""OBX of type `ED` (encapsulated data) to the bytes and kind of an ECG (HL7 v2.5.1 2.A.24)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from gateway.ecg import MediaType
from gateway.errors import NotUnderstood, WrongContent
from gateway.hl7.reading import Segment

_MAGIC = (
    (b"%PDF-", MediaType.PDF),
    (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"II*\x00", MediaType.TIFF),
    (b"MM\x00*", MediaType.TIFF),
)
_DECLARED = {
    "PDF": MediaType.PDF,
    "PNG": MediaType.PNG,
    "JPEG": MediaType.JPEG,
    "JPG": MediaType.JPEG,
    "JPEG2000": None,
    "TIFF": MediaType.TIFF,
    "TIF": MediaType.TIFF,
    "XML": MediaType.XML,
    "DICOM": MediaType.DICOM,
}
_XML_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[?!A-Za-z]")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One encapsulated file: its bytes and what they are."""

    content: bytes
    media_type: MediaType


def attachment_from(obx: Segment) -> Attachment | None:
    """Read the encapsulated file of one OBX.

    What counts is what the bytes are: senders write `^application^pdf`, `^TX^PDF`, `^IM^JPEG` and
    `^^Octet-stream` for the same file.

    Returns:
        None when OBX-2 is not `ED`, OBX-5 is empty, or it is a kind that can be no ECG (RTF, HTML).

    Raises:
        NotUnderstood: the encoding of OBX-5.4 is unknown or OBX-5.5 does not decode by it.
        WrongContent: OBX-5.3 names a kind that we score, and the bytes are none of those.
    """
    if obx.get("2").strip() != "ED" or not obx.get("5.5"):
        return None
    content = _decode(obx)
    kind = _kind_of(content)
    if kind is None and _declared(obx) is not None:
        raise WrongContent("OBX-5.5 is not of the kind that OBX-5.3 names")
    return Attachment(content, kind) if kind else None


def _declared(obx: Segment) -> MediaType | None:
    for path in ("5.3", "5.2"):
        name = obx.get(path).strip().upper().rpartition("/")[2]
        if name in _DECLARED:
            return _DECLARED[name]
    return None


def _decode(obx: Segment) -> bytes:
    """Decode OBX-5.5 by table 0299; the letters of the encoding are upper or lower case."""
    encoding = obx.get("5.4").strip().upper()
    if encoding in {"A", ""}:
        return _as_text(obx)
    text = "".join(obx.get("5.5").split())
    try:
        if encoding == "BASE64":
            return base64.b64decode(text, validate=True)
        if encoding == "HEX":
            return bytes.fromhex(text)
    except (binascii.Error, ValueError):
        raise NotUnderstood(f"OBX-5.5 does not decode as {encoding}") from None
    raise NotUnderstood("the encoding in OBX-5.4 is not A, Hex or Base64")


def _as_text(obx: Segment) -> bytes:
    """Give text sent as it is (`A`); an unlabelled field that is base64 of a known file is that."""
    text = obx.get("5.5")
    if not obx.get("5.4").strip():
        try:
            content = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            content = b""
        if _kind_of(content):
            return content
    return text.encode("utf-8")


def _kind_of(content: bytes) -> MediaType | None:
    for start, kind in _MAGIC:
        if content.startswith(start):
            return kind
    if content[128:132] == b"DICM":
        return MediaType.DICOM
    if content.startswith((b"\xff\xfe<\x00", b"\xfe\xff\x00<")):
        return MediaType.XML
    return MediaType.XML if _XML_START.match(content) and b"<html" not in content[:1000] else None
