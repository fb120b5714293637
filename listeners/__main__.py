"""Composition root of the `listen` role: `python -m listeners --config FILE --data DIR`.

With `dicom.processes` above one, this process keeps further ones running that share its port
(SO_REUSEPORT, socket(7)): the kernel spreads the connections.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog

from config.errors import ConfigError
from config.loader import load_settings
from gateway.dispatch.wake import Wakeups
from gateway.hl7.inbox import Inbox
from gateway.intake import Intake
from gateway.roles.process import MISCONFIGURED, Misconfigured, Role, run
from gateway.roles.site_values import dicom_peers, hl7_peers, zone
from gateway.supervisor import RoleSpec, Supervisor
from listeners.dicom import DicomListener, DicomOptions
from listeners.mllp import MllpListener, MllpOptions

DRAIN_S = 5.0
SHARER = "--sharer"
logger = structlog.get_logger("listeners")


def main(argv: list[str] | None = None) -> int:
    """Run the role; give its exit status."""
    parser = argparse.ArgumentParser(prog="python -m listeners", description=__doc__)
    parser.add_argument("--config", type=Path, help="the TOML file of the process settings")
    parser.add_argument("--data", type=Path, help="the data directory")
    parser.add_argument("--name", default="listen", help="name in logs and run/")
    parser.add_argument(SHARER, type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    name = options.name
    try:
        settings = load_settings(options.config, data_dir=options.data)
    except ConfigError as error:
        sys.stderr.write(f"{name}: the settings cannot be used\n{error}\n")
        return MISCONFIGURED
    return run(name, settings, options.config, lambda role: listen(role, options))


def listen(role: Role, options: argparse.Namespace) -> None:
    """Listen until told to stop, then let what is under way end."""
    wakeups = Wakeups(role.settings.broker_url)
    role.closing.callback(wakeups.close)
    intake = Intake(role.store, wakeups.score)
    ports: dict[str, int] = {}
    if role.settings.dicom.enabled:
        ports["dicom"] = _start("dicom", _dicom(role, intake), role)
    if options.sharer > 1:
        role.ready()  # the port is the first process's to announce
        role.stop.wait()
        return
    if role.settings.hl7.enabled:
        ports["hl7"] = _start("hl7", _mllp(role, intake), role)
    role.ready(ports)
    _share(role, options, ports)


def _dicom(role: Role, intake: Intake) -> DicomListener:
    """Wire the DICOM listener; limits are shared out among the processes."""
    told = role.settings.dicom
    return DicomListener(
        DicomOptions(
            host=told.host,
            port=told.port,
            max_pdu_bytes=told.max_pdu_bytes,
            max_associations=math.ceil(told.max_associations / told.processes),
            max_associations_per_ae=math.ceil(told.max_associations_per_ae / told.processes),
            acse_timeout_s=told.acse_timeout_s,
            dimse_timeout_s=told.dimse_timeout_s,
            idle_timeout_s=told.idle_timeout_s,
            max_object_mb=told.max_object_mb,
            reuse_port=told.processes > 1,
        ),
        peers=lambda: dicom_peers(role.site.site),
        ae_title=lambda: role.site.site.ae_title,
        accept=intake.accept,
        wake=intake.wake,
        refused=role.store.refusals.add,
    )


def _mllp(role: Role, intake: Intake) -> MllpListener:
    """Wire the MLLP listener."""
    told = role.settings.hl7

    def peers() -> tuple:  # type: ignore[type-arg]
        return hl7_peers(role.site.site)

    inbox = Inbox(
        role.store, intake, peers, lambda: datetime.now(UTC), lambda: zone(role.site.site)
    )
    return MllpListener(
        MllpOptions(
            host=told.host,
            port=told.port,
            max_message_bytes=told.max_message_mb << 20,
            idle_timeout_s=told.idle_timeout_s,
            frame_timeout_s=told.frame_timeout_s,
            max_connections=told.max_connections,
        ),
        peers=peers,
        handle=inbox.handle,
        wake=intake.wake,
        refused=role.store.refusals.add,
    )


def _start(key: str, listener: DicomListener | MllpListener, role: Role) -> int:
    """Open a port.

    Raises:
        Misconfigured: it cannot be opened; the message says why.
    """
    try:
        port = listener.start()
    except OSError as error:
        told = getattr(role.settings, key)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Misconfigured(f"{key}.port = {told.port} on {told.host}: {reason}") from error
    role.closing.callback(listener.stop, DRAIN_S)
    return port


def _share(role: Role, options: argparse.Namespace, ports: dict[str, int]) -> None:
    """Keep the processes running that share the DICOM port; wait for the end."""
    count = role.settings.dicom.processes if "dicom" in ports else 1
    if count == 1:
        role.stop.wait()
        return
    os.environ["ECG_GATEWAY__DICOM__PORT"] = str(ports["dicom"])
    base = [sys.executable, "-m", "listeners", "--data", str(role.settings.data_dir)]
    if options.config:
        base += ["--config", str(options.config)]
    names = {n: f"{options.name}-{n}" for n in range(2, count + 1)}
    specs = [RoleSpec(name, (*base, "--name", name, SHARER, str(n))) for n, name in names.items()]
    supervisor = Supervisor(role.settings.run_dir, specs, say=logger.info)
    if supervisor.run(role.stop) != 0:
        raise Misconfigured("a process that shares the DICOM port cannot work as configured")


if __name__ == "__main__":
    sys.exit(main())
