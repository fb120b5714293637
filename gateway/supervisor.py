"""Starts the roles of one gateway as processes, restarts what ends, and stops them all.

It knows names and command lines, not what the roles do, and it keeps no state but theirs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from gateway import readiness
from gateway.errors import GatewayError
from gateway.lifeline import Lifeline

MISCONFIGURED = 2
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
BROKER_PAUSE_S = 2.0
FIX_PAUSE_S = 30.0
"""Seconds after which a misconfigured role that can wait is tried again."""
STEADY_S = 60.0
STOP_S = 8.0
TICK_S = 0.1
logger = structlog.get_logger("gateway.supervisor")


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One process to keep running.

    Attributes:
        name: unique; it announces itself as `run/NAME.json`.
        argv: its command line.
        port_variables: name of a port that it announces to the environment variable that fixes
            it, so that a port which was chosen freely stays the same after a restart.
        can_wait: the other roles work without it, so that its wrong configuration does not end
            them: it is tried again every `FIX_PAUSE_S`.
    """

    name: str
    argv: tuple[str, ...]
    port_variables: Mapping[str, str] = field(default_factory=dict)
    can_wait: bool = False


class Server(Protocol):
    """The embedded broker, as the supervisor sees it."""

    def start(self) -> None:
        """Start it and wait until it answers."""

    def alive(self) -> bool:
        """Tell whether it runs."""

    def stop(self) -> None:
        """Stop it and wait for its end."""


