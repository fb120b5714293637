"""A live alert waits until ADT has told of its patient, and not a moment longer (promise 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.arrivals import take
from support.hl7 import adt, inbox_on
from support.scorers import FakeScorer, Scored

from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite
from gateway.ecg import Patient, State
from gateway.hl7.oru import Sender
from gateway.policy import Mode
from gateway.scoring import Terms, score_one
from gateway.store import EcgRow, Store

NOW = datetime.now(UTC)
JANE = Patient("P100", "HOSP", "MR", "DOE", "JANE", "Q", "19500102", "F")
EHR = Destination("ehr", "127.0.0.1", 1)
LIVE = ResultSite(1, Mode.LIVE, Sender("ECG-GATEWAY", "HOSPITAL"), (EHR,), 3600.0)
HERE = "127.0.0.1"
POSITIVE = Scored(probability=0.9, validated=True)


class Interrupted(FakeScorer):
    """Does something before it answers."""

    def __init__(self, answer: Scored, meanwhile: Callable[[], object]) -> None:
        super().__init__(answer)
        self._meanwhile = meanwhile

    def score(self, content: bytes, media_type: str) -> Scored:
        self._meanwhile()
        return super().score(content, media_type)


def score(
    store: Store, ecg_id: str, site: ResultSite = LIVE, model: FakeScorer | None = None
) -> EcgRow:
    score_one(
        ecg_id,
        store=store,
        scorer=model or FakeScorer(POSITIVE),
        site=Terms(site, validated=True),
        owner="w",
        lease_s=60,
        now=lambda: NOW,
    )
    return store.ecgs.get(ecg_id)


def arrive(store: Store, patient: Patient = JANE, taken_at: datetime = NOW) -> str:
    return take(store, patient=patient, acquired_at=taken_at).ecg_id


def told(store: Store, ecg_id: str) -> list[str]:
    return [row.kind for row in store.deliveries.of_ecg(ecg_id)]


def test_an_alert_waits_for_adt_and_then_goes_out(store: Store):
    """Unknown: quarantined with its score and told to nobody. ADT speaks: alerted, once."""
    ecg_id = arrive(store)
    row = score(store, ecg_id)
    assert (row.state, row.reason) == (State.QUARANTINED, "patient-unknown")
    assert row.score is not None
    assert row.score.positive
    assert told(store, ecg_id) == []
    assert inbox_on(store).handle(adt(), HERE).code == "AA"
    assert store.ecgs.get(ecg_id).state is State.RECEIVED
    assert score(store, ecg_id).state is State.SCORED
    assert told(store, ecg_id) == ["alert"]


def test_adt_that_contradicts_keeps_it_held(store: Store):
    """Once ADT knows the identifier under another name, the quarantine says so."""
    ecg_id = arrive(store, replace(JANE, family="ROE"))
    score(store, ecg_id)
    inbox_on(store).handle(adt(), HERE)
    row = score(store, ecg_id)
    assert (row.state, row.reason) == (State.QUARANTINED, "patient-mismatch-family")
    inbox_on(store).handle(adt("A2", "A08").replace(b"DOE", b"ROE"), HERE)
    assert score(store, ecg_id).state is State.SCORED


def test_adt_of_another_patient_releases_nobody(store: Store):
    """Only word of that very identifier brings an ECG back."""
    ecg_id = arrive(store, replace(JANE, id="P101"))
    score(store, ecg_id)
    inbox_on(store).handle(adt(), HERE)
    assert store.ecgs.get(ecg_id).state is State.QUARANTINED


def test_a_conflict_is_not_released_by_adt(store: Store):
    """Which bytes are the ECG's is no question that ADT answers."""
    arrive(store)
    second = take(store, patient=JANE, content=b"other bytes").ecg_id
    inbox_on(store).handle(adt(), HERE)
    assert store.ecgs.get(second).reason == "conflict"


def test_adt_that_comes_while_the_ecg_is_scored_is_not_missed(store: Store):
    """The worker asked before ADT spoke and finished after: it looks again."""
    ecg_id = arrive(store)
    meanwhile = Interrupted(POSITIVE, lambda: inbox_on(store).handle(adt(), HERE))
    assert score(store, ecg_id, model=meanwhile).state is State.RECEIVED
    assert score(store, ecg_id).state is State.SCORED


@pytest.mark.parametrize(
    ("site", "scored", "age"),
    [
        (LIVE, replace(POSITIVE, probability=0.1), timedelta(0)),
        (LIVE, POSITIVE, timedelta(hours=2)),
        (replace(LIVE, mode=Mode.CANARY), POSITIVE, timedelta(0)),
        (LIVE, replace(POSITIVE, validated=False), timedelta(0)),
        (replace(LIVE, require_admission=False), POSITIVE, timedelta(0)),
    ],
    ids=["negative", "late", "canary", "unvalidated", "not required"],
)
def test_what_is_no_live_alert_does_not_wait(
    store: Store, site: ResultSite, scored: Scored, age: timedelta
):
    """Only what would interrupt somebody needs a second witness of who the patient is."""
    ecg_id = arrive(store, taken_at=NOW - age)
    assert score(store, ecg_id, site, FakeScorer(scored)).state is State.SCORED


def test_nobody_is_alerted_of_nobody(store: Store):
    """Without an identifier there is no patient to alert on, whatever the site requires."""
    ecg_id = arrive(store, replace(JANE, id=""))
    row = score(store, ecg_id, replace(LIVE, require_admission=False))
    assert (row.state, row.reason) == (State.QUARANTINED, "patient-unknown")
