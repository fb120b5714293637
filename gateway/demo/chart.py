"""What the simulated EHR reads out of one ORU^R01; bytes in, a frozen value out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.hl7.attachments import attachment_from
from gateway.hl7.reading import Message, Segment, read
from gateway.hl7.times import parse_time


@dataclass(frozen=True, slots=True)
class Result:
    """One filed result.

    Attributes:
        control_id: MSH-10. filler: OBR-3.1. processing: MSH-11 (`P` live, `T` not).
        patient, patient_id, birth_date, sex: PID. location, visit: PV1.
        acquired_at, reported_at: OBR-7 and OBR-22.
        score: OBX `ECGAI-SCORE`; None when the ECG was not scored. limit: its OBX-7.
        category: `positive`, `negative` or `unscorable`. notice: `alert`, `file` or `late`.
        reason: why there is no score. model: name and version. statement: NTE-3.
        pdf: the result PDF that it brought; empty when it brought none.
        message: the whole message as it came.
    """

    control_id: str
    filler: str
    processing: str
    patient: str
    patient_id: str
    birth_date: str
    sex: str
    location: str
    visit: str
    acquired_at: datetime | None
    reported_at: datetime | None
    score: float | None
    limit: str
    category: str
    notice: str
    reason: str
    model: str
    statement: str
    pdf: bytes
    message: bytes

    @property
    def alert(self) -> bool:
        """Whether it is to be shown as an alert."""
        return self.notice == "alert" and self.category == "positive"


def parse_result(data: bytes) -> Result:
    """Read one ORU^R01.

    Raises:
        NotUnderstood: it is no HL7. ValueError: it is HL7, but no result of an ECG.
    """
    message = read(data)
    if (message.get("MSH-9.1"), message.get("MSH-9.2")) != ("ORU", "R01"):
        raise ValueError("not an ORU^R01")
    if not message.get("MSH-10") or not message.get("OBR-3.1"):
        raise ValueError("MSH-10 and OBR-3 are required")
    observed = {obx.get("3.1"): obx for obx in message.all("OBX")}
    score = observed.get("ECGAI-SCORE")
    value = _value(observed, "ECGAI-SCORE")
    model = (_value(observed, "ECGAI-MODEL"), _value(observed, "ECGAI-VERSION"))
    return Result(
        control_id=message.get("MSH-10"),
        filler=message.get("OBR-3.1"),
        processing=message.get("MSH-11.1"),
        **_person(message),
        acquired_at=parse_time(message.get("OBR-7.1")),
        reported_at=parse_time(message.get("OBR-22.1")),
        score=float(value) if value else None,
        limit=score.get("7") if score else "",
        category=_value(observed, "ECGAI-CATEGORY"),
        notice=_value(observed, "ECGAI-NOTICE"),
        reason=_value(observed, "ECGAI-UNSCORABLE"),
        model=" ".join(part for part in model if part),
        statement=message.get("NTE-3"),
        pdf=_pdf(observed),
        message=data,
    )


def _value(observed: dict[str, Segment], code: str) -> str:
    segment = observed.get(code)
    return segment.get("5.1") if segment else ""


def _pdf(observed: dict[str, Segment]) -> bytes:
    segment = observed.get("ECGAI-PDF")
    found = attachment_from(segment) if segment else None
    return found.content if found else b""


def _person(message: Message) -> dict[str, str]:
    names = (message.get("PID-5.1.1"), message.get("PID-5.2"), message.get("PID-5.3"))
    family, *given = [name for name in names if name] or [""]
    places = (message.get("PV1-3.1"), message.get("PV1-3.2"), message.get("PV1-3.3"))
    return {
        "patient": ", ".join(part for part in (family, " ".join(given)) if part),
        "patient_id": message.get("PID-3.1"),
        "birth_date": message.get("PID-7.1"),
        "sex": message.get("PID-8.1"),
        "location": " ".join(place for place in places if place),
        "visit": message.get("PV1-19.1"),
    }
