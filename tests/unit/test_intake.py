"""Intake: bytes, then row, then the peer's answer, then the wake-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.arrivals import arrival

from gateway.ecg import Arrival, Receipt, State
from gateway.errors import OutOfResources, StoreUnavailable
from gateway.intake import Intake
from gateway.store import Blob, open_store


class FakeStore:
    """Notes the order of what is asked of it; is its own blobs and ecgs."""

    def __init__(self, state: State = State.RECEIVED, fails: Exception | None = None) -> None:
        self.steps: list[object] = []
        self._state = state
        self._fails = fails

    @property
    def blobs(self) -> FakeStore:
        return self

    @property
    def ecgs(self) -> FakeStore:
        return self

    def stage(self, data: bytes) -> Blob:
        self.steps.append(("bytes", data))
        if isinstance(self._fails, OutOfResources):
            raise self._fails
        return Blob("digest", data)

    @contextmanager
    def together(self) -> Iterator[None]:
        self.steps.append("begin")
        yield
        self.steps.append("commit")

    def add(self, what: Arrival | Blob, digest: str = "") -> Receipt | str:
        if isinstance(what, Blob):
            self.steps.append(("blob", what.data))
            return what.digest
        if self._fails:
            raise self._fails
        self.steps.append(("row", what.identity, digest))
        return Receipt("id1", new=True, state=self._state)

    def wake(self, ecg_id: str) -> None:
        self.steps.append(("wake", ecg_id))


def test_bytes_before_row_before_wake():
    """Bytes and row are one commit, and nobody is woken until the caller says so."""
    store = FakeStore()
    intake = Intake(store, store.wake)
    receipt = intake.accept(arrival("dicom:1", b"bytes"))
    assert receipt.ecg_id == "id1"
    row = ("row", "dicom:1", "digest")
    assert store.steps == [("bytes", b"bytes"), "begin", ("blob", b"bytes"), row, "commit"]
    intake.wake(receipt)
    assert store.steps[-1] == ("wake", "id1")


@pytest.mark.parametrize("state", sorted(set(State) - {State.RECEIVED}))
def test_nobody_is_woken_for_what_needs_no_worker(state: State):
    """A duplicate that is done, a quarantined or a refused ECG wakes no worker."""
    store = FakeStore(state)
    intake = Intake(store, store.wake)
    intake.wake(intake.accept(arrival()))
    assert "wake" not in [step[0] for step in store.steps]


def test_a_waiting_duplicate_wakes_again():
    """A sender that asks again about an ECG that still waits speeds it up."""
    store = FakeStore()
    Intake(store, store.wake).wake(Receipt("id1", new=False, state=State.RECEIVED))
    assert store.steps == [("wake", "id1")]


def test_what_comes_together_is_one_commit():
    """Nothing slow happens while the transaction is open, and the caller's note is in it."""
    store = FakeStore()
    intake = Intake(store, store.wake)
    told: list[str] = []

    def note(receipts: Sequence[Receipt]) -> None:
        told.extend(receipt.ecg_id for receipt in receipts)
        store.steps.append("note")

    intake.accept_all([arrival("hl7:1", b"one"), arrival("hl7:2", b"two")], note)
    kinds = [step if isinstance(step, str) else step[0] for step in store.steps]
    assert kinds == ["bytes", "bytes", "begin", "blob", "row", "blob", "row", "note", "commit"]
    assert told == ["id1", "id1"]


@pytest.mark.parametrize("error", [OutOfResources("full"), StoreUnavailable("gone")])
def test_nothing_is_accepted_when_the_store_fails(error: Exception):
    """The listener hears the error instead of getting a receipt."""
    store = FakeStore(fails=error)
    with pytest.raises(type(error)):
        Intake(store, store.wake).accept(arrival())


KILLED = """
import sys
from pathlib import Path
from support.arrivals import arrival
from gateway.intake import Intake
from gateway.store import open_store

store = open_store(sys.argv[1], Path(sys.argv[2]))
intake = Intake(store, lambda ecg_id: None)
intake.wake(intake.accept(arrival("dicom:1", b"bytes")))
store.close()
"""


@pytest.mark.parametrize(
    ("name", "rows"),
    [("intake.after_blob", 0), ("intake.after_commit", 1), ("listener.after_answer", 1)],
)
def test_killed_in_the_middle_the_sender_may_ask_again(tmp_path: Path, name: str, rows: int):
    """After a kill -9 at each step the same arrival ends as exactly one ECG."""
    url, blobs = f"sqlite:///{tmp_path / 'x.sqlite3'}", tmp_path / "blobs"
    line = [sys.executable, "-c", KILLED, url, str(blobs)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "ECG_GATEWAY_FAILPOINT": f"{name}:{tmp_path / 'marker'}",
    }
    assert subprocess.run(line, env=environment, check=False).returncode == -signal.SIGKILL
    store = open_store(url, blobs)
    assert store.ecgs.count_by_state()[State.RECEIVED] == rows
    assert subprocess.run(line, env=environment, check=False).returncode == 0
    assert store.ecgs.count_by_state()[State.RECEIVED] == 1
    assert len(store.ecgs.unclaimed(0, 10)) == 1
    store.close()
