"""Arrivals, scores and deliveries to fill a store with."""

from __future__ import annotations

from typing import Any

from gateway.ecg import Arrival, MediaType, Patient, Receipt, Score, Source
from gateway.store import NewDelivery, Store

PATIENT = Patient(id="P1", family="Test", given="Anna", birth_date="19500101", sex="F")


def arrival(identity: str = "dicom:1.2.3", content: bytes = b"an ecg", **changes: Any) -> Arrival:
    """Give an arrival of a waveform over DICOM."""
    values: dict[str, Any] = {
        "media_type": MediaType.DICOM,
        "source": Source("dicom", peer="CART1", address="127.0.0.1"),
        "patient": PATIENT,
    }
    return Arrival(identity, content, **{**values, **changes})


def take(store: Store, identity: str = "dicom:1.2.3", **changes: Any) -> Receipt:
    """Put an arrival into the store, as intake does."""
    taken = arrival(identity, **changes)
    return store.ecgs.add(taken, store.blobs.put(taken.content))


def delivery(control_id: str, destination: str = "ehr", **changes: Any) -> NewDelivery:
    """Give a plain result for one destination."""
    values: dict[str, Any] = {
        "destination": destination,
        "kind": "result",
        "control_id": control_id,
        "filler": f"F-{control_id}",
        "payload": "0" * 64,
        "patient_key": "patient-1",
    }
    return NewDelivery(**{**values, **changes})


SCORE = Score(
    probability=0.75,
    threshold=0.5,
    positive=True,
    model="EIANet",
    version="0",
    bundle="0" * 64,
    runtime="openvino-int8",
    validated=False,
    timings_ms={"decode": 1.5},
)
