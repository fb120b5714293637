"""A whole gateway in a folder of its own, started as an admin would: `ecg-gateway serve`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import tomli_w

from gateway.demo.cart import AE_TITLE
from gateway.demo.objects import APPLICATION, FACILITY

READY_S = 180.0
STOP_S = 15.0
_POLL_S = 0.1
_ROLES = ("listen", "work", "deliver", "console")
_LOOPBACK = {"host": "127.0.0.1", "port": 0}


class NotStarted(Exception):
    """The gateway ended, or was not ready in time; the text is the end of what it said."""


class ServedGateway:
    """`with ServedGateway(folder, ehr_port)` runs it until the block ends."""

    def __init__(self, folder: Path, ehr_port: int, *, pdf: bool = False) -> None:
        """Write its settings and its site configuration.

        Args:
            folder: an empty folder.
            ehr_port: where the EHR listens on loopback.
            pdf: the EHR wants the result PDF in each result.
        """
        self.data = folder / "data"
        self._config = folder / "gateway.toml"
        self._output = folder / "serve.log"
        self._config.write_bytes(tomli_w.dumps(_settings()).encode())
        (folder / "site.toml").write_bytes(tomli_w.dumps(_site(ehr_port, pdf=pdf)).encode())
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "gateway.cli", "serve"]
        command += ["--config", str(self._config), "--data", str(self.data)]
        with self._output.open("wb") as output:
            # A session of its own: Ctrl-C reaches the demo, which then stops it in order.
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def database_url(self) -> str:
        """Where its store is."""
        return f"sqlite:///{self.data / 'gateway.sqlite3'}"

    def wait_until_ready(self, timeout_s: float = READY_S) -> dict[str, int]:
        """Wait until every role is ready.

        Returns:
            The ports: `dicom`, `hl7`, `console`.

        Raises:
            NotStarted: it is not, and will not be.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise NotStarted(self.said())
            ports = self._ports()
            if {"dicom", "hl7", "console"} <= set(ports) and self._roles_are_ready():
                return ports
            time.sleep(_POLL_S)
        raise NotStarted(self.said() or f"not ready within {timeout_s:.0f} s")

    def said(self) -> str:
        """Give the end of its output."""
        return self._output.read_text(errors="replace")[-2000:]

    def _ports(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads((self.data / "run" / "ports.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _roles_are_ready(self) -> bool:
        run = self.data / "run"
        return all(any(run.glob(f"{role}*.json")) for role in _ROLES)


def _settings() -> dict[str, object]:
    return {
        "dicom": dict(_LOOPBACK),
        "hl7": dict(_LOOPBACK),
        "console": {"port": 0},
        "storage": {"disk_reserve_mb": 64},
    }


def _site(ehr_port: int, *, pdf: bool) -> dict[str, object]:
    return {
        "facility": "DEMO",
        "identifier_authority": "DEMO",
        "dicom_peers": [{"name": "Demo cart", "ae_title": AE_TITLE, "addresses": ["127.0.0.1/32"]}],
        "hl7_peers": [
            {
                "name": "Demo cart",
                "sending_application": APPLICATION,
                "sending_facility": FACILITY,
                "addresses": ["127.0.0.1/32"],
            }
        ],
        "destinations": [
            {
                "name": "Demo EHR",
                "host": "127.0.0.1",
                "port": ehr_port,
                "test": True,
                "receiving_application": "DEMO-EHR",
                "receiving_facility": "DEMO",
                "pdf": "embed" if pdf else "none",
            }
        ],
    }
