"""Composition root of `serve`: lock, broker, first site version, then the roles as processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from config.settings import Settings
from gateway import log, readiness
from gateway.embedded_broker import EmbeddedBroker
from gateway.errors import GatewayError
from gateway.roles.process import stop_on_signals, store_of
from gateway.roles.site_watch import SiteWatch, first_version
from gateway.supervisor import RoleSpec, Supervisor


class AlreadyRunning(GatewayError):
    """Another supervisor runs on this data directory."""


def serve(settings: Settings, config: Path | None, say: Callable[[str], None]) -> int:
    """Run every role until told to stop.

    Args:
        settings: the process settings.
        config: the file they came from, which the roles read too.
        say: takes one line for people.

    Returns:
        The exit status: 0 after a clean stop, 2 when a role other than `work` cannot work as
        configured.

    Raises:
        AlreadyRunning: another gateway runs on the data directory.
        ConfigError: the first site file cannot be used.
        GatewayError: database or broker cannot be started.
    """
    stop = stop_on_signals()
    with locked(settings):
        logs = settings.data_dir / "logs"
        log.configure("serve", settings.logging.level, settings.logging.format, logs)
        prepare(settings, config)
        broker = None
        if not settings.broker.url:
            broker = EmbeddedBroker(settings.run_dir / "broker.sock", logs / "broker.log")
        ports = settings.run_dir / readiness.PORTS
        supervisor = Supervisor(
            settings.run_dir,
            role_specs(settings, config),
            say=say,
            ports=lambda merged: readiness.write_json(ports, merged),
            broker=broker,
        )
        try:
            status = supervisor.run(stop)
        finally:
            ports.unlink(missing_ok=True)
        say("gateway   stopped")
        return status


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the data directory; the kernel lets go when this process ends, however it ends.

    Raises:
        AlreadyRunning: it is held; the message names the process.
    """
    run_dir = settings.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run_dir / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        other = readiness.announced(run_dir, "serve")
        who = f" (process {other.pid})" if other else ""
        raise AlreadyRunning(
            f"another gateway{who} already runs on {settings.data_dir}; stop it first, "
            "or choose another data directory with --data"
        ) from error
    try:
        readiness.announce(run_dir, readiness.Ready("serve", os.getpid()))
        (run_dir / readiness.PORTS).unlink(missing_ok=True)
        for role in readiness.troubles(run_dir):  # perhaps of a worker that is wanted no more
            readiness.withdraw(run_dir, role)
        yield
    finally:
        readiness.withdraw(run_dir, "serve")
        lock.release()


def is_running(settings: Settings) -> bool:
    """Tell whether a supervisor holds the data directory."""
    if not (settings.run_dir / "lock").exists():
        return False
    lock = filelock.FileLock(settings.run_dir / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def prepare(settings: Settings, config: Path | None) -> None:
    """Migrate the database, tidy up and take up the site file, once, before the roles start."""
    store = store_of(settings)
    try:
        store.blobs.remove_leftovers()
        first_version(store.site, config)
        SiteWatch(store.site)  # reads and validates the version in force
    finally:
        store.close()


def role_specs(settings: Settings, config: Path | None) -> list[RoleSpec]:
    """Give the processes to run."""
    options = ["--data", str(settings.data_dir)]
    if config is not None:
        options += ["--config", str(config.absolute())]
    command = [sys.executable, "-m", "gateway.cli"]
    specs = []
    if settings.dicom.enabled or settings.hl7.enabled:
        variables = {"dicom": "ECG_GATEWAY__DICOM__PORT", "hl7": "ECG_GATEWAY__HL7__PORT"}
        listen = (sys.executable, "-m", "listeners", *options)
        specs.append(RoleSpec("listen", listen, variables))
    for number in range(1, settings.worker.processes + 1):
        name = f"work-{number}"
        work = (*command, "work", "--name", name, *options)
        specs.append(RoleSpec(name, work, can_wait=True))  # what is accepted waits with it
    specs.append(RoleSpec("deliver", (*command, "deliver", "--name", "deliver", *options)))
    if settings.console.enabled:
        variables = {"console": "ECG_GATEWAY__CONSOLE__PORT"}
        console = (*command, "console", "--name", "console", *options)
        specs.append(RoleSpec("console", console, variables))
    return specs
