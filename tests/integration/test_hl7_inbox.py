"""The inbox on a real store: kept first, taken once, told the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.hl7 import PDF, PNG, adt, at_noon, inbox_on, msh, obx, oru, pid, wire

from gateway.ecg import State
from gateway.errors import NotStorable, OutOfResources, StoreUnavailable
from gateway.hl7.inbox import CONFLICT, Inbox
from gateway.hl7.peers import Peer
from gateway.hl7.reading import read
from gateway.intake import Intake
from gateway.store import open_store

HERE = "127.0.0.1"


@pytest.fixture
def inbox(store):
    return inbox_on(store)


def ack(handled):
    (answer,) = handled.answers
    return read(answer)


def test_an_ecg_is_durable_when_it_is_acknowledged(inbox, store):
    """AA: the raw message and the ECG are blobs, both rows are there, and they name each other."""
    handled = inbox.handle(oru("C1"), HERE)
    assert ack(handled).get("MSA-1") == "AA"
    (receipt,) = handled.receipts
    row = store.ecgs.get(receipt.ecg_id)
    assert (row.state, row.identity) == (State.RECEIVED, "hl7:CART|WARD|C1|1")
    assert store.blobs.get(row.digest) == PNG
    (message,) = store.messages.of_ecg(receipt.ecg_id)
    assert (message.direction, message.peer, message.outcome) == ("in", "CART^WARD", "AA")
    assert store.blobs.get(message.digest) == oru("C1")


def test_what_the_database_refuses_for_ever_is_answered_ae(inbox, store, monkeypatch):
    """The sender is not asked to try again; the message is kept with that answer."""

    def refuse(*_):
        raise NotStorable("database: DataError")

    monkeypatch.setattr(store.ecgs, "add", refuse)
    handled = inbox.handle(oru("C1"), HERE)
    assert (ack(handled).get("MSA-1"), handled.receipts) == ("AE", ())
    assert [message.outcome for message in store.messages.recent(10)] == ["AE"]


def test_a_repeated_message_is_answered_alike_and_taken_once(inbox, store):
    """A sender that lost our answer sends again: AA, no second ECG, nobody woken."""
    first = inbox.handle(oru("C1"), HERE)
    again = inbox.handle(oru("C1"), HERE)
    assert (first.code, again.code) == ("AA", "AA")
    assert again.receipts == ()
    assert len(store.ecgs.recent(10)) == 1
    assert len(store.messages.recent(10)) == 1


def test_the_same_control_id_of_another_sender_is_another_message(inbox, store):
    """Duplicates are told by sender, facility and MSH-10 together."""
    inbox.handle(oru("C1"), HERE)
    inbox.handle(oru("C1", sender="CART2|WARD"), HERE)
    assert len(store.ecgs.recent(10)) == 2


def test_a_control_id_with_another_body_is_flagged_and_quarantined(inbox, store):
    """The second ECG is kept for a person, never scored and never mixed up with the first."""
    inbox.handle(oru("C1"), HERE)
    handled = inbox.handle(oru("C1", PDF, "PDF"), HERE)
    assert handled.code == "AA"
    (receipt,) = handled.receipts
    assert receipt.state is State.QUARANTINED
    assert store.messages.of_ecg(receipt.ecg_id)[0].outcome == CONFLICT


def test_the_same_ecg_under_another_patient_is_refused(inbox, store):
    """A known MSH-10 that now names another patient is told AE; the first patient's ECG stays."""
    inbox.handle(oru("C1"), HERE)
    handled = inbox.handle(oru("C1").replace(b"P100", b"P666"), HERE)
    assert ack(handled).get("MSA-1") == "AE"
    assert ack(handled).get("ERR-3.1") == "205"
    (row,) = store.ecgs.recent(10)
    assert row.patient.id == "P100"
    assert store.messages.recent(1)[0].outcome == CONFLICT


def test_a_message_and_what_it_carries_are_one_commit(inbox, store):
    """An ECG or an admission costs one wait for the disk, with its message."""
    commits = []
    sa.event.listen(store._db.engine, "commit", commits.append)
    assert inbox.handle(oru("C1"), HERE).code == "AA"
    assert len(commits) == 1
    assert inbox.handle(adt("A1"), HERE).code == "AA"
    assert len(commits) == 2


