"""Messages to what the gateway takes: ORU^R01 to ECGs, ADT^A01/A04/A08 to an admission."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from gateway.ecg import Arrival, Encounter, Order, Patient, Source
from gateway.errors import WrongContent
from gateway.hl7.acks import Verdict
from gateway.hl7.attachments import attachment_from
from gateway.hl7.head import Head
from gateway.hl7.people import encounter_from, patient_from
from gateway.hl7.reading import Message, Segment
from gateway.hl7.times import parse_time

ADT_TRIGGERS = frozenset({"A01", "A04", "A08"})
_VERSION = re.compile(r"2\.(?:1|2|3(?:\.1)?|4|5(?:\.1)?|6|7(?:\.1)?|8(?:\.[12])?)")
_TEST = frozenset({"T", "D"})


@dataclass(frozen=True, slots=True)
class Admission:
    """What an ADT message says: this patient has this encounter since then.

    Attributes:
        patient, encounter: of PID and PV1. at: of the event, aware, UTC.
    """

    patient: Patient
    encounter: Encounter
    at: datetime


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
    taken = {"R01"} if head.code == "ORU" else ADT_TRIGGERS
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
    zone = _zone_of(message)
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


def admission_from(
    message: Message, now: Callable[[], datetime], zone: tzinfo | None = None
) -> Admission:
    """Read an ADT^A01, A04 or A08.

    The time is EVN-6 (when it happened), else EVN-2, else MSH-7, else now; a time without a zone is
    in that of MSH-7, else in `zone`, else in this machine's.

    Raises:
        WrongContent: no patient identifier.
    """
    patient = patient_from(message.first("PID"))
    if not patient.id:
        raise WrongContent("PID-3 has no patient identifier")
    zone = _zone_of(message) or zone
    times = (parse_time(message.get(path), zone) for path in ("EVN-6.1", "EVN-2.1", "MSH-7.1"))
    at = next((time for time in times if time), None) or now()
    return Admission(patient, encounter_from(message.first("PV1")), at.astimezone(UTC))


def with_encounter(admission: Admission, known: Encounter | None) -> Admission:
    """Keep the known encounter where the message (an A08 without PV1) says nothing of one."""
    if known is None or admission.encounter != Encounter():
        return admission
    return replace(admission, encounter=known)


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


def _zone_of(message: Message) -> tzinfo | None:
    sent = parse_time(message.get("MSH-7.1"))
    return sent.tzinfo if sent else None
