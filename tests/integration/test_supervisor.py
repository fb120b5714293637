"""The supervisor with real processes whose work is only to be started, stopped and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import gone, wait_for

from gateway import readiness, supervisor
from gateway.errors import GatewayError
from gateway.supervisor import RoleSpec, Supervisor

ROLE = """
import os, signal, socket, sys, threading
from pathlib import Path
from gateway import lifeline, readiness

name, run_dir, how = sys.argv[1:4]
lifeline.follow()
stop = threading.Event()
signal.signal(signal.SIGTERM, (lambda *_: None) if how == "stubborn" else lambda *_: stop.set())
if how == "misconfigured":
    sys.exit(2)
if how == "waits" and not (Path(run_dir).parent / "fixed").exists():
    readiness.explain(Path(run_dir), name, "no bundle of\\n that name")
    sys.exit(2)
listening = socket.create_server(("127.0.0.1", int(os.environ.get("TEST_PORT", "0"))))
ports = {name: listening.getsockname()[1]}
readiness.announce(Path(run_dir), readiness.Ready(name, os.getpid(), ports))
if how == "ends":
    sys.exit(2)
stop.wait()
listening.close()
"""
MAIN = """
import sys, threading
from pathlib import Path
from gateway.supervisor import RoleSpec, Supervisor

run_dir = Path(sys.argv[1])
specs = [RoleSpec(n, (sys.executable, sys.argv[2], n, str(run_dir), "steady")) for n in ("a", "b")]
sys.exit(Supervisor(run_dir, specs, say=print).run(threading.Event()))
"""


class Running:
    """A supervisor in a thread, and what it said."""

    def __init__(self, run_dir: Path, specs: list[RoleSpec], broker: object = None) -> None:
        self.run_dir, self.said = run_dir, []
        self.ports: dict[str, int] = {}
        self.stop = threading.Event()
        self.status: int | None = None
        self._supervisor = Supervisor(
            run_dir, specs, say=self.said.append, ports=self.ports.update, broker=broker
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.status = self._supervisor.run(self.stop)

    def ready(self, name: str, other_than: int = 0) -> readiness.Ready:
        def probe() -> readiness.Ready | None:
            found = readiness.announced(self.run_dir, name)
            return found if found and found.pid != other_than else None

        return wait_for(probe, f"{name} to be ready")

    def end(self) -> int | None:
        self.stop.set()
        self.thread.join(60)
        return self.status


Start = Callable[..., Running]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "role.py"
    path.write_text(ROLE, "utf-8")
    return path


@pytest.fixture
def start(tmp_path: Path, script: Path) -> Iterator[Start]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    begun: list[Running] = []

    def begin(broker: object = None, **roles: str) -> Running:
        specs = [
            RoleSpec(
                name,
                (sys.executable, str(script), name, str(run_dir), how),
                {name: "TEST_PORT"},
                can_wait=how == "waits",
            )
            for name, how in roles.items()
        ]
        begun.append(Running(run_dir, specs, broker))
        return begun[-1]

    yield begin
    for running in begun:
        running.end()


def test_roles_are_started_told_and_stopped(start: Start):
    """Each role gets one line with its ports; a stop ends all of them and leaves no file."""
    running = start(alpha="steady", beta="steady")
    pids = [running.ready(name).pid for name in ("alpha", "beta")]
    wait_for(lambda: len(running.ports) == 2, "both ports")
    assert running.end() == 0
    assert all(gone(pid) for pid in pids)
    for name in ("alpha", "beta"):
        [line] = [said for said in running.said if said.startswith(name)]
        assert f"ready   {name} on port {running.ports[name]}" in line
    assert list(running.run_dir.iterdir()) == []


def test_a_killed_role_is_started_again_on_the_same_port(start: Start):
    """A port that was chosen freely stays, so that senders find it again."""
    running = start(alpha="steady")
    first = running.ready("alpha")
    wait_for(lambda: running.ports, "the port")
    os.kill(first.pid, signal.SIGKILL)
    second = running.ready("alpha", other_than=first.pid)
    assert second.ports == first.ports
    assert any("ended   signal 9; starts again in 0.5 s" in said for said in running.said)


def test_a_role_that_cannot_work_as_configured_ends_everything(start: Start):
    """Exit status 2 before it was ever ready is not tried again."""
    running = start(alpha="steady", beta="misconfigured")
    running.thread.join(60)
    assert running.status == 2
    assert any(said.startswith("beta      cannot work as configured") for said in running.said)


def test_a_misconfigured_role_that_can_wait_heals_and_ends_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One line and, between tries, a file say what is wrong; a fixed configuration is found."""
    monkeypatch.setattr(supervisor, "FIX_PAUSE_S", 0.2)
    running = start(alpha="steady", beta="waits")
    pid = running.ready("alpha").pid
    wait_for(lambda: sum("beta" in said for said in running.said) >= 2, "a second try")
    told = wait_for(lambda: readiness.troubles(running.run_dir), "what health tells")
    assert told == {"beta": "no bundle of that name"}
    said = next(said for said in running.said if said.startswith("beta"))
    assert said == (
        "beta      cannot work as configured: no bundle of that name; "
        "the other roles go on; next try in 0.2 s"
    )
    (tmp_path / "fixed").touch()
    running.ready("beta")
    assert running.ready("alpha").pid == pid
    assert running.end() == 0
    assert list(running.run_dir.iterdir()) == []


