"""`serve` and the single roles."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import GATEWAY, Config, Data, settings_of

if TYPE_CHECKING:
    from gateway.roles.process import Role

Name = Annotated[
    str,
    typer.Option(
        "--name",
        help="Name of this process in logs and run/. Default: the role and this machine's name.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, listen, work, deliver, console):
        app.command(rich_help_panel=GATEWAY)(command)


def serve(config: Config = None, data: Data = None) -> None:
    """Run the whole gateway: listen, work, deliver and console under one supervisor.

    Stops within 10 s on SIGTERM or Ctrl-C. The ports in use stand in DATA/run/ports.json.
    """
    from gateway.roles.serve import serve as run

    settings = settings_of(config, data)
    raise typer.Exit(run(settings, config, typer.echo))


def listen(config: Config = None, data: Data = None) -> None:
    """Run the listeners alone: DICOM and HL7 over MLLP."""
    import os

    line = [sys.executable, "-m", "listeners"]
    line += ["--config", str(config)] if config else []
    line += ["--data", str(data)] if data else []
    line += ["--name", alone("listen")]
    os.execv(sys.executable, line)  # noqa: S606 - gateway never imports listeners


def work(config: Config = None, data: Data = None, name: Name = "") -> None:
    """Run one scoring worker."""
    from gateway.roles.work import work as body

    _run(name or alone("work"), config, data, body)


def deliver(config: Config = None, data: Data = None, name: Name = "") -> None:
    """Run the couriers that send results and wait for their acknowledgement."""
    from gateway.roles.deliver import deliver as body

    _run(name or alone("deliver"), config, data, body)


def console(config: Config = None, data: Data = None, name: Name = "") -> None:
    """Run the web console with health and metrics; loopback only."""
    from gateway.roles.console import console as body

    _run(name or alone("console"), config, data, body)


def alone(role: str) -> str:
    """Name a process that no supervisor named: several machines may share one data directory."""
    return f"{role}-{socket.gethostname()}"


def _run(name: str, config: Path | None, data: Path | None, body: Callable[[Role], None]) -> None:
    """Run one role in this process."""
    from gateway.roles.process import run

    raise typer.Exit(run(name, settings_of(config, data), config, body))