KILLED = """
import sys
from pathlib import Path
from support.hl7 import inbox_on, oru
from gateway.store import open_store

store = open_store(sys.argv[1], Path(sys.argv[2]))
inbox_on(store).handle(oru("C1"), "127.0.0.1")
store.close()
"""


@pytest.mark.parametrize(("name", "rows"), [("intake.after_blob", 0), ("intake.after_commit", 1)])
def test_killed_in_the_middle_the_sender_may_send_again(tmp_path, name, rows):
    """A kill -9 leaves the ECG and its message, or neither; the repeat ends as one of each."""
    url, blobs = f"sqlite:///{tmp_path / 'x.sqlite3'}", tmp_path / "blobs"
    line = [sys.executable, "-c", KILLED, url, str(blobs)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "ECG_GATEWAY_FAILPOINT": f"{name}:{tmp_path / 'marker'}",
    }
    assert subprocess.run(line, env=environment, check=False).returncode == -signal.SIGKILL
    store = open_store(url, blobs)
    assert (len(store.ecgs.recent(9)), len(store.messages.recent(9))) == (rows, rows)
    assert subprocess.run(line, env=environment, check=False).returncode == 0
    assert (len(store.ecgs.recent(9)), len(store.messages.recent(9))) == (1, 1)
    store.close()


def test_a_crash_before_the_commit_is_healed_by_the_repeat(store):
    """When the row of the message cannot be written nothing is there; the repeat is AA."""

    class Dies(Exception):
        pass

    class Store:
        """The store, dying once where the row of the message is to be written."""

        def __init__(self, real):
            self.real, self.messages, self.dead = real, self, False

        def __getattr__(self, name):
            return getattr(self.real, name)

        def seen(self, *args):
            return self.real.messages.seen(*args)

        def add(self, *args):
            if not self.dead:
                self.dead = True
                raise Dies
            return self.real.messages.add(*args)

    inbox = Inbox(Store(store), Intake(store, lambda _: None), lambda: (Peer("any"),), at_noon)
    assert inbox.handle(oru("C1"), HERE).code == "AR"
    assert store.ecgs.recent(10) == []
    assert inbox.handle(oru("C1"), HERE).code == "AA"
    assert len(store.ecgs.recent(10)) == 1
    assert len(store.messages.recent(10)) == 1


def test_a_test_admission_moves_no_live_patient(inbox, store):
    """MSH-11 `T` is acknowledged and kept, not filed."""
    assert inbox.handle(adt("A1", processing="T"), HERE).code == "AA"
    assert store.encounters.at("P100", "HOSP", at_noon()) is None


@pytest.mark.parametrize(
    ("raw", "code", "condition"),
    [
        (b"garbage", "AE", "102"),
        (b"", "AE", "102"),
        (wire(msh(charset="ASCII"), "PID|1||P1||") + b"\xff", "AE", "102"),
        (oru("C1", b"not a picture"), "AE", "100"),
        (wire(msh(), pid(), "OBX|1|ED|||^^PDF^Base64^%%"), "AE", "102"),
        (wire(msh(), pid()), "AE", "100"),
        (wire(msh("ADT^A01"), "PID|1"), "AE", "100"),
        (oru(""), "AE", "101"),
        (wire(msh("SIU^S12")), "AR", "200"),
        (wire(msh("ADT^A05")), "AR", "201"),
        (oru(processing="Q"), "AR", "202"),
        (oru(version="9"), "AR", "203"),
    ],
)
def test_what_cannot_be_taken_is_told_why_and_kept(inbox, store, raw, code, condition):
    """Content errors are AE, types and versions AR; the raw message is there for a person."""
    answer = ack(inbox.handle(raw, HERE))
    assert answer.get("MSA-1") == code
    assert answer.get("ERR-3.1") == condition
    assert answer.get("ERR-8")
    (message,) = store.messages.recent(10)
    assert message.outcome == code
    assert store.blobs.get(message.digest) == raw
    assert store.ecgs.recent(10) == []


