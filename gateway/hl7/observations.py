"""What a result observes, one OBX each: score, category, notice, model, document (HL7 v2 7.4.2)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.ecg import Score
from gateway.hl7.writing import escape, since, timestamp

if TYPE_CHECKING:  # `oru` says with these what a report observes
    from gateway.hl7.oru import Report

CODES = "99ECGAI"
"""Our local coding system; `docs/results.md` lists its codes."""

_NOTICES = {
    "alert": "Alert: someone should look now",
    "file": "File only",
    "late": "File only: positive, older than the alert deadline",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """One OBX: code and its text, type, value as ER7, unit, range, flag, status and device."""

    code: str
    kind: str
    value: str
    unit: str = ""
    limit: str = ""
    flag: str = ""
    status: str = "F"
    device: str = ""


def observations(report: Report) -> list[Observation]:
    """Give what a report observes, in the order of its OBX."""
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
        found.append(Observation("113014^DICOM Study^DCM", "ST", escape(report.study_uid)))
    if report.sop_uid:
        found.append(_text("SOP^DICOM SOP Instance UID", report.sop_uid))
    return [*found, *_document(report)]


def obx(number: int, observation: Observation, report: Report) -> dict[int, str]:
    """Give the fields of one OBX by position, as ER7; `number` is OBX-1."""
    kind = observation.kind
    if kind == "CWE" and not since(report.receiver.version, (2, 5)):
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
    return since(version, (2, 4)) and not since(version, (2, 7))


def _local(code: str) -> str:
    return f"ECGAI-{code}^{CODES}"


def _text(code: str, value: str) -> Observation:
    return Observation(_local(code), "ST", escape(value))


def _coded(code: str, value: str, text: str) -> Observation:
    return Observation(_local(code), "CWE", f"{escape(value)}^{text}^{CODES}")


def _score(score: Score) -> Observation:
    flag = "H" if score.positive else "N"
    limit = f"<{score.threshold:g}"
    return Observation(
        _local("SCORE^Model score"), "NM", f"{score.probability:.6f}", "1", limit, flag
    )


def _document(report: Report) -> list[Observation]:
    """Give the result PDF as encapsulated data (ED, 2A.24) or as a pointer to it (RP, 2A.65).

    It stands last: what is short is read before a receiver that cuts messages loses anything.
    """
    code = _local("PDF^Result with ECG and maps")
    if report.pdf:
        content = base64.b64encode(report.pdf).decode("ascii")
        return [Observation(code, "ED", f"^application^pdf^Base64^{content}")]
    if report.pdf_url:
        pointer = f"{escape(report.pdf_url)}^{escape(report.sender.application)}^application^pdf"
        return [Observation(code, "RP", pointer)]
    return []


def _device(score: Score) -> str:
    """Name what made the score, as EI (7.4.2.18): the bundle; plain OBX tell model and version."""
    return f"{escape(score.bundle)}^{CODES}"


def _unscored(reason: str) -> list[Observation]:
    """Say that the score cannot be obtained (`X`, table 0085; OBX-5 is then empty) and why."""
    missing = Observation(_local("SCORE^Model score"), "NM", "", "1", status="X")
    return [missing, _text("UNSCORABLE^Why there is no score", reason)]


def _category(score: Score | None) -> Observation:
    if score is None:
        return _coded(
            "CATEGORY^Category", "unscorable", "Not scored: neither positive nor negative"
        )
    if score.positive:
        return _coded("CATEGORY^Category", "positive", "At or above the threshold")
    return _coded("CATEGORY^Category", "negative", "Below the threshold")