class Child:
    """One role's process over its restarts."""

    def __init__(self, spec: RoleSpec, run_dir: Path, lifeline: Lifeline) -> None:
        self.spec, self._run_dir, self._lifeline = spec, run_dir, lifeline
        self.ready: readiness.Ready | None = None
        self.was_ready = False
        self.why = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = self.start_at = 0.0
        self._failures = 0
        self._fixed_ports: dict[str, str] = {}

    def start(self) -> None:
        """Start the process, in a process group of its own, so that Ctrl-C reaches us alone."""
        readiness.withdraw(self._run_dir, self.spec.name)
        environment = {**os.environ, **self._lifeline.environment(), **self._fixed_ports}
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.spec.argv,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=(self._lifeline.read_end,),
            process_group=0,
        )

    def became_ready(self) -> bool:
        """Tell, once per start, that the process has announced itself."""
        if self.process is None or self.ready is not None:
            return False
        found = readiness.announced(self._run_dir, self.spec.name)
        if found is None or found.pid != self.process.pid:
            return False
        self.ready, self.was_ready = found, True
        for name, port in found.ports.items():
            if name in self.spec.port_variables:
                self._fixed_ports[self.spec.port_variables[name]] = str(port)
        return True

    def ended(self) -> int | None:
        """Give the exit status of a process that ended, once."""
        status = self.process.poll() if self.process else None
        if status is None:
            return None
        self.process = self.ready = None
        self.why = readiness.explained(self._run_dir, self.spec.name)
        waits = status == MISCONFIGURED and self.spec.can_wait
        readiness.withdraw(self._run_dir, self.spec.name, keep_why=waits)
        return status

    def back_off(self) -> float:
        """Plan the next start; give the pause in seconds, which doubles while starts fail."""
        steady = time.monotonic() - self.started_at > STEADY_S
        self._failures = 1 if steady else self._failures + 1
        pause_s = min(BACKOFF_FIRST_S * 2.0 ** (self._failures - 1), BACKOFF_MAX_S)
        self.start_at = time.monotonic() + pause_s
        return pause_s

    def wait_for_a_fix(self) -> None:
        """Plan the next start for when somebody may have changed the configuration."""
        self._failures = 0
        self.start_at = time.monotonic() + FIX_PAUSE_S

    def signal(self, number: int) -> None:
        """Send a signal; SIGKILL goes to everything that the process started, too."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)


class Supervisor:
    """Keeps a set of roles running until it is told to stop."""

    def __init__(
        self,
        run_dir: Path,
        roles: list[RoleSpec],
        *,
        say: Callable[[str], None],
        ports: Callable[[Mapping[str, int]], None] = lambda _: None,
        broker: Server | None = None,
    ) -> None:
        """Keep what is needed; nothing is started yet.

        Args:
            run_dir: where the roles announce themselves.
            roles: what to run.
            say: takes one line for people.
            ports: takes the ports of all roles that are ready, whenever one becomes ready.
            broker: the embedded broker, started before the roles and stopped after them.
        """
        self._run_dir, self._say, self._broker = run_dir, say, broker
        self._tell_ports = ports
        self._broker_at = 0.0
        self._lifeline = Lifeline()
        self._children = [Child(spec, run_dir, self._lifeline) for spec in roles]

    def run(self, stop: threading.Event) -> int:
        """Start everything, keep it running until `stop` is set, then stop it.

        Returns:
            0 after a clean stop; 2 when a role that cannot wait cannot work as configured.
        """
        status = 0
        try:
            if self._broker is not None:
                self._broker.start()
                self._say("broker    ready   embedded")
            for child in self._children:
                child.start()
            while not stop.wait(TICK_S) and status == 0:
                status = self._look()
        finally:
            self._stop_all()
        return status

    def _look(self) -> int:
        """Look after everything once; give an exit status other than 0 to end."""
        self._look_after_broker()
        for child in self._children:
            if child.became_ready():
                self._tell_ready(child)
            status = child.ended()
            if status == MISCONFIGURED and child.spec.can_wait:
                self._plan_another_look(child)
            elif status == MISCONFIGURED and not child.was_ready:
                self._say(f"{child.spec.name:<9} cannot work as configured (see above); stopping")
                return MISCONFIGURED
            elif status is not None:
                self._plan_restart(child, status)
            elif child.process is None and time.monotonic() >= child.start_at:
                self._start_again(child)
        return 0

    def _start_again(self, child: Child) -> None:
        """Start a role; a machine without memory or processes to spare is tried again later."""
        try:
            child.start()
        except OSError as error:
            pause_s = child.back_off()
            self._say(f"{child.spec.name:<9} not started: {error.strerror}; again in {pause_s:g} s")
            logger.warning("role_not_started", name=child.spec.name, error=error)

    def _look_after_broker(self) -> None:
        """Start the broker again if it ended: it holds nothing that the database does not.

        While that fails the listeners go on accepting and the couriers delivering.
        """
        if self._broker is None or self._broker.alive() or time.monotonic() < self._broker_at:
            return
        logger.warning("broker_ended")
        self._say("broker    ended; starting it again")
        try:
            self._broker.start()
        except (GatewayError, OSError) as error:
            self._broker_at = time.monotonic() + BROKER_PAUSE_S
            logger.warning("broker_not_started", error=error)
            self._say(f"broker    not started: {error}; next try in {BROKER_PAUSE_S:g} s")

    def _tell_ready(self, child: Child) -> None:
        """Say that a role is ready, and where it listens."""
        assert child.ready is not None  # noqa: S101 - narrows the type, became_ready() set it
        took_s = time.monotonic() - child.started_at
        ports = ", ".join(f"{name} on port {port}" for name, port in child.ready.ports.items())
        self._say(f"{child.spec.name:<9} ready   {ports or 'working'} ({took_s:.1f} s)")
        logger.info("role_ready", name=child.spec.name, pid=child.ready.pid, **child.ready.ports)
        merged = {k: v for c in self._children if c.ready for k, v in c.ready.ports.items()}
        self._tell_ports(merged)

    def _plan_restart(self, child: Child, status: int) -> None:
        """Say how a role ended, and when it starts again."""
        pause_s = child.back_off()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        self._say(f"{child.spec.name:<9} ended   {how}; starts again in {pause_s:g} s")
        logger.warning("role_ended", name=child.spec.name, status=status, pause_s=pause_s)

    def _plan_another_look(self, child: Child) -> None:
        """Say what is wrong with a role that can wait, and when it is tried again."""
        child.wait_for_a_fix()
        self._say(
            f"{child.spec.name:<9} cannot work as configured: {child.why or 'see above'}; "
            f"the other roles go on; next try in {FIX_PAUSE_S:g} s"
        )
        logger.error("role_misconfigured", name=child.spec.name, reason=child.why)

    def _stop_all(self) -> None:
        """Let every role drain; whoever takes too long is killed; the broker goes last."""
        for child in self._children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for child in self._children:
            if child.process is not None and not _waited(child.process, deadline):
                self._say(f"{child.spec.name:<9} killed  did not stop within {STOP_S:g} s")
                logger.warning("role_killed", name=child.spec.name)
                child.signal(signal.SIGKILL)
                child.process.wait()
        self._lifeline.close()
        if self._broker is not None:
            self._broker.stop()
        for child in self._children:
            readiness.withdraw(self._run_dir, child.spec.name)


def _waited(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for an end until a deadline of the monotonic clock."""
    try:
        process.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return False
    return True
