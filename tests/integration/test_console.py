"""The console over a real store: pages, images, health, metrics, and what it must not do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support import arrivals
from support.ehr import site

from gateway import readiness
from gateway.console.app import create_app
from gateway.ecg import Arrival, MediaType, Patient, Source, State
from gateway.store import NewDelivery, Outcome, Store, open_store

SCORE = replace(arrivals.SCORE, probability=0.8123)


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    """A client of the console, under a host name that it allows."""
    with TestClient(
        create_app(store, site=site, version="9.9"), base_url="http://127.0.0.1"
    ) as client:
        yield client


@pytest.fixture
def ecg_id(store: Store) -> str:
    """One scored ECG with a message in and a delivery out."""
    arrival = Arrival(
        identity="dicom:1.2.3",
        content=b"DICM",
        media_type=MediaType.DICOM,
        source=Source(protocol="dicom", peer="CART_1", address="127.0.0.1"),
        patient=Patient(id="P-77", family="<b>Muster", given="Anna"),
    )
    receipt = store.ecgs.add(arrival, store.blobs.put(arrival.content))
    oru = store.blobs.put(b"MSH|^~\\&|GW\rPID|1||P-77\rOBX|1|ED|x||" + b"A" * 900)
    assert store.ecgs.claim(receipt.ecg_id, "me", 60)
    outcome = Outcome(state=State.SCORED, score=SCORE)
    delivery = NewDelivery("EHR", "alert", "MSG1", "F1", oru, alert=True)
    assert store.ecgs.finish(receipt.ecg_id, "me", outcome, [delivery])
    store.messages.add("in", "CART^ED", "IN1", oru, "AA", receipt.ecg_id)
    return receipt.ecg_id


def test_empty_console_says_what_to_do(client: TestClient) -> None:
    """Before the first ECG each page answers and the list says what to do next."""
    assert "No ECG has come in yet" in client.get("/").text
    assert "Nothing has been sent yet" in client.get("/queues").text
    assert "Nobody has been refused" in client.get("/refusals").text


def test_list_shows_score_and_no_name(client: TestClient, ecg_id: str) -> None:
    """The list shows state, score and category, and nothing that names the patient."""
    text = client.get("/").text
    assert "0.812" in text
    assert ecg_id in text
    assert "positive" in text
    assert "Muster" not in text
    assert "P-77" not in text


def test_list_filters_by_state(client: TestClient, ecg_id: str) -> None:
    """A state filter shows only the ECGs in that state; an unknown state is a clear error."""
    assert ecg_id in client.get("/?state=scored").text
    assert ecg_id not in client.get("/?state=failed").text
    assert client.get("/?state=nonsense").status_code == 422


def test_page_of_one_ecg(client: TestClient, ecg_id: str) -> None:
    """One ECG's page shows patient, messages in and out and timeline, all escaped."""
    text = client.get(f"/ecgs/{ecg_id}").text
    assert f'hx-get="/ecgs/{ecg_id}/pictures"' in text
    assert "&lt;b&gt;Muster, Anna" in text
    assert "not validated at this site" in text
    assert "alert to" in text
    assert "CART^ED" in text
    assert "A" * 400 not in text
    for what in ("received", "scoring", "scored"):
        assert f"<b>{what}</b>" in text


def test_page_warns_of_electrodes_that_seem_interchanged(
    client: TestClient, store: Store, ecg_id: str
) -> None:
    """Beside the score of that ECG, and of no other."""
    swapped = arrivals.take(store, "dicom:9").ecg_id
    store.ecgs.claim(swapped, "me", 60)
    scored = Outcome(State.SCORED, score=SCORE, guard={"electrodes": "RA-LA"})
    store.ecgs.finish(swapped, "me", scored, [])
    text = client.get(f"/ecgs/{swapped}").text
    assert "Possible interchange of electrodes RA-LA" in text
    assert "0.812" in text
    assert "interchange" not in client.get(f"/ecgs/{ecg_id}").text


def test_page_of_a_refused_ecg_says_how_far_it_was(client: TestClient, store: Store) -> None:
    """Each number that the guard measured, with its bound; the others were not measured."""
    ecg_id = arrivals.take(store).ecg_id
    store.ecgs.claim(ecg_id, "me", 60)
    measured = {"distance": 7.1234, "bound": 5.498, "embedding": "not measured"}
    refused = Outcome(State.UNSCORABLE, "out-of-domain", guard=measured)
    store.ecgs.finish(ecg_id, "me", refused, [])
    text = client.get(f"/ecgs/{ecg_id}").text
    assert "distance of the input 7.123 (up to 5.498)" in text
    assert "distance of its features not measured" in text


def test_page_of_an_ecg_that_the_guard_never_saw_has_no_empty_row(
    client: TestClient, store: Store
) -> None:
    """Refused before: only what kind of source it was is recorded, which is no measure."""
    ecg_id = arrivals.take(store).ecg_id
    store.ecgs.claim(ecg_id, "me", 60)
    refused = Outcome(State.UNSCORABLE, "contradictory-leads", guard={"source": "waveform"})
    store.ecgs.finish(ecg_id, "me", refused, [])
    text = client.get(f"/ecgs/{ecg_id}").text
    assert "contradictory-leads" in text
    assert "Input domain" not in text


def test_an_unknown_ecg_is_not_found(client: TestClient) -> None:
    """Neither its page nor its pictures."""
    assert client.get("/ecgs/unknown").status_code == 404
    assert client.get("/ecgs/unknown/pictures").status_code == 404


