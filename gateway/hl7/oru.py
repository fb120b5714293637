"""Results as ORU^R01 (HL7 v2 chapter 7): a `Report` in, the message's bytes out. No sockets.

`gateway.hl7.layout` lays out segments and groups; the values are put into that layout. Every text
is escaped here (chapter 2.7), and control characters become blanks, so no name can start a field or
a segment.

A message is built once and kept; a retry sends the same bytes, with the same MSH-10 and OBR-3. Only
PID-3 follows a merge of its patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gateway.ecg import Encounter, Order, Patient, Score
from gateway.hl7.layout import layout
from gateway.hl7.observations import observations, obx
from gateway.hl7.writing import escape, parts, since, timestamp

UNVALIDATED = (
    "RESEARCH SOFTWARE. The model behind this result is not validated at this site. "
    "Not for clinical decisions."
)
VALIDATED = "Computed by software. To be read together with the ECG by a clinician."


@dataclass(frozen=True, slots=True)
class Sender:
    """MSH-3 and MSH-4: who we are."""

    application: str
    facility: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """MSH-5, MSH-6 and MSH-12: who is told, and in which version of HL7."""

    application: str
    facility: str
    version: str = "2.5.1"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one result message says.

    Attributes:
        control_id: MSH-10, at most 20 characters.
        filler: OBR-3.1, the same for every message about this ECG.
        sender, receiver: the two ends.
        made_at: MSH-7 and OBR-22, aware.
        live: MSH-11 `P` when true, else `T`.
        notice: `alert`, `file` or `late`: what the receiver shall do with it.
        patient, encounter, order: PID, PV1, ORC/OBR.
        acquired_at: OBR-7 and OBX-14; naive when the source gave no zone.
        score: what the model said; None when the ECG could not be scored.
        reason: why it could not be scored; required when `score` is None.
        electrodes: those that seem interchanged, e.g. `RA-LA`, or `V4 inverted`; mostly empty.
        policy_version: version of the site configuration that decided.
        study_uid, sop_uid: DICOM UIDs, empty for other sources.
        pdf: the result PDF, which goes into the message; empty for none.
        pdf_url: where the result PDF is when it does not; empty for nowhere.
    """

    control_id: str
    filler: str
    sender: Sender
    receiver: Receiver
    made_at: datetime
    live: bool
    notice: str
    patient: Patient
    encounter: Encounter | None = None
    order: Order = field(default_factory=Order)
    acquired_at: datetime | None = None
    score: Score | None = None
    reason: str = ""
    electrodes: str = ""
    policy_version: int = 0
    study_uid: str = ""
    sop_uid: str = ""
    pdf: bytes = b""
    pdf_url: str = ""


def control_id(ecg_id: str, destination: str, kind: str) -> str:
    """Give MSH-10 for one ECG, destination and kind: 20 characters (2.5.1: ST, length 20).

    It is derived, not drawn: a worker that dies and scores again names the same message again.
    """
    seed = f"{ecg_id}\0{destination}\0{kind}".encode()
    return "EG" + hashlib.sha256(seed).hexdigest()[:18].upper()


def build(report: Report) -> bytes:
    """Build ORU^R01 as UTF-8 bytes, segments ended by CR, without MLLP framing.

    Args:
        report: what to say.

    Returns:
        The message; the same report gives the same bytes.

    Raises:
        ValueError: neither a score nor a reason is given, or the version is unknown to hl7apy.
    """
    if report.score is None and not report.reason:
        raise ValueError("a report without a score needs a reason")
    segments = list(_segments(report))
    filled = tuple((name, tuple(fields)) for name, fields in segments)
    values = (value for _, fields in segments for value in fields.values())
    return layout(report.receiver.version, filled).format(*values).encode("utf-8")


def renamed(message: bytes, patient: Patient) -> bytes:
    """Give a message that `build` gave under another identifier of its patient (PID-3).

    All else stays byte for byte: it is the same message, with the same MSH-10.
    """
    head, pid, rest = message.partition(b"\rPID|")
    line, end, after = rest.partition(b"\r")
    fields = line.split(b"|")  # the first is PID-1
    fields[2] = _identifier(patient).encode()
    return head + pid + b"|".join(fields) + end + after


def _segments(report: Report) -> Iterator[tuple[str, dict[int, str]]]:
    """Give each segment's fields by position, in order, as ER7; empty ones are left out."""
    notice = {1: "1", 2: "L", 3: VALIDATED if report.live else UNVALIDATED}
    segments = [("MSH", _msh(report)), ("PID", _pid(report.patient))]
    if report.encounter is not None:
        segments.append(("PV1", _pv1(report.encounter)))
    segments += [("ORC", {1: "RE"}), ("OBR", _obr(report)), ("NTE", notice)]
    by_segment = since(report.receiver.version, (2, 7))
    for number, observation in enumerate(observations(report), start=1):
        segments.append(("OBX", obx(number, observation, report)))
        if observation.device and by_segment:
            segments.append(
                ("PRT", {2: "AD", 4: "EQUIP^Equipment^HL70912", 10: observation.device})
            )
    for name, fields in segments:
        yield name, {position: value for position, value in fields.items() if value}


def _msh(report: Report) -> dict[int, str]:
    version = report.receiver.version
    return {
        3: escape(report.sender.application),
        4: escape(report.sender.facility),
        5: escape(report.receiver.application),
        6: escape(report.receiver.facility),
        7: timestamp(report.made_at),
        9: "ORU^R01" if version == "2.3" else "ORU^R01^ORU_R01",
        10: report.control_id,
        11: "P" if report.live else "T",
        12: version,
        18: "UNICODE UTF-8",
        21: "ECG-AI-RESULT^ECG-GATEWAY" if since(version, (2, 5)) else "",
    }


def _pid(patient: Patient) -> dict[int, str]:
    names = (patient.family, patient.given, patient.middle)
    return {
        1: "1",
        3: _identifier(patient),
        5: "^".join(escape(name) for name in names).rstrip("^"),
        7: escape(patient.birth_date),
        8: escape(patient.sex),
    }


def _identifier(patient: Patient) -> str:
    if not patient.id:
        return ""
    authority = parts(patient.id_authority, "&")
    return f"{escape(patient.id)}^^^{authority}^{escape(patient.id_type) or 'PI'}"


def _pv1(encounter: Encounter) -> dict[int, str]:
    return {
        1: "1",
        2: escape(encounter.patient_class) or "U",
        3: parts(encounter.location, "^"),
        7: parts(encounter.attending, "^"),
        19: parts(encounter.visit_number, "^"),
    }


def _obr(report: Report) -> dict[int, str]:
    return {
        1: "1",
        2: parts(report.order.placer, "^"),
        3: f"{escape(report.filler)}^{escape(report.sender.application)}",
        4: "11524-6^EKG study^LN",
        7: timestamp(report.acquired_at),
        18: escape(report.order.accession),
        22: timestamp(report.made_at),
        24: "EC",
        25: "F",
    }
