"""The frozen values that the store takes and gives; one per kind of row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.ecg import (
    DeliveryState,
    Encounter,
    MediaType,
    Name,
    Order,
    Patient,
    Score,
    Source,
    State,
)


def patient_of(stored: Mapping[str, Any]) -> Patient:
    """Give the patient that is kept as JSON; older rows have one name only."""
    names = tuple(Name(**name) for name in stored.get("also_named", ()))
    return Patient(**{**stored, "also_named": names})


@dataclass(frozen=True, slots=True)
class EcgRow:
    """One ECG and what is known of it.

    Attributes:
        id: our identifier, 32 hex digits, time-ordered, no PHI.
        identity: what the sender calls it (see `gateway.ecg.Arrival.identity`).
        digest: SHA-256 of the original bytes, the name of their blob.
        media_type: what the original bytes are.
        state, reason: where it is in its life, and a stable code that says why.
        received_at, state_at: UTC; when it was accepted, when it came into this state.
        source, patient, order: as the source named them.
        encounter: the ADT visit at ECG time; None when none is known (yet).
        acquired_at: acquisition time; naive when the source gave no zone.
        study_uid, sop_uid, sop_class: DICOM UIDs, empty for other sources.
        attempts: how often a worker claimed it.
        lease_owner, lease_until: who holds it while `scoring`, and until when (UTC).
        score: what the model said; None before and for unscorable ones.
        images: name to blob digest: `panel` and `input`, PNG; `result`, a PDF, where it was sent.
        guard: what the input-domain guard measured, of scored and refused ones; see
            `inference.score.Scored`.
    """

    id: str
    identity: str
    digest: str
    media_type: MediaType
    state: State
    reason: str
    received_at: datetime
    state_at: datetime
    source: Source
    patient: Patient
    order: Order
    encounter: Encounter | None = None
    acquired_at: datetime | None = None
    study_uid: str = ""
    sop_uid: str = ""
    sop_class: str = ""
    attempts: int = 0
    lease_owner: str = ""
    lease_until: datetime | None = None
    score: Score | None = None
    images: dict[str, str] = field(default_factory=dict)
    guard: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scoring attempt.

    Attributes:
        state: `scored`, `unscorable`, `quarantined` or `failed`.
        reason: a stable code for every state but `scored`.
        score, images, guard: see `EcgRow`.
        encounter: the ADT visit at ECG time; None leaves the row's own.
        compared: what the timeline says of the comparison with ADT, without PHI; mostly empty.
    """

    state: State
    reason: str = ""
    score: Score | None = None
    images: dict[str, str] = field(default_factory=dict)
    guard: dict[str, Any] = field(default_factory=dict)
    encounter: Encounter | None = None
    compared: str = ""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One message for one destination, to be created with an outcome.

    Attributes:
        destination: name of the destination in the site configuration.
        kind: what is told, e.g. `alert`, `result` or `unscorable`.
        control_id: MSH-10; the same at every attempt.
        filler: OBR-3; the same at every attempt.
        payload: blob digest of the message bytes, built once.
        alert: it is meant to interrupt somebody.
        patient_key: hash that groups the deliveries of a patient, for order; empty = no order.
        expires_at: UTC; after it an alert is late and is not sent as one. None = never.
    """

    destination: str
    kind: str
    control_id: str
    filler: str
    payload: str
    alert: bool = False
    patient_key: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery and where it is; see `NewDelivery` for what it says.

    Attributes:
        id: number of the delivery; a greater one was created later.
        ecg_id: whose result it is.
        state: where it is.
        attempts: how often the courier claimed it, this time included.
        next_attempt_at: UTC; not before.
        last_error: class name or code of the last failure, no PHI.
        ack_digest: blob digest of the acknowledgement, empty before.
        created_at, sent_at, acknowledged_at: UTC.
    """

    id: int
    ecg_id: str
    destination: str
    kind: str
    control_id: str
    filler: str
    payload: str
    alert: bool
    patient_key: str
    expires_at: datetime | None
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime
    last_error: str
    ack_digest: str
    created_at: datetime
    sent_at: datetime | None
    acknowledged_at: datetime | None
    lease_owner: str = ""
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One step in the life of an ECG: when, what, and a detail without PHI."""

    at: datetime
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One HL7 message in or out.

    Attributes:
        direction: `in` or `out`.
        peer: sender `application^facility`, or the destination's name.
        control_id: MSH-10. digest, answer_digest: blobs of the message and of its answer.
        outcome: acknowledgement code given or received, or an error code.
        ecg_id: the ECG it carried or told of, None when there is none.
    """

    id: int
    at: datetime
    direction: str
    peer: str
    control_id: str
    digest: str
    outcome: str
    ecg_id: str | None
    answer_digest: str | None


@dataclass(frozen=True, slots=True)
class EncounterRow:
    """What ADT said of a patient's visit at a time; `ended` when there was none (any more)."""

    patient_id: str
    authority: str
    at: datetime
    encounter: Encounter
    patient: Patient
    ended: bool = False


@dataclass(frozen=True, slots=True)
class SiteVersion:
    """One version of the site configuration; `document` is JSON, validated elsewhere."""

    version: int
    document: dict[str, Any]
    who: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """Who was refused, when and why.

    Attributes:
        at, first_at: UTC; the last and the first time. times: how often.
        protocol: `dicom` or `hl7`.
        peer: calling AE title, or MSH-3^MSH-4. address: network address.
        reason: a stable code.
    """

    at: datetime
    protocol: str
    peer: str
    address: str
    reason: str
    first_at: datetime
    times: int
