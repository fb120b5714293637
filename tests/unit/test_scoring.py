"""One ECG in the worker: every way in which it can end."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.arrivals import PATIENT, take
from support.scorers import EVIDENCE, FakeScorer, Scored
from support.stores import lose

from gateway.delivery.destination import Destination
from gateway.delivery.prepare import RESULT_PDF, ResultSite, prepare_late
from gateway.ecg import DeliveryState, Encounter, State
from gateway.errors import NotStorable, OutOfResources, StoreUnavailable
from gateway.hl7.oru import Sender
from gateway.hl7.reading import read
from gateway.policy import Mode
from gateway.scoring import Terms, score_one
from gateway.store import EcgRow, Outcome, Store, open_store
from inference.errors import Undecodable, Unscorable
from inference.render import grey_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PDF = b"%PDF-1.4 of a test"


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The time of the store stands still."""
    return lambda: NOW


def terms(mode: Mode = Mode.SHADOW, threshold: float | None = None, **changes: Any) -> Terms:
    """Give a site with one test destination."""
    ehr = Destination("ehr", "127.0.0.1", 1, test=True)
    site = ResultSite(1, mode, Sender("ECG-GATEWAY", "HOSPITAL"), (ehr,), 3600.0, **changes)
    return Terms(site, threshold)


def score(store: Store, ecg_id: str, answer: Scored | Exception, **options: Any) -> FakeScorer:
    """Score one ECG with a model that answers so."""
    scorer = FakeScorer(answer)
    values = {"site": terms(), "owner": "w", "lease_s": 60, "now": lambda: NOW, **options}
    score_one(ecg_id, store=store, scorer=scorer, **values)
    return scorer


def test_scored_and_told(store: Store):
    """Score and delivery are kept, and the courier is woken once."""
    woken: list[int] = []
    ecg_id = take(store).ecg_id
    scorer = score(store, ecg_id, Scored(), wake_couriers=lambda: woken.append(1))
    row = store.ecgs.get(ecg_id)
    assert scorer.asked == [(b"an ecg", "application/dicom")]
    assert (row.state, row.reason) == (State.SCORED, "")
    assert row.score is not None
    assert (row.score.probability, row.score.positive, row.score.threshold) == (0.6, True, 0.5)
    assert row.guard == {"ink": 0.1}
    (told,) = store.deliveries.of_ecg(ecg_id)
    assert (told.destination, told.kind, told.alert) == ("ehr", "alert", True)
    assert b"ORU^R01" in store.blobs.get(told.payload)
    assert woken == [1]


def test_evidence_comes_back_as_it_was(store: Store):
    """What was judged is kept as PNG, pixel for pixel, and nothing else is."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored())
    images = store.ecgs.get(ecg_id).images
    assert images.keys() == EVIDENCE.keys()
    for name, digest in images.items():
        assert np.array_equal(grey_of(store.blobs.get(digest)), EVIDENCE[name])


def test_evidence_is_committed_with_the_score(store: Store):
    """When the courier is woken, nothing of the score is still to be written."""
    seen: list[dict[str, str]] = []
    ecg_id = take(store).ecg_id

    def woken() -> None:
        seen.append(store.ecgs.get(ecg_id).images)

    score(store, ecg_id, Scored(), wake_couriers=woken)
    assert seen == [store.ecgs.get(ecg_id).images]
    assert seen[0]


def test_electrodes_that_seem_interchanged_are_told_beside_the_score(store: Store):
    """In an observation of its own: the alert goes out all the same, and so would its late form."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored(guard={"electrodes": "RA-LA"}))
    (told,) = store.deliveries.of_ecg(ecg_id)
    assert told.alert
    late = prepare_late(
        store.ecgs.get(ecg_id),
        "ehr",
        terms().results,
        keep=store.blobs.put,
        now=NOW + timedelta(hours=2),
    )
    assert late is not None
    for payload in (told.payload, late.payload):
        message = read(store.blobs.get(payload))
        observed = {obx.get("3.1"): obx.get("5") for obx in message.all("OBX")}
        assert observed["ECGAI-ELECTRODES"] == "RA-LA"
        assert observed["ECGAI-SCORE"] == "0.600000"


