"""Messages to ECGs: what is taken at all, and every encapsulated ECG of an ORU^R01."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from gateway.ecg import Arrival, Order, Source
from gateway.errors import WrongContent
from gateway.hl7 import admissions
from gateway.hl7.acks import Verdict
from gateway.hl7.attachments import attachment_from
from gateway.hl7.head import Head
from gateway.hl7.people import patient_from
from gateway.hl7.reading import Message, Segment
from gateway.hl7.times import parse_time, zone_of

_VERSION = re.compile(r"2\.(?:1|2|3(?:\.1)?|4|5(?:\.1)?|6|7(?:\.1)?|8(?:\.[12])?)")
_TEST = frozenset({"T", "D"})


def objection(head: Head) -> Verdict | None:
    """Say why a message cannot be taken by its MSH alone (HL7 v2.5.1 2.9.2.2); None if it can."""
    if not head.control_id:
        return Verdict("AE", 101, "MSH-10 is empty: the message has no control id", "MSH^1^10")
    if not _VERSION.fullmatch(head.version):
        return Verdict("AR", 203, "the version in MSH-12 is not one of 2.1 to 2.8", "MSH^1^12")
    if head.processing not in {"P", "T", "D"}:
        return Verdict("AR", 202, "the processing id in MSH-11 is not P, T or D", "MSH^1^11")
    if head.code not in {"ORU", "ADT"}:
        return Verdict("AR", 200, "the message type is neither ORU nor ADT", "MSH^1^9")
    taken = {"R01"} if head.code == "ORU" else admissions.TRIGGERS
    if head.trigger not in taken:
        return Verdict("AR", 201, f"of {head.code} only {', '.join(sorted(taken))}", "MSH^1^9")
    return None


def source_of(head: Head, address: str) -> Source:
    """Tell how a message came; MSH-11 `T` and `D` mark what must not raise a live alert."""
    return Source("hl7", head.peer, address, test=head.processing in _TEST)


def ecgs_from(message: Message, head: Head, address: str) -> list[Arrival]:
    """Read every encapsulated ECG of an ORU^R01.

    One message may carry several patients and orders: each ECG belongs to the PID, ORC and OBR
    before it.

    Raises:
        NotUnderstood, WrongContent: an OBX claims to carry a file and does not; or there is none.
    """
    arrivals: list[Arrival] = []
    zone = zone_of(message)
    group: dict[str, Segment] = {}
    for segment in message.segments:
        _enter(group, segment)
        found = attachment_from(segment) if segment.name == "OBX" else None
        if found is None:
            continue
        arrivals.append(
            Arrival(
                identity=_identity(head, len(arrivals) + 1),
                content=found.content,
                media_type=found.media_type,
                source=source_of(head, address),
                patient=patient_from(group.get("PID")),
                order=_order(group.get("ORC"), group.get("OBR")),
                acquired_at=_acquired(segment, group.get("OBR"), zone),
            )
        )
    if not arrivals:
        raise WrongContent("no OBX of type ED carries a PDF, PNG, JPEG, TIFF, DICOM or XML file")
    return arrivals


def _identity(head: Head, number: int) -> str:
    return f"hl7:{head.peer.replace('^', '|')}|{head.control_id}|{number}"


def _enter(group: dict[str, Segment], segment: Segment) -> None:
    """Walk the ORU^R01 groups (HL7 v2.5.1 7.3.1): a PID ends all, an ORC ends the order before.

    An OBR without an ORC of its own begins an order too.
    """
    if segment.name == "PID":
        group.clear()
    elif segment.name == "ORC" or (segment.name == "OBR" and "OBR" in group):
        group.pop("OBR", None)
        group.pop("ORC", None)
    if segment.name in {"PID", "ORC", "OBR"}:
        group[segment.name] = segment


def _order(orc: Segment | None, obr: Segment | None) -> Order:
    def first(*places: tuple[Segment | None, str]) -> str:
        texts = (segment.get(path).strip() for segment, path in places if segment)
        return next((text for text in texts if text), "")

    return Order(
        placer=first((obr, "2.1"), (orc, "2.1")),
        filler=first((obr, "3.1"), (orc, "3.1")),
        accession=first((obr, "18.1")),
    )


def _acquired(obx: Segment, obr: Segment | None, zone: tzinfo | None) -> datetime | None:
    """OBR-7 is when the ECG was taken; OBX-14 where the sender left that out."""
    ordered = parse_time(obr.get("7.1"), zone) if obr else None
    return ordered or parse_time(obx.get("14.1"), zone)
