"""What delivery tests share: a store on disk, results in it, EHRs with scripted manners."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite, Verdict, prepare
from gateway.demo.chart import Result
from gateway.demo.ehr import Manner
from gateway.ecg import Arrival, MediaType, Patient, Score, Source, State
from gateway.hl7.oru import Sender
from gateway.policy import Mode
from gateway.store import Outcome, Store
from support import arrivals

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCORE = replace(arrivals.SCORE, probability=0.91, threshold=0.57, version="0.1.0", bundle="ab" * 32)


def destination(port: int, name: str = "ehr", **changes) -> Destination:
    """A test destination on loopback that loses patience quickly."""
    values = {
        "connect_timeout_s": 2.0,
        "ack_timeout_s": 2.0,
        "retry_first_s": 0.02,
        "retry_max_s": 0.1,
        "test": True,
    }
    return Destination(name, "127.0.0.1", port, **(values | changes))


def site(*destinations: Destination, **changes) -> ResultSite:
    """A site in shadow mode whose alerts never turn stale within a test."""
    values = {
        "version": 3,
        "mode": Mode.SHADOW,
        "sender": Sender("ECG-GATEWAY", "HOSPITAL"),
        "destinations": destinations,
        "deadline_s": 3600.0,
    }
    return ResultSite(**(values | changes))


def add_result(
    store: Store,
    number: int,
    where: ResultSite,
    *,
    patient: str = "",
    score: Score | None = SCORE,
    validated: bool = False,
) -> str:
    """Take one ECG through arrival and scoring, so that its deliveries are queued."""
    content = f"ecg {number}".encode()
    arrival = Arrival(
        identity=f"dicom:1.2.{number}",
        content=content,
        media_type=MediaType.DICOM,
        source=Source("dicom", "CART"),
        patient=Patient(id=patient or f"P{number}", family="Doe", given="Jo"),
        acquired_at=datetime.now(UTC) - timedelta(seconds=5),
    )
    receipt = store.ecgs.add(arrival, store.blobs.put(content))
    row = store.ecgs.claim(receipt.ecg_id, "worker", 60.0)
    assert row is not None
    if score is not None:
        score = replace(score, validated=validated)
    verdict = Verdict(score, "" if score else "no-grid: no paper found", validated)
    state = State.SCORED if score else State.UNSCORABLE
    outcome = Outcome(state, verdict.reason, score)
    deliveries = prepare(row, verdict, None, where, keep=store.blobs.put, now=datetime.now(UTC))
    assert store.ecgs.finish(receipt.ecg_id, "worker", outcome, deliveries)
    return receipt.ecg_id


class Script:
    """Manners in order of arrival; once they are used up, the EHR behaves."""

    def __init__(self, manners: Iterable[Manner]) -> None:
        self._left = list(manners)

    def __call__(self, _result: Result) -> Manner:
        return self._left.pop(0) if self._left else Manner.ACCEPT