def test_site_threshold_decides(store: Store):
    """The site's threshold replaces the bundle's, and is what the score says was applied."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored(), site=terms(threshold=0.7))
    told = store.ecgs.get(ecg_id).score
    assert told is not None
    assert (told.positive, told.threshold) == (False, 0.7)
    assert store.deliveries.of_ecg(ecg_id)[0].kind == "result"


def test_a_source_that_is_not_live_limits_the_site(store: Store):
    """In a live site the ECG of a cart in mode off is scored, kept and told to nobody."""
    site = terms(Mode.LIVE, limit=lambda source: Mode.OFF if source.peer == "CART1" else Mode.LIVE)
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored(), site=site)
    assert store.ecgs.get(ecg_id).state is State.SCORED
    assert store.deliveries.of_ecg(ecg_id) == []


def test_the_site_completes_what_the_source_left_out(store: Store):
    """Issuer and time zone that the source did not name are the site's, also against ADT."""
    other = type(PATIENT)(id="P1", id_authority="ELSEWHERE", family="Other")
    store.encounters.put("P1", "ELSEWHERE", Encounter("V1"), NOW, other)
    store.encounters.put("P1", "HOSP", Encounter("V2"), NOW - timedelta(hours=1), PATIENT)
    site = terms(authority="HOSP", zone=ZoneInfo("America/New_York"))
    ecg_id = take(store, acquired_at=datetime(2026, 3, 1, 6, 45)).ecg_id
    score(store, ecg_id, Scored(), site=site)
    (told,) = store.deliveries.of_ecg(ecg_id)
    message = store.blobs.get(told.payload)
    assert b"|P1^^^HOSP^PI|" in message
    assert b"|20260301064500-0500|" in message
    assert told.expires_at == datetime(2026, 3, 1, 12, 45, tzinfo=UTC)
    assert store.ecgs.get(ecg_id).encounter == Encounter("V2")
    assert store.ecgs.get(ecg_id).patient == PATIENT


def test_with_nobody_to_tell_it_stays_scored(store: Store):
    """Mode off: the score is kept, nothing is sent and no courier is woken."""
    woken: list[int] = []
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored(), site=terms(Mode.OFF), wake_couriers=lambda: woken.append(1))
    assert store.ecgs.get(ecg_id).state is State.SCORED
    assert store.deliveries.of_ecg(ecg_id) == []
    assert store.ecgs.events(ecg_id)[-1].what == "nobody told"
    assert woken == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unscorable("no-grid", "no grid was found"), "no-grid"),
        (Undecodable("not a file"), "undecodable"),
    ],
)
def test_unscorable_is_told_as_such(store: Store, error: Exception, reason: str):
    """An ECG that must not be judged has its own result, which is not a score."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, error)
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason, row.score) == (State.UNSCORABLE, reason, None)
    (told,) = store.deliveries.of_ecg(ecg_id)
    assert (told.kind, told.alert) == ("unscorable", False)


def test_what_the_guard_measured_of_a_refused_ecg_is_kept(store: Store):
    """How far it was from the training inputs, and how far it might have been."""
    measured = {"leads": 12, "distance": 7.1, "bound": 5.5, "embedding": "not measured"}
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Unscorable("out-of-domain", "too far", measured))
    row = store.ecgs.get(ecg_id)
    assert (row.reason, row.guard) == ("out-of-domain", measured)


def test_unscorable_is_not_told_where_the_site_says_so(store: Store):
    """The site may keep unscorable ones to itself."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Unscorable("blank", "x"), site=terms(unscorable_results=False))
    assert store.ecgs.get(ecg_id).state is State.UNSCORABLE
    assert store.deliveries.of_ecg(ecg_id) == []


