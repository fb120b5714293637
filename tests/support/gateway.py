"""A whole gateway in a folder, started with `ecg-gateway serve` as an admin would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
READY_S = 240.0
COMMAND = Path(sys.executable).with_name("ecg-gateway")

DATABASE_URL = "ECG_GATEWAY__DATABASE__URL"

SETTINGS = """
[dicom]
host = "127.0.0.1"
port = 0
[hl7]
host = "127.0.0.1"
port = 0
[console]
port = 0
[worker]
lease_s = 15.0
sweep_s = 1.0
[deliver]
lease_s = 3.0
"""

SITE = """
[[dicom_peers]]
name = "Cart"
ae_title = "CART"
[[hl7_peers]]
name = "Any engine"
[[destinations]]
name = "EHR"
host = "127.0.0.1"
port = {ehr_port}
test = true
ack_timeout_s = 5.0
retry_first_s = 0.2
retry_max_s = 1.0
[alert]
deadline_s = 3600000000.0
"""


def until(probe: Callable[[], T], what: str, deadline_s: float = 90.0) -> T:
    """Ask `probe` until it gives something true; an exception while asking means not yet.

    Raises:
        AssertionError: the deadline passed; the message says what was waited for.
    """
    end = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < end:
        try:
            if last := probe():
                return last
        except (OSError, ValueError, KeyError) as error:
            last = error
        threading.Event().wait(0.05)
    raise AssertionError(f"waited {deadline_s:.0f} s for {what}; last seen: {last!r}")


def _peer_of(path: Path) -> int:
    """The process that listens on a Unix socket (SO_PEERCRED, unix(7))."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", told)[0])


class RunningGateway:
    """One `ecg-gateway serve` on a data directory; it can be stopped, killed and started again."""

    def __init__(self, folder: Path, ehr_port: int, settings: str = SETTINGS, site: str = SITE):
        self.folder = folder
        self.data = folder / "data"
        (folder / "gateway.toml").write_text(settings)
        (folder / "site.toml").write_text(site.format(ehr_port=ehr_port))
        self.output = folder / "serve.out"
        self._environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, env: dict[str, str] | None = None, *, workers: bool = True) -> None:
        """Start and wait until every role is ready; without `workers` every other role."""
        self._environment = env or {}
        (self.data / "run" / "ports.json").unlink(missing_ok=True)
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    str(COMMAND),
                    "serve",
                    "--config",
                    str(self.folder / "gateway.toml"),
                    "--data",
                    str(self.data),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        until(lambda: self._ready(workers=workers), "every role to be ready", READY_S)

    def _ready(self, *, workers: bool) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()[-3000:]
        return {"dicom", "hl7", "console"} <= set(self.ports) and (
            bool(self.pids("work")) or not workers
        )

    @property
    def ports(self) -> dict[str, int]:
        """The ports in use, from `run/ports.json`."""
        return json.loads((self.data / "run" / "ports.json").read_text())

    def pids(self, role: str) -> list[int]:
        """The process ids of a role, from its ready files; of the broker, from its socket."""
        if role == "broker":
            return [_peer_of(self.data / "run" / "broker.sock")]
        files = (self.data / "run").glob(f"{role}*.json")
        return [int(json.loads(file.read_text())["pid"]) for file in files]

    def kill(self, role: str) -> None:
        """Kill -9 every process of a role."""
        pids = self.pids(role)
        assert pids, f"no process of {role} is known"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def stop(self, deadline_s: float = 30.0) -> int:
        """Ask it to stop (SIGTERM) and give its exit status."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(deadline_s)
        finally:
            self.kill_all()

    def kill_all(self) -> None:
        """Kill -9 whatever of it still runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def logs(self) -> Iterator[tuple[Path, bytes]]:
        """Everything it wrote that is a log: its output and the files in `logs/`."""
        yield self.output, self.output.read_bytes()
        for file in sorted((self.data / "logs").rglob("*")):
            if file.is_file():
                yield file, file.read_bytes()

    def store(self) -> Any:
        """Open the gateway's own store; the caller closes it."""
        from gateway.store import open_store

        own = f"sqlite:///{self.data / 'gateway.sqlite3'}"
        return open_store(self._environment.get(DATABASE_URL, own), self.data / "blobs")