def test_a_role_that_was_ready_is_tried_again_whatever_its_exit_status(start: Start):
    """What worked once may work again; the pause doubles."""
    running = start(alpha="ends")
    wait_for(lambda: sum("starts again" in said for said in running.said) >= 2, "two restarts")
    pauses = [said.rpartition("in ")[2] for said in running.said if "starts again" in said]
    assert pauses[:2] == ["0.5 s", "1 s"]


def test_a_role_that_does_not_stop_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch):
    """The gateway's stop has an end."""
    monkeypatch.setattr(supervisor, "STOP_S", 0.3)
    running = start(alpha="stubborn")
    pid = running.ready("alpha").pid
    assert running.end() == 0
    assert gone(pid)
    assert any("killed  did not stop within" in said for said in running.said)


class FakeBroker:
    """A broker that a test can let die."""

    def __init__(self) -> None:
        self.starts, self.lives = 0, False
        self.failures: list[Exception] = []

    def start(self) -> None:
        self.starts += 1
        if self.failures:
            raise self.failures.pop()
        self.lives = True

    def alive(self) -> bool:
        return self.lives

    def stop(self) -> None:
        self.lives = False


def test_a_broker_that_ended_is_started_again_and_stopped_last(start: Start):
    """Losing the broker loses no work, so it is simply started again."""
    broker = FakeBroker()
    running = start(broker, alpha="steady")
    running.ready("alpha")
    broker.lives = False
    wait_for(lambda: broker.starts == 2, "a second start")
    assert running.end() == 0
    assert not broker.lives


def test_a_broker_that_cannot_be_started_again_ends_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    """The roles go on without it, and it is tried again until it comes."""
    monkeypatch.setattr(supervisor, "BROKER_PAUSE_S", 0.01)
    broker = FakeBroker()
    running = start(broker, alpha="steady")
    pid = running.ready("alpha").pid
    broker.failures = [GatewayError("no server program"), OSError(12, "Cannot allocate memory")]
    broker.lives = False
    wait_for(lambda: broker.lives, "a start that works")
    assert running.ready("alpha").pid == pid
    assert running.end() == 0
    assert broker.starts == 4


def test_roles_end_with_a_supervisor_that_was_killed(tmp_path: Path, script: Path):
    """Kill -9 of the supervisor leaves no orphan that holds ports."""
    (tmp_path / "run").mkdir()
    (tmp_path / "main.py").write_text(MAIN, "utf-8")
    line = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "run"), str(script)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL) as process:
        try:
            pids = [
                wait_for(lambda n=name: readiness.announced(tmp_path / "run", n), name).pid
                for name in ("a", "b")
            ]
        finally:
            process.kill()
    wait_for(lambda: all(gone(pid) for pid in pids), "the roles to end")