def test_another_patient_in_adt_quarantines(store: Store):
    """Header and ADT disagree: nothing is scored, nothing is told, the reason names the field."""
    other = type(PATIENT)(id="P1", family="Other", birth_date="19500101")
    store.encounters.put("P1", "", Encounter("V1"), NOW, other)
    ecg_id = take(store).ecg_id
    scorer = score(store, ecg_id, Scored())
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason) == (State.QUARANTINED, "patient-mismatch-family")
    assert scorer.asked == []
    assert store.deliveries.of_ecg(ecg_id) == []
    assert store.ecgs.events(ecg_id)[-1].what == "nobody told"


def test_a_merged_patient_is_told_under_the_identifier_that_is_left(store: Store):
    """The cart still knows the old identifier, which the EHR must never see again."""
    store.encounters.put("P1", "", Encounter("V77"), NOW, PATIENT)
    store.encounters.merge("P1", "", "P9", "HOSP")
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored())
    (told,) = store.deliveries.of_ecg(ecg_id)
    message = read(store.blobs.get(told.payload))
    named = [message.get(path) for path in ("PID-3.1", "PID-3.4", "PID-5.1", "PV1-19")]
    assert named == ["P9", "HOSP", "Test", "V77"]
    assert store.ecgs.get(ecg_id).patient == PATIENT


def test_visit_goes_with_the_result(store: Store):
    """The visit of ECG time is kept on the row and said in PV1-19."""
    store.encounters.put("P1", "", Encounter("V77", "E", "ED"), NOW, PATIENT)
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored())
    assert store.ecgs.get(ecg_id).encounter == Encounter("V77", "E", "ED")
    assert b"V77" in store.blobs.get(store.deliveries.of_ecg(ecg_id)[0].payload)


def test_an_error_is_tried_again_and_then_held(store: Store):
    """Any other error releases the ECG; after the last attempt it is failed, by class name."""
    ecg_id = take(store).ecg_id
    secret = ValueError("Anna Test, born 1950")
    for attempt in (1, 2):
        with capture_logs() as logs:
            score(store, ecg_id, secret)
        assert [event["event"] for event in logs if event.get("exc_info")] == ["scoring failed"]
        row = store.ecgs.get(ecg_id)
        assert (row.state, row.attempts) == (State.RECEIVED, attempt)
    score(store, ecg_id, secret)
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason) == (State.FAILED, "ValueError")
    assert "Anna" not in str(store.ecgs.events(ecg_id))
    assert failure_told(store, ecg_id) == "ValueError"


def failure_told(store: Store, ecg_id: str) -> str:
    """Give the reason in the one message that says that there is no score."""
    (told,) = store.deliveries.of_ecg(ecg_id)
    assert (told.destination, told.kind, told.alert) == ("ehr", "unscored", False)
    message = read(store.blobs.get(told.payload))
    observed = {obx.get("3.1"): obx for obx in message.all("OBX")}
    assert (observed["ECGAI-SCORE"].get("5"), observed["ECGAI-SCORE"].get("11")) == ("", "X")
    assert observed["ECGAI-CATEGORY"].get("5.1") == "unscorable"
    return observed["ECGAI-UNSCORABLE"].get("5")


def test_an_ecg_that_kills_its_workers_is_held(store: Store):
    """After as many dead workers as attempts are allowed nobody tries again, and it is told."""
    woken: list[int] = []
    ecg_id = take(store).ecg_id
    kill_workers(store, ecg_id)
    scorer = score(store, ecg_id, Scored(), wake_couriers=lambda: woken.append(1))
    assert scorer.asked == []
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason) == (State.FAILED, "worker-died")
    assert failure_told(store, ecg_id) == "worker-died"
    assert woken == [1]


def kill_workers(store: Store, ecg_id: str) -> None:
    """Let as many workers die of an ECG as attempts are allowed."""
    for _ in range(3):
        store.ecgs.claim(ecg_id, "dead", -1)


def test_a_failure_is_not_told_of_a_patient_in_doubt(store: Store):
    """What fails and does not agree with ADT is quarantined: no message names anybody."""
    other = type(PATIENT)(id="P1", family="Other")
    store.encounters.put("P1", "", Encounter("V1"), NOW, other)
    ecg_id = take(store).ecg_id
    kill_workers(store, ecg_id)
    score(store, ecg_id, Scored())
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason) == (State.QUARANTINED, "patient-mismatch-family")
    assert store.deliveries.of_ecg(ecg_id) == []


