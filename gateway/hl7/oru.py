"""Results as ORU^R01 (HL7 v2 chapter 7): a `Report` in, the message's bytes out. No sockets.

`gateway.hl7.layout` lays out segments and groups; the values are put into that layout. Every text
is escaped here (chapter 2.7), and control characters become blanks, so no name can start a field or
a segment.

A message is built once and kept; a retry sends the same bytes, with the same MSH-10 and OBR-3. Only
PID-3 follows a merge of its patient.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.ecg import Encounter, Order, Patient, Score
from gateway.hl7.layout import layout

CODES = "99ECGAI"
"""Our local coding system; `docs/results.md` lists its codes."""

UNVALIDATED = (
    "RESEARCH SOFTWARE. The model behind this result is not validated at this site. "
    "Not for clinical decisions."
)
VALIDATED = "Computed by software. To be read together with the ECG by a clinician."

_ESCAPES = str.maketrans({"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"})


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


def escape(text: str) -> str:
    """Make text safe inside one (sub)component: delimiters escaped, control characters blanked."""
    printable = "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else " " for c in text)
    return printable.strip().translate(_ESCAPES)


def timestamp(moment: datetime | None) -> str:
    """Write a time as DTM (chapter 2A.22) to the second; the zone only where it is known."""
    if moment is None:
        return ""
    return moment.strftime("%Y%m%d%H%M%S") + moment.strftime("%z")[:5]


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
    by_segment = _since(report.receiver.version, (2, 7))
    for number, observation in enumerate(_observations(report), start=1):
        segments.append(("OBX", _obx(number, observation, report)))
        if observation.device and by_segment:
            segments.append(
                ("PRT", {2: "AD", 4: "EQUIP^Equipment^HL70912", 10: observation.device})
            )
    for name, fields in segments:
        yield name, {position: value for position, value in fields.items() if value}


def _parts(text: str, delimiter: str) -> str:
    """Escape a value whose own text may be structured; of its delimiters the last are dropped."""
    return delimiter.join(escape(part) for part in text.split(delimiter)).rstrip(delimiter)


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
        21: "ECG-AI-RESULT^ECG-GATEWAY" if _since(version, (2, 5)) else "",
    }


def _since(version: str, wanted: tuple[int, int]) -> bool:
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= wanted


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
    authority = _parts(patient.id_authority, "&")
    return f"{escape(patient.id)}^^^{authority}^{escape(patient.id_type) or 'PI'}"


def _pv1(encounter: Encounter) -> dict[int, str]:
    return {
        1: "1",
        2: escape(encounter.patient_class) or "U",
        3: _parts(encounter.location, "^"),
        7: _parts(encounter.attending, "^"),
        19: _parts(encounter.visit_number, "^"),
    }


def _obr(report: Report) -> dict[int, str]:
    return {
        1: "1",
        2: _parts(report.order.placer, "^"),
        3: f"{escape(report.filler)}^{escape(report.sender.application)}",
        4: "11524-6^EKG study^LN",
        7: timestamp(report.acquired_at),
        18: escape(report.order.accession),
        22: timestamp(report.made_at),
        24: "EC",
        25: "F",
    }


@dataclass(frozen=True, slots=True)
class _Observation:
    """One OBX: code and its text, type, value as ER7, unit, range, flag, status and device."""

    code: str
    kind: str
    value: str
    unit: str = ""
    limit: str = ""
    flag: str = ""
    status: str = "F"
    device: str = ""


def _observations(report: Report) -> list[_Observation]:
    score = report.score
    if score is None:
        found = [*_unscored(report.reason), _category(score)]
    else:
        device = _device(score)
        found = [replace(seen, device=device) for seen in (_score(score), _category(score))]
    found.append(_coded("NOTICE^What to do", report.notice, _NOTICES[report.notice]))
    if report.electrodes:
        found.append(_text("ELECTRODES^Electrodes possibly interchanged", report.electrodes))
    if score is not None:
        found += [
            _text("MODEL^Model", score.model),
            _text("VERSION^Model version", score.version),
            _text("BUNDLE^Model bundle SHA-256", score.bundle),
        ]
    found.append(_text("POLICY^Site configuration version", str(report.policy_version)))
    if report.study_uid:
        found.append(_Observation("113014^DICOM Study^DCM", "ST", escape(report.study_uid)))
    if report.sop_uid:
        found.append(_text("SOP^DICOM SOP Instance UID", report.sop_uid))
    return [*found, *_document(report)]


_NOTICES = {
    "alert": "Alert: someone should look now",
    "file": "File only",
    "late": "File only: positive, older than the alert deadline",
}


def _local(code: str) -> str:
    return f"ECGAI-{code}^{CODES}"


def _text(code: str, value: str) -> _Observation:
    return _Observation(_local(code), "ST", escape(value))


def _coded(code: str, value: str, text: str) -> _Observation:
    return _Observation(_local(code), "CWE", f"{escape(value)}^{text}^{CODES}")


def _score(score: Score) -> _Observation:
    flag = "H" if score.positive else "N"
    limit = f"<{score.threshold:g}"
    return _Observation(
        _local("SCORE^Model score"), "NM", f"{score.probability:.6f}", "1", limit, flag
    )


def _document(report: Report) -> list[_Observation]:
    """Give the result PDF as encapsulated data (ED, 2A.24) or as a pointer to it (RP, 2A.65).

    It stands last: what is short is read before a receiver that cuts messages loses anything.
    """
    code = _local("PDF^Result with ECG and maps")
    if report.pdf:
        content = base64.b64encode(report.pdf).decode("ascii")
        return [_Observation(code, "ED", f"^application^pdf^Base64^{content}")]
    if report.pdf_url:
        pointer = f"{escape(report.pdf_url)}^{escape(report.sender.application)}^application^pdf"
        return [_Observation(code, "RP", pointer)]
    return []


def _device(score: Score) -> str:
    """Name what made the score, as EI (7.4.2.18): the bundle; plain OBX tell model and version."""
    return f"{escape(score.bundle)}^{CODES}"


def _unscored(reason: str) -> list[_Observation]:
    """Say that the score cannot be obtained (`X`, table 0085; OBX-5 is then empty) and why."""
    missing = _Observation(_local("SCORE^Model score"), "NM", "", "1", status="X")
    return [missing, _text("UNSCORABLE^Why there is no score", reason)]


def _category(score: Score | None) -> _Observation:
    if score is None:
        return _coded(
            "CATEGORY^Category", "unscorable", "Not scored: neither positive nor negative"
        )
    if score.positive:
        return _coded("CATEGORY^Category", "positive", "At or above the threshold")
    return _coded("CATEGORY^Category", "negative", "Below the threshold")


def _obx(number: int, observation: _Observation, report: Report) -> dict[int, str]:
    kind = observation.kind
    if kind == "CWE" and not _since(report.receiver.version, (2, 5)):
        kind = "CE"  # CWE came into table 0125 later; CE has the same first three components
    return {
        1: str(number),
        2: kind,
        3: observation.code,
        4: "1",
        5: observation.value,
        6: observation.unit,
        7: observation.limit,
        8: observation.flag,
        11: observation.status,
        14: timestamp(report.acquired_at),
        18: observation.device if _has_device_field(report.receiver.version) else "",
    }


def _has_device_field(version: str) -> bool:
    """OBX-18 came with 2.4; from 2.7 on PRT-10 after the OBX takes its place (2.7, 7.4.2.18)."""
    return _since(version, (2, 4)) and not _since(version, (2, 7))
