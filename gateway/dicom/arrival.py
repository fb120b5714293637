"""DICOM bytes -> `gateway.ecg.Arrival`, header only, original bytes kept exactly as received."""

from __future__ import annotations

from gateway.dicom import header as h
from gateway.dicom import part10
from gateway.dicom.contexts import STORAGE
from gateway.dicom.elements import inflated, is_implicit
from gateway.ecg import Arrival, MediaType, Source
from gateway.errors import NotUnderstood, WrongContent

MAX_UID_CHARACTERS = 64
DEFAULT_MAX_BYTES = 256 << 20


def from_store(
    data_set: bytes | bytearray,
    *,
    sop_class: str,
    sop_uid: str,
    transfer_syntax: str,
    source: Source,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Arrival:
    """Make an arrival of a C-STORE request (PS3.7 9.1.1).

    Args:
        data_set: encoded data set as received.
        sop_class: Affected SOP Class UID of the request.
        sop_uid: its Affected SOP Instance UID.
        transfer_syntax: of the presentation context.
        source: who sent it.
        max_bytes: a deflated data set may not inflate beyond this.

    Returns:
        The arrival; its content is a DICOM file, whose data set part is `data_set` unchanged.

    Raises:
        NotUnderstood: empty, cut off, or not in this transfer syntax.
        WrongContent: data set and request name different classes or instances.
    """
    _check_uid(sop_uid)
    header = _header(data_set, transfer_syntax, max_bytes)
    _check_match(header, sop_class, sop_uid)
    content = b"".join((part10.file_header(sop_class, sop_uid, transfer_syntax), data_set))
    return _arrival(header, content, source)


def from_file(content: bytes, source: Source, max_bytes: int = DEFAULT_MAX_BYTES) -> Arrival:
    """Make an arrival of a whole DICOM file (PS3.10); it is kept as it is.

    Raises:
        NotUnderstood: no DICOM file, or it is damaged.
        WrongContent: meta information and data set disagree, or the class is none of ours.
    """
    file = part10.split(content)
    if file.sop_class not in STORAGE:
        raise WrongContent("the SOP class is none that this gateway takes")
    _check_uid(file.sop_uid)
    header = _header(file.data_set, file.transfer_syntax, max_bytes)
    _check_match(header, file.sop_class, file.sop_uid)
    return _arrival(header, content, source)


def _header(
    data_set: bytes | bytearray | memoryview, transfer_syntax: str, max_bytes: int
) -> h.Header:
    if not data_set:
        raise NotUnderstood("the data set is empty")
    plain = inflated(data_set, transfer_syntax, max_bytes)
    return h.Header.read(plain, implicit=is_implicit(transfer_syntax))


def _check_uid(uid: str) -> None:
    """A UID in name only may be odd (leading zeros), but it must be a short ASCII word."""
    if not 1 <= len(uid) <= MAX_UID_CHARACTERS or not set(uid) <= set("0123456789."):
        raise NotUnderstood("the SOP Instance UID is not a UID")


def _check_match(header: h.Header, sop_class: str, sop_uid: str) -> None:
    if header.ascii(h.SOP_CLASS_UID) != sop_class:
        raise WrongContent("SOP Class UID of data set and request differ")
    if header.ascii(h.SOP_INSTANCE_UID) != sop_uid:
        raise WrongContent("SOP Instance UID of data set and request differ")


def _arrival(header: h.Header, content: bytes, source: Source) -> Arrival:
    sop_uid = header.ascii(h.SOP_INSTANCE_UID)
    return Arrival(
        identity=f"dicom:{sop_uid}",
        content=content,
        media_type=MediaType.DICOM,
        source=source,
        patient=h.patient(header),
        order=h.order(header),
        acquired_at=h.acquired_at(header),
        study_uid=header.ascii(h.STUDY_INSTANCE_UID),
        sop_uid=sop_uid,
        sop_class=header.ascii(h.SOP_CLASS_UID),
    )
