"""The sweeper wakes workers for what no one holds, and never floods the broker."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from structlog.testing import capture_logs

from gateway.dispatch.app import TASK, make_app
from gateway.dispatch.owners import is_dead, make_owner
from gateway.dispatch.sweeper import Sweeper
from gateway.errors import StoreUnavailable


class FakeEcgs:
    """ECGs that wait, and ECGs that are held."""

    def __init__(self, waiting: list[str], held: list[tuple[str, str]] | None = None) -> None:
        self.waiting = waiting
        self.holders = held or []
        self.asked: list[tuple[float, int]] = []

    def unclaimed(self, older_than_s: float, limit: int) -> list[str]:
        self.asked.append((older_than_s, limit))
        return self.waiting[:limit]

    def held(self) -> list[tuple[str, str]]:
        return self.holders

    def release(self, ecg_id: str, owner: str, why: str = "") -> bool:
        self.holders.remove((ecg_id, owner))
        self.waiting.append(ecg_id)
        return bool(why)


class FakeWakeups:
    """A broker with a backlog."""

    def __init__(self, backlog: int | None = 0) -> None:
        self.count = backlog
        self.woken: list[str] = []

    def score(self, ecg_id: str) -> None:
        self.woken.append(ecg_id)

    def backlog(self) -> int | None:
        return self.count


def sweeper(ecgs: FakeEcgs, wakeups: FakeWakeups, *dead: str) -> Sweeper:
    """Give a sweeper that sweeps every 5 s and knows these dead."""
    return Sweeper(ecgs, wakeups, lambda owner: owner in dead, 5.0)


def test_wakes_for_what_waits():
    """What waited longer than one period is woken for."""
    ecgs, wakeups = FakeEcgs(["a", "b"]), FakeWakeups()
    assert sweeper(ecgs, wakeups).sweep() == 2
    assert wakeups.woken == ["a", "b"]
    assert ecgs.asked == [(5.0, 100)]


def test_leaves_a_long_queue_alone() -> None:
    """As many wake-ups as waiting ECGs is a busy worker, not a loss; one more ECG is a loss."""
    ecgs = FakeEcgs(["a", "b"])
    assert sweeper(ecgs, FakeWakeups(2)).sweep() == 0
    assert sweeper(ecgs, FakeWakeups(1)).sweep() == 2


def test_does_not_flood_a_busy_broker():
    """Wake-ups that already wait in the broker count against what is sent."""
    ecgs, wakeups = FakeEcgs([str(number) for number in range(200)]), FakeWakeups(97)
    assert sweeper(ecgs, wakeups).sweep() == 3
    assert sweeper(ecgs, FakeWakeups(100)).sweep() == 0


def test_without_a_broker_nothing_is_sent():
    """A broker that is away gets no wake-ups now; the next sweep comes."""
    assert sweeper(FakeEcgs(["a"]), FakeWakeups(None)).sweep() == 0


def test_what_the_dead_held_is_taken_up_at_once():
    """The ECG of a killed worker waits neither for its lease nor for a period."""
    ecgs, wakeups = FakeEcgs([], [("a", "dead"), ("b", "alive")]), FakeWakeups()
    assert sweeper(ecgs, wakeups, "dead").sweep() == 1
    assert wakeups.woken == ["a"]
    assert ecgs.asked == [(0.0, 100)]
    assert ecgs.holders == [("b", "alive")]


def test_sweeping_goes_on_after_trouble():
    """An error of the store costs one sweep, not the sweeper."""
    stop = threading.Event()

    class Troubled(FakeEcgs):
        def held(self) -> list[tuple[str, str]]:
            if not self.asked:
                self.asked.append((0, 0))
                raise StoreUnavailable("gone")
            stop.set()
            return []

    wakeups = FakeWakeups()
    with capture_logs() as logs:
        Sweeper(Troubled(["a"]), wakeups, is_dead, 0.01).run(stop)
    assert wakeups.woken == ["a"]
    assert [event["event"] for event in logs if event.get("exc_info")] == ["sweep failed"]


def test_a_score_that_does_not_end_is_logged_with_its_place():
    """The task ends quietly, for the row is the truth; the log says where it went wrong."""

    def fails(_ecg_id: str) -> None:
        raise ZeroDivisionError

    app = make_app("memory://", fails)
    with capture_logs() as logs:
        app.tasks[TASK]("an ecg")
    assert [event["event"] for event in logs if event.get("exc_info")] == ["scoring did not end"]


def test_this_process_lives():
    """A living process is not dead, also under the longer names of its threads."""
    owner = make_owner("work-1")
    assert owner.startswith("work-1@")
    assert not is_dead(owner)
    assert not is_dead(f"{owner}:ehr")


def test_an_ended_process_is_dead():
    """A process that ended is known to be dead from its name alone."""
    line = "from gateway.dispatch.owners import make_owner; print(make_owner('work-1'))"
    made = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    owner = made.stdout.strip()
    assert is_dead(owner)
    assert is_dead(f"{owner}:ehr")


def test_a_reused_process_id_does_not_bring_back_the_dead():
    """The same process id with another start time is somebody else."""
    head, _, start = make_owner("work-1").rpartition(":")
    assert is_dead(f"{head}:{int(start) - 1}")


def test_nothing_is_known_of_other_machines():
    """A name from elsewhere, or no name at all, is never called dead."""
    assert not is_dead("")
    assert not is_dead("me")
    assert not is_dead(f"work-1@elsewhere/0/1:{os.getpid()}:1")
    assert not is_dead("work-1@elsewhere/0/1")
