"""`queue`, `resend` and `rescore`: what is held is seen and has a way out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.arrivals import PATIENT, SCORE, delivery, take
from support.cli import invoke

from config.documents import document_of, parse_site
from gateway.cli import held
from gateway.ecg import DeliveryState, State
from gateway.store import Outcome, Store
from gateway.store.engine import utc_now

SITE = '[[destinations]]\nname = "EHR"\nhost = "127.0.0.1"\nport = 9\ntest = true\n'


@pytest.fixture
def store(store: Store) -> Store:
    """A store with one destination in force."""
    document = document_of(parse_site(SITE, "test"))
    store.site.save(document, who="t", note="", expected=0)
    return store


@pytest.fixture
def command(tmp_path: Path, store: Store):
    def run(*line: object, status: int = 0) -> str:
        return invoke(*line, "--data", tmp_path, status=status)

    return run


def outcome(store: Store, identity: str, state: State, reason: str, *told: str) -> str:
    """Take an ECG to an outcome that these destinations are told of."""
    ecg_id = take(store, identity).ecg_id
    assert store.ecgs.claim(ecg_id, "w", 60)
    new = [delivery(f"{identity}-{name}", name, kind=state.value) for name in told]
    score = SCORE if state is State.SCORED else None
    assert store.ecgs.finish(ecg_id, "w", Outcome(state, reason, score=score), new)
    return ecg_id


def dead(store: Store, ecg_id: str) -> int:
    """Give up the only delivery of an ECG."""
    [row] = store.deliveries.of_ecg(ecg_id)
    assert store.deliveries.give_up([row.id], "destination-removed") == 1
    return row.id


def test_queue_shows_what_is_held_and_nobody_s_name(store: Store, command):
    """States with counts, held ECGs with reason and age, dead letters with their number."""
    failed = outcome(store, "1", State.FAILED, "worker-died")
    number = dead(store, outcome(store, "2", State.SCORED, "", "lab"))
    conflict = take(store, "1", content=b"other").ecg_id
    text = command("queue")
    for part in (failed, "worker-died", conflict, "conflict", "lab", "destination-removed"):
        assert part in text
    [line] = [line for line in text.splitlines() if "destination-removed" in line]
    assert line.split()[0] == str(number)
    assert any(line.split() == ["failed", "1"] for line in text.splitlines())
    for phi in (PATIENT.id, PATIENT.family, PATIENT.birth_date):
        assert phi
        assert phi not in text


def test_age_is_in_the_largest_unit():
    """A person sees at a glance what is old."""
    now = utc_now()
    ages = [held._age(now, now - timedelta(seconds=s)) for s in (-5, 59, 60, 7200, 200000)]
    assert ages == ["0 s", "59 s", "1 min", "2 h", "2 d"]


def test_resend_queues_again_what_has_a_destination(store: Store, command):
    """By number or all; what the site has no destination for is told and stays."""
    ehr = dead(store, outcome(store, "1", State.SCORED, "", "EHR"))
    gone = dead(store, outcome(store, "2", State.SCORED, "", "lab"))
    assert f"delivery {ehr} to EHR waits again" in command("resend", ehr)
    assert store.deliveries.get(ehr).state is DeliveryState.PENDING
    assert "it is pending, neither" in command("resend", ehr, status=1)
    store.deliveries.give_up([ehr], "x")
    text = command("resend", "--all", status=1)
    assert f"delivery {ehr} to EHR waits again" in text
    assert f"delivery {gone} is not resent: the site sends nothing to lab" in text
    assert store.deliveries.get(gone).state is DeliveryState.DEAD


def test_dismissed_is_off_the_list_and_can_be_taken_back(store: Store, command):
    """A conflict that a person has looked at and a result filed by hand no longer wait for one."""
    take(store, "same")
    conflict = take(store, "same", content=b"other bytes").ecg_id
    refused = outcome(store, "2", State.SCORED, "", "EHR")
    dead(store, refused)
    text = command("dismiss", conflict, refused)
    assert f"ECG {conflict} and its dead letters are off the list" in text
    assert (store.ecgs.get(conflict).state, store.ecgs.get(conflict).reason) == (
        State.DISMISSED,
        "conflict",
    )
    assert store.ecgs.get(refused).state is State.DISMISSED
    assert store.deliveries.of_ecg(refused)[0].state is DeliveryState.DISMISSED
    assert store.deliveries.dead_letters(10) == []
    assert store.ecgs.events(conflict)[-1].what == "dismissed"
    assert f"of ECG {refused} nothing is held" in command("dismiss", refused, status=1)
    assert "use --force" in command("rescore", conflict, status=1)
    command("rescore", conflict, "--force")
    assert store.ecgs.get(conflict).state is State.RECEIVED


def test_resend_waits_for_a_mode_that_sends(store: Store, command):
    """What mode off withheld would be withheld again, so it is said and stays."""
    held = dead(store, outcome(store, "1", State.SCORED, "", "EHR"))
    off = document_of(parse_site(SITE + '[model]\nmode = "off"\n', "test"))
    store.site.save(off, who="t", note="", expected=None)
    text = command("resend", held, status=1)
    assert f"delivery {held} is not resent: the site sends nothing to EHR" in text
    assert store.deliveries.get(held).state is DeliveryState.DEAD


def test_resend_of_nothing_or_of_the_unknown(store: Store, command):
    """Wrong use is 2; an unknown number touches none of the others."""
    ehr = dead(store, outcome(store, "1", State.SCORED, "", "EHR"))
    command("resend", status=2)
    command("resend", ehr, "--all", status=2)
    assert "there is no delivery 99" in command("resend", ehr, 99, status=1)
    assert store.deliveries.get(ehr).state is DeliveryState.DEAD


def test_rescore_puts_held_ecgs_back_and_says_who(store: Store, command, monkeypatch):
    """Failed, unscorable and mismatched ones are received again with fresh attempts."""
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    held_ones = [
        outcome(store, "1", State.FAILED, "worker-died"),
        outcome(store, "2", State.UNSCORABLE, "no-grid"),
        outcome(store, "3", State.QUARANTINED, "patient-mismatch-sex"),
    ]
    command("rescore", *held_ones)
    for ecg_id in held_ones:
        row = store.ecgs.get(ecg_id)
        assert (row.state, row.reason, row.attempts) == (State.RECEIVED, "", 0)
        assert store.ecgs.events(ecg_id)[-1].what == "rescore"
        assert store.ecgs.claim(ecg_id, "w", 60)
    assert store.ecgs.events(held_ones[0])[-2].detail == "by anna, was failed: worker-died"


def test_rescore_leaves_conflicts_and_what_is_not_held(store: Store, command):
    """A conflict needs --force; a scored ECG is never scored again; unknown ones are told."""
    scored = outcome(store, "1", State.SCORED, "")
    conflict = take(store, "1", content=b"other").ecg_id
    text = command("rescore", conflict, scored, "nosuch", status=1)
    assert f"ECG {conflict} is not rescored: it is quarantined as conflict" in text
    assert f"ECG {scored} is not rescored: it is scored" in text
    assert "there is no ECG nosuch" in text
    assert store.ecgs.get(conflict).state is State.QUARANTINED
    command("rescore", conflict, "--force")
    assert store.ecgs.get(conflict).state is State.RECEIVED


def test_a_rescored_ecg_tells_nobody_the_same_thing_twice(store: Store, command):
    """A second `unscorable` is not sent again; a score is news and goes out."""
    ecg_id = outcome(store, "1", State.UNSCORABLE, "no-grid", "EHR")
    command("rescore", ecg_id)
    outcome(store, "1", State.UNSCORABLE, "no-grid", "EHR")
    assert len(store.deliveries.of_ecg(ecg_id)) == 1
    assert "unscorable told before" in [event.what for event in store.ecgs.events(ecg_id)]
    command("rescore", ecg_id)
    store.ecgs.claim(ecg_id, "w", 60)
    store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=SCORE), [delivery("N", "EHR")])
    assert [row.control_id for row in store.deliveries.of_ecg(ecg_id)] == ["1-EHR", "N"]