def test_one_bad_ecg_in_a_message_takes_none_of_it(inbox, store):
    """All or nothing: AE leaves no half of a message behind."""
    raw = wire(msh(), pid(), obx(PDF, "PDF"), obx(b"junk", "PDF"))
    assert inbox.handle(raw, HERE).code == "AE"
    assert store.ecgs.recent(10) == []


def test_a_refused_message_may_be_repaired_and_sent_again(inbox, store):
    """An AE is not remembered against the control id when the same id comes with good bytes."""
    assert inbox.handle(oru("C1", b"junk"), HERE).code == "AE"
    assert inbox.handle(oru("C1"), HERE).code == "AA"
    assert store.ecgs.recent(1)[0].state is State.RECEIVED


@pytest.mark.parametrize(
    "error", [StoreUnavailable("disk"), OutOfResources("full"), ValueError("x")]
)
@pytest.mark.parametrize("place", ["blobs", "row", "encounter", "ecg"])
def test_trouble_of_our_own_is_never_an_acceptance(store, error, place):
    """Whatever fails and wherever: AR, and CR in enhanced mode, so that the sender keeps it."""

    class Broken:
        def __getattr__(self, _):
            raise error

        def accept(self, _):
            raise error

    class Half:
        blobs = Broken() if place == "blobs" else store.blobs
        messages = Broken() if place == "row" else store.messages
        encounters = Broken() if place == "encounter" else store.encounters
        refusals, ecgs, together = store.refusals, store.ecgs, store.together

    door = Broken() if place == "ecg" else Intake(store, lambda _: None)
    inbox = Inbox(Half(), door, lambda: (Peer("any"),), at_noon)
    make = adt if place == "encounter" else oru
    assert ack(inbox.handle(make("C1"), HERE)).get("MSA-1") == "AR"
    assert ack(inbox.handle(make("C2", accept="AL"), HERE)).get("MSA-1") == "CR"


@pytest.mark.parametrize(
    ("peers", "taken"),
    [
        ((), False),
        ((Peer("a", "CART", "WARD"),), True),
        ((Peer("a", "CART"),), True),
        ((Peer("a", "OTHER"),), False),
        ((Peer("a", "CART", "OTHER"),), False),
        ((Peer("a", "CART", "WARD", ("127.0.0.0/8",)),), True),
        ((Peer("a", "CART", "WARD", ("10.0.0.0/8",)),), False),
        ((Peer("a", "OTHER", "", ("127.0.0.0/8",)), Peer("b", "CART", "", ("10.0.0.0/8",))), False),
    ],
)
def test_only_a_configured_sender_is_taken(store, peers, taken):
    """Sender, facility and address are bound together; a stranger's message is not kept."""
    handled = inbox_on(store, peers).handle(oru(), HERE)
    assert handled.code == ("AA" if taken else "AR")
    assert len(store.messages.recent(10)) == taken
    if not taken:
        (refusal,) = store.refusals.recent(10)
        assert (refusal.protocol, refusal.peer, refusal.address) == ("hl7", "CART^WARD", HERE)
        assert refusal.reason == "unknown-sender"


def test_a_sender_with_a_wrong_character_set_is_read_by_the_sites_word(store):
    """The site says Latin-1; the message says nothing."""
    raw = oru().replace(b"DOE", b"M\xfcller")
    assert inbox_on(store).handle(raw, HERE).code == "AE"
    peer = replace(Peer("a", "CART"), charset="8859/1")
    assert inbox_on(store, (peer,)).handle(raw, HERE).code == "AA"
    assert store.ecgs.recent(1)[0].patient.family == "Müller"


def test_nothing_of_a_patient_is_logged_or_told(inbox, capfd):
    """Logs and error texts name positions and codes, not people."""
    inbox.handle(oru("C1", b"junk"), HERE)
    answer = inbox.handle(oru("C2").replace(b"DOE", b"D\xd6E"), HERE).answers[0]
    inbox.handle(oru("C3"), HERE)
    inbox.handle(oru("C3").replace(b"P100", b"P200"), HERE)
    captured = capfd.readouterr()
    for text in (captured.out, captured.err, answer.decode("latin-1")):
        assert not any(secret in text for secret in ("DOE", "JANE", "P100", "P200", "19500102"))
