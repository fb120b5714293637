"""Runs the private broker of one gateway: a child process on a Unix socket, nothing on disk."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.dispatch.broker import answers, command, find_server
from gateway.errors import GatewayError

START_S, STOP_S, POLL_S = 20.0, 2.0, 0.02
PR_SET_PDEATHSIG = 1


class BrokerFailed(GatewayError):
    """The embedded broker cannot be started; the message says what to do."""


class EmbeddedBroker:
    """The server process; the caller holds the lock of the data directory."""

    def __init__(self, socket_path: Path, log_path: Path) -> None:
        """Keep what is needed.

        Args:
            socket_path: where it listens.
            log_path: where its own words go.
        """
        self._socket, self._log = socket_path, log_path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            BrokerFailed: there is no server program, or it does not come up.
        """
        try:
            line = command(find_server(), self._socket)
        except (FileNotFoundError, ValueError) as error:
            raise BrokerFailed(str(error)) from error
        self._end_orphan()
        self._socket.unlink(missing_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - only a system call, no thread runs
            )
        self._wait_until_it_answers()

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop it and wait for its end."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._socket.unlink(missing_ok=True)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_S
        while not answers(self._socket):
            if not self.alive() or time.monotonic() > deadline:
                self.stop()
                raise BrokerFailed(f"the embedded broker did not start; see {self._log}")
            time.sleep(POLL_S)

    def _end_orphan(self) -> None:
        """End a server that outlived a killed supervisor; it holds nothing that is needed."""
        deadline = time.monotonic() + STOP_S
        while answers(self._socket) and time.monotonic() < deadline:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(1.0)
                line.connect(str(self._socket))
                line.sendall(b"SHUTDOWN NOSAVE\r\n")
                line.recv(64)
            time.sleep(POLL_S)


def _die_with_parent() -> Callable[[], None] | None:
    """Give what a child calls so that it ends with its parent (prctl(2)); Linux only."""
    if sys.platform != "linux":
        return None
    system, parent = ctypes.CDLL(None), os.getpid()

    def call() -> None:
        system.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return call