def test_queues_and_refusals(client: TestClient, store: Store, ecg_id: str) -> None:
    """Queues count per destination; a refusal shows who and why, and how often in one row."""
    for _ in range(37):
        store.refusals.add("dicom", "STRANGER", "10.0.0.9", "calling AE title not recognised")
    assert "EHR" in client.get("/queues").text
    text = client.get("/refusals").text
    assert text.count("STRANGER") == 1
    assert "<td>37</td>" in text
    assert "calling AE title not recognised" in text


def test_health_and_metrics(client: TestClient, ecg_id: str) -> None:
    """Health answers, metrics count by state, and neither carries PHI."""
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json()["status"] == "ok"
    text = client.get("/metrics").text
    assert 'ecg_gateway_ecgs{state="scored"} 1.0' in text
    assert 'ecg_gateway_deliveries{destination="EHR",state="pending"} 1.0' in text
    assert "Muster" not in text


def test_ready_is_degraded_while_something_waits_for_a_person(
    client: TestClient, store: Store
) -> None:
    """A quarantined ECG is told to no EHR, so health, which operations watch, tells of it."""
    ecg_id = arrivals.take(store).ecg_id
    assert client.get("/health/ready").json() == {
        "status": "ok",
        "store": "ok",
        "disk": "ok",
        "held": {"quarantined": 0, "failed": 0, "dead_letters": 0},
        "overdue": {"ecgs": 0, "deliveries": 0},
        "not_as_configured": {},
    }
    assert store.ecgs.claim(ecg_id, "w", 60)
    refused = [arrivals.delivery("C1"), arrivals.delivery("C2", "lab")]
    store.ecgs.finish(ecg_id, "w", Outcome(State.FAILED, "worker-died"), refused)
    arrivals.take(store, content=b"other bytes")
    row = store.outbox.claim_next("ehr", "c", 60, datetime.now(UTC))
    assert row is not None
    store.outbox.reject(row.id, "c", "", "AE")
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["held"]) == (
        "degraded",
        {"quarantined": 1, "failed": 1, "dead_letters": 1},
    )


def test_ready_is_degraded_while_results_reach_nobody(tmp_path: Path) -> None:
    """An EHR that is away for over a minute shows, although every result will still be sent."""
    time = [datetime.now(UTC)]
    store = open_store(f"sqlite:///{tmp_path / 'x.sqlite3'}", tmp_path / "b", now=lambda: time[0])
    scored, waiting = (arrivals.take(store, name).ecg_id for name in "ab")
    assert store.ecgs.claim(scored, "w", 60)
    told = [arrivals.delivery("C1"), arrivals.delivery("C2", "lab")]
    store.ecgs.finish(scored, "w", Outcome(State.SCORED, score=SCORE), told)
    with TestClient(create_app(store, site=site), base_url="http://127.0.0.1") as client:
        assert client.get("/health/ready").json()["status"] == "ok"
        time[0] += timedelta(seconds=61)
        answer = client.get("/health/ready").json()
        assert answer["overdue"] == {"ecgs": 1, "deliveries": 2}
        assert answer["status"] == "degraded"
        assert "ecg_gateway_overdue_deliveries 2.0" in client.get("/metrics").text
    assert store.ecgs.get(waiting).state is State.RECEIVED
    store.close()


def test_ready_is_degraded_while_a_process_does_not_work_as_configured(
    store: Store, tmp_path: Path
) -> None:
    """What a worker left in `run/work-1.why`: the bundle that is wanted, and the one in use."""
    app = create_app(store, site=site, troubles=lambda: readiness.troubles(tmp_path))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        readiness.explain(tmp_path, "work-1", "'B' cannot be used; 'A' goes on")
        told = client.get("/health/ready").json()
        assert (told["status"], told["not_as_configured"]) == (
            "degraded",
            {"work-1": "'B' cannot be used; 'A' goes on"},
        )
        readiness.explain(tmp_path, "work-1", "")
        assert client.get("/health/ready").json()["status"] == "ok"


def test_a_disk_at_its_reserve_is_told_before_it_is_full(tmp_path: Path) -> None:
    """Health is degraded and the metrics say how much is free and how much has to stay so."""
    url = f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    full = open_store(url, tmp_path / "blobs", disk_reserve_mb=10**9)
    with TestClient(create_app(full, site=site), base_url="http://127.0.0.1") as client:
        told = client.get("/health/ready").json()
        assert (told["status"], told["disk"]) == ("degraded", "reserve reached")
        lines = client.get("/metrics").text.splitlines()
        samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    full.close()
    assert float(samples["ecg_gateway_disk_reserve_bytes"]) == 1e15
    assert 0 < float(samples["ecg_gateway_disk_free_bytes"]) < 1e15


def test_ready_fails_without_the_store(store: Store, tmp_path: Path) -> None:
    """When the database is gone, ready answers 503 and live still answers."""
    with TestClient(create_app(store, site=site), base_url="http://127.0.0.1") as client:
        store.close()
        for file in tmp_path.glob("gateway.sqlite3*"):
            file.unlink()
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200


def test_foreign_host_name_is_refused(store: Store) -> None:
    """A request under another host name (DNS rebinding) gets nothing."""
    with TestClient(create_app(store, site=site), base_url="http://evil.example") as client:
        assert client.get("/").status_code == 400


def test_security_headers(client: TestClient) -> None:
    """Pages may load from this origin only and are not cached."""
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