def test_a_failure_that_cannot_even_be_told_is_held(store: Store, monkeypatch: pytest.MonkeyPatch):
    """When building its message is what fails, the ECG ends as failed, known to nobody else."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError("Anna Test")

    monkeypatch.setattr("gateway.scoring.prepare", fail)
    ecg_id = take(store).ecg_id
    with capture_logs() as logs:
        for _ in range(3):
            score(store, ecg_id, Scored())
    assert "failure not told" in [event["event"] for event in logs if event.get("exc_info")]
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason) == (State.FAILED, "ValueError")
    assert store.ecgs.events(ecg_id)[-1].what == "nobody told"


def test_a_failed_ecg_that_is_scored_later_is_told_again(store: Store):
    """The failure and the score are two messages about one ECG, so neither hides the other."""
    ecg_id = take(store).ecg_id
    kill_workers(store, ecg_id)
    score(store, ecg_id, Scored())
    assert store.ecgs.rescore(ecg_id, "t")
    score(store, ecg_id, Scored())
    failure, alert = store.deliveries.of_ecg(ecg_id)
    assert (failure.kind, alert.kind) == ("unscored", "alert")
    assert failure.filler == alert.filler
    assert failure.control_id != alert.control_id


@pytest.mark.parametrize("error", [StoreUnavailable("x"), OutOfResources("x")])
def test_trouble_of_the_gateway_is_not_the_ecgs_fault(store: Store, error: Exception):
    """A full disk gives the ECG back without counting, however often it happens."""
    ecg_id = take(store).ecg_id
    for _ in range(5):
        with pytest.raises(type(error)):
            score(store, ecg_id, error)
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.attempts) == (State.RECEIVED, 0)


def test_an_outcome_that_cannot_be_written_is_not_the_ecgs_fault(store: Store):
    """A store that fails at the commit gives the ECG back without counting."""
    ecg_id = take(store).ecg_id

    def fail(*_: object) -> bool:
        raise StoreUnavailable("x")

    finish, store.ecgs.finish = store.ecgs.finish, fail  # type: ignore[method-assign]
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            score(store, ecg_id, Scored())
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.attempts) == (State.RECEIVED, 0)
    store.ecgs.finish = finish  # type: ignore[method-assign]
    score(store, ecg_id, Scored())
    assert store.ecgs.get(ecg_id).state is State.SCORED


def test_an_outcome_that_the_database_refuses_is_tried_again_and_then_failed(store: Store):
    """Such a refusal is no outage: it counts, and in the end destinations hear of the failure."""
    ecg_id = take(store).ecg_id
    finish = store.ecgs.finish

    def refuse(ecg: str, owner: str, outcome: Outcome, *rest: Any) -> bool:
        if outcome.state is State.SCORED:
            raise NotStorable("x")
        return finish(ecg, owner, outcome, *rest)

    store.ecgs.finish = refuse  # type: ignore[method-assign]
    woken: list[int] = []
    for attempt in (1, 2):
        score(store, ecg_id, Scored())
        row = store.ecgs.get(ecg_id)
        assert (row.state, row.attempts) == (State.RECEIVED, attempt)
    score(store, ecg_id, Scored(), wake_couriers=lambda: woken.append(1))
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason, row.score) == (State.FAILED, "NotStorable", None)
    assert failure_told(store, ecg_id) == "NotStorable"
    assert woken == [1]


def test_a_failure_that_the_database_refuses_too_is_held_untold(store: Store):
    """Nothing that could be refused is left in what is written then, so the ECG has an end."""
    ecg_id = take(store).ecg_id
    finish = store.ecgs.finish

    def refuse(ecg: str, owner: str, outcome: Outcome, deliveries: Any) -> bool:
        if deliveries:
            raise NotStorable("x")
        return finish(ecg, owner, outcome, deliveries)

    store.ecgs.finish = refuse  # type: ignore[method-assign]
    for _ in range(3):
        score(store, ecg_id, Scored())
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.reason) == (State.FAILED, "NotStorable")
    assert store.ecgs.events(ecg_id)[-1].what == "nobody told"


def test_an_ecg_whose_bytes_are_lost_is_held(store: Store):
    """A blob that is gone is shown to a person at once, instead of being looked for for ever."""
    receipt = take(store)
    lose(store, store.ecgs.get(receipt.ecg_id).digest)
    score(store, receipt.ecg_id, Scored())
    row = store.ecgs.get(receipt.ecg_id)
    assert (row.state, row.reason) == (State.FAILED, "original-lost")
    assert failure_told(store, receipt.ecg_id) == "original-lost"


def embedding(*, url: str = "", **destinations: dict[str, Any]) -> Terms:
    """A site of destinations with these settings of the result PDF; it is drawn as `PDF`."""
    there = tuple(
        Destination(name, "127.0.0.1", 1, test=True, **values)
        for name, values in destinations.items()
    )
    sender = Sender("ECG-GATEWAY", "HOSPITAL")
    site = ResultSite(1, Mode.SHADOW, sender, there, 3600.0, console_url=url)
    return Terms(site, draw=lambda _ecg, _scored: PDF)


def documents(store: Store, ecg_id: str) -> dict[str, tuple[str, bytes]]:
    """Give what each destination got of the PDF: OBX-2 and its content, or its address."""
    found = {}
    for told in store.deliveries.of_ecg(ecg_id):
        seen = {obx.get("3.1"): obx for obx in read(store.blobs.get(told.payload)).all("OBX")}
        obx = seen.get("ECGAI-PDF")
        if obx and obx.get("2") == "ED":
            found[told.destination] = ("ED", base64.b64decode(obx.get("5.5")))
        elif obx:
            found[told.destination] = (obx.get("2"), obx.get("5.1").encode())
    return found


def test_who_asks_for_it_gets_the_result_pdf(store: Store):
    """Embedded, linked, or not at all, as each destination wants it; what was sent is kept."""
    ecg_id = take(store).ecg_id
    site = embedding(
        url="https://ecg.example", ehr={"pdf": "embed"}, lab={"pdf": "link"}, old={"pdf": "none"}
    )
    score(store, ecg_id, Scored(), site=site)
    url = f"https://ecg.example/ecgs/{ecg_id}/result.pdf".encode()
    assert documents(store, ecg_id) == {"ehr": ("ED", PDF), "lab": ("RP", url)}
    row = store.ecgs.get(ecg_id)
    assert store.blobs.get(row.images[RESULT_PDF]) == PDF
    assert len(store.deliveries.of_ecg(ecg_id)) == 3


def test_the_result_pdf_is_drawn_of_the_row_that_is_committed(store: Store):
    """With score, encounter and guard; and only of a scored ECG that somebody wants it of."""
    drawn: list[EcgRow] = []
    site = embedding(ehr={"pdf": "embed"})
    site = replace(site, draw=lambda ecg, _scored: drawn.append(ecg) or PDF)
    store.encounters.put("P1", "", Encounter("V1"), NOW - timedelta(hours=1), PATIENT)
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored(), site=site)
    row = store.ecgs.get(ecg_id)
    assert [(ecg.id, ecg.score, ecg.encounter, ecg.guard) for ecg in drawn] == [
        (ecg_id, row.score, Encounter("V1"), row.guard)
    ]
    score(store, take(store, "dicom:2").ecg_id, Unscorable("no-grid", "none"), site=site)
    linking = replace(embedding(url="https://a", ehr={"pdf": "link"}), draw=site.draw)
    score(store, take(store, "dicom:3").ecg_id, Scored(), site=linking)
    assert len(drawn) == 1


def test_a_pdf_above_the_cap_is_linked_or_left_out(store: Store):
    """The result goes all the same, and the log says whose PDF did not."""
    big = b"%PDF" + bytes(3 * 1024)
    for number, url in enumerate(("https://ecg.example", "")):
        site = embedding(url=url, ehr={"pdf": "embed", "pdf_max_kb": 3}, lab={"pdf": "embed"})
        site = replace(site, draw=lambda _ecg, _scored: big)
        ecg_id = take(store, f"dicom:{number}").ecg_id
        with capture_logs() as logs:
            score(store, ecg_id, Scored(), site=site)
        found = documents(store, ecg_id)
        assert found.pop("lab") == ("ED", big)
        link = ("RP", f"{url}/ecgs/{ecg_id}/result.pdf".encode())
        assert found == ({"ehr": link} if url else {})
        (event,) = [each for each in logs if each["event"] == "pdf.not_embedded"]
        assert (event["destination"], event["size_kb"], event["most_kb"]) == ("ehr", 4, 3)
        assert event["linked"] is bool(url)
        assert len(store.deliveries.of_ecg(ecg_id)) == 2


def test_a_pdf_that_cannot_be_made_holds_no_alert_up(store: Store):
    """The alert goes without it in the same attempt, and the log says so."""

    def broken(_ecg: EcgRow, _scored: Any) -> bytes:
        raise RuntimeError("no such font")

    ecg_id = take(store).ecg_id
    with capture_logs() as logs:
        site = replace(embedding(ehr={"pdf": "embed"}), draw=broken)
        score(store, ecg_id, Scored(), site=site)
    (told,) = store.deliveries.of_ecg(ecg_id)
    assert told.alert
    assert documents(store, ecg_id) == {}
    assert store.ecgs.get(ecg_id).attempts == 1
    assert "pdf.not_made" in [each["event"] for each in logs if each.get("exc_info")]


def test_what_was_accepted_is_told_from_the_reserve(
    store: Store, database_url: str, tmp_path: Path
):
    """With the disk reserve reached, results still leave, and their evidence is kept."""
    ecg_id = take(store).ecg_id
    full = open_store(database_url, tmp_path / "blobs", disk_reserve_mb=10**9)
    score(full, ecg_id, Scored())
    full.close()
    row = store.ecgs.get(ecg_id)
    assert (row.state, row.images.keys()) == (State.SCORED, EVIDENCE.keys())
    assert len(store.deliveries.of_ecg(ecg_id)) == 1


def test_what_is_held_or_done_is_left_alone(store: Store):
    """A second wake-up for the same ECG scores nothing and tells nothing."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored())
    assert score(store, ecg_id, Scored()).asked == []
    assert len(store.deliveries.of_ecg(ecg_id)) == 1
    held = take(store, "dicom:held").ecg_id
    store.ecgs.claim(held, "other", 60)
    assert score(store, held, Scored()).asked == []
    assert score(store, "0" * 32, Scored()).asked == []


def test_a_worker_that_lost_its_lease_tells_nothing(store: Store):
    """While it scored, another took over: its outcome is dropped, the courier is not woken."""
    ecg_id = take(store).ecg_id
    woken: list[int] = []

    class Slow(FakeScorer):
        def score(self, content: bytes, media_type: str) -> Scored:
            store.ecgs.claim(ecg_id, "other", 60)
            return super().score(content, media_type)

    score_one(
        ecg_id,
        store=store,
        scorer=Slow(Scored()),
        site=terms(),
        owner="w",
        lease_s=-1,
        wake_couriers=lambda: woken.append(1),
        now=lambda: NOW,
    )
    assert store.ecgs.held() == [(ecg_id, "other")]
    assert store.deliveries.of_ecg(ecg_id) == []
    assert woken == []


def test_scoring_again_after_a_crash_says_the_same(store: Store):
    """MSH-10 and OBR-3 of a second try are those of the first, so nobody is alerted twice."""
    ecg_id = take(store).ecg_id
    score(store, ecg_id, Scored())
    (told,) = store.deliveries.of_ecg(ecg_id)
    assert told.state is DeliveryState.PENDING
    assert told.control_id.encode() in store.blobs.get(told.payload)
    assert told.filler == ecg_id
