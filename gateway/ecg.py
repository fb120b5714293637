"""The frozen values that travel through the gateway: who, what, when, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self


class State(StrEnum):
    """Where an ECG is in its life; each change is a committed row with a reason and a time."""

    RECEIVED = "received"
    SCORING = "scoring"
    SCORED = "scored"
    REPORTED = "reported"
    QUARANTINED = "quarantined"
    UNSCORABLE = "unscorable"
    FAILED = "failed"
    DISMISSED = "dismissed"


class DeliveryState(StrEnum):
    """Where one delivery (one result for one destination) is."""

    PENDING = "pending"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DEAD = "dead"
    DISMISSED = "dismissed"


class MediaType(StrEnum):
    """What the kept original bytes are."""

    DICOM = "application/dicom"
    PDF = "application/pdf"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    XML = "application/xml"


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a patient, as one source writes it in one script."""

    family: str = ""
    given: str = ""
    middle: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient as the source named them (DICOM PS3.3 C.7.1.1, HL7 PID).

    Attributes:
        id: PatientID or PID-3.1; empty when the source gave none.
        id_authority: issuer, PID-3.4.
        id_type: identifier type code, PID-3.5.
        family: family name. given: given name. middle: middle name or initial.
        birth_date: `YYYYMMDD` or empty. sex: `M`, `F`, `O`, `U` or empty.
        also_named: what else the source calls them, most often the same name in another script:
            further component groups of a PN (PS3.5 6.2.1), further repetitions of PID-5. Compared,
            never shown or sent.
    """

    id: str = ""
    id_authority: str = ""
    id_type: str = ""
    family: str = ""
    given: str = ""
    middle: str = ""
    birth_date: str = ""
    sex: str = ""
    also_named: tuple[Name, ...] = ()

    @property
    def names(self) -> tuple[Name, ...]:
        """All names, the one that is shown first."""
        return (Name(self.family, self.given, self.middle), *self.also_named)

    def named(self, names: Iterable[Name]) -> Self:
        """Give the patient under a source's names: the first that is filled in is shown.

        A further one without a family name (a nickname) names nobody by itself and is left out.
        """
        filled = [name for name in names if name != Name()]
        if not filled:
            return self
        shown, *others = filled
        return replace(
            self,
            family=shown.family,
            given=shown.given,
            middle=shown.middle,
            also_named=tuple(name for name in others if name.family),
        )


@dataclass(frozen=True, slots=True)
class Encounter:
    """A visit as ADT told it: PV1-2 class, PV1-3 location, PV1-19 visit number."""

    visit_number: str = ""
    patient_class: str = ""
    location: str = ""
    attending: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What the ECG was ordered as: ORC-2/OBR-2 placer, ORC-3/OBR-3 filler, accession number."""

    placer: str = ""
    filler: str = ""
    accession: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """How an ECG reached us.

    Attributes:
        protocol: `dicom`, `hl7`, `stow` or `folder`.
        peer: calling AE title, or `application^facility` (MSH-3^MSH-4).
        address: network address of the peer.
        test: the sender marked it as not live (HL7 MSH-11 `T` or `D`).
    """

    protocol: str
    peer: str = ""
    address: str = ""
    test: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """One ECG as a listener hands it to `gateway.intake.accept`.

    Attributes:
        identity: `dicom:<SOPInstanceUID>`, or `hl7:<MSH-3>|<MSH-4>|<MSH-10>|<n>` (n-th ECG OBX).
        content: the original bytes, a whole DICOM file (Part 10) or the decoded OBX payload.
        media_type: what `content` is.
        source: how it came.
        patient, order: as the source named them.
        acquired_at: acquisition time, naive when the source gave no zone; None when unknown.
        study_uid, sop_uid, sop_class: DICOM UIDs, empty for other sources.
    """

    identity: str
    content: bytes
    media_type: MediaType
    source: Source
    patient: Patient = field(default_factory=Patient)
    order: Order = field(default_factory=Order)
    acquired_at: datetime | None = None
    study_uid: str = ""
    sop_uid: str = ""
    sop_class: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `accept` promises: these bytes are durable.

    Attributes:
        ecg_id: our identifier; it carries no PHI and may appear in logs and URLs.
        new: False when the same identity with the same content was already here.
        state: the state that the ECG is in after acceptance.
    """

    ecg_id: str
    new: bool
    state: State


@dataclass(frozen=True, slots=True)
class Score:
    """What the model said of one ECG.

    Attributes:
        probability: 0 to 1, unitless; calibrated only if the bundle says so.
        threshold: the bundle's or the site's decision threshold that was applied.
        positive: probability >= threshold.
        model, version, bundle: model name, version and SHA-256 of the bundle.
        runtime: e.g. `openvino-int8`.
        validated: the bundle's card says that it is validated at this site.
        timings_ms: stage name to milliseconds.
    """

    probability: float
    threshold: float
    positive: bool
    model: str
    version: str
    bundle: str
    runtime: str
    validated: bool
    timings_ms: dict[str, float] = field(default_factory=dict)
