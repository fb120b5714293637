"""What `doctor` examines, one function per subject; each says what was found and what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from config.documents import first_site, parse_site, site_of
from config.errors import ConfigError
from config.settings import Settings
from config.site import Site
from gateway import readiness
from gateway.disk import MB, Disk, used_bytes
from gateway.roles.process import store_of
from gateway.roles.serve import is_running

CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table.

    Attributes:
        what: the subject.
        ok: whether it works.
        found: what was seen.
        advice: what to do when it does not work.
    """

    what: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Examine everything, cheap subjects first."""
    yield _guarded("data directory", lambda: data_directory(settings))
    yield _guarded("disk", lambda: disk(settings))
    yield from ports(settings)
    yield _guarded("broker", lambda: broker(settings))
    yield _guarded("database", lambda: database(settings))
    site = None
    try:
        site, source = _site(settings, config)
        yield Finding("site configuration", True, f"valid: {source}")
    except ConfigError as error:
        advice = "mend it, then `ecg-gateway config import FILE`"
        yield Finding("site configuration", False, (str(error)), advice)
    if site is not None:
        yield from senders(site)
        yield from peers(site)
        yield _guarded("model", lambda: model(settings, site.model.bundle))


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    """Turn an error into a finding: the doctor never faints."""
    try:
        return look()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Finding(what, False, text, "see the message")


def data_directory(settings: Settings) -> Finding:
    """It exists or can be made, and is writable."""
    folder = settings.data_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    ok = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    found = f"{folder}" if folder.exists() else f"{folder} (made at the first start)"
    return Finding("data directory", ok, found, f"let this account write to {there}")


def disk(settings: Settings) -> Finding:
    """There is more room than the reserve."""
    folder = settings.data_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    reserve_mb = settings.storage.disk_reserve_mb
    the_disk = Disk(there, reserve_mb * MB)
    used_mb = used_bytes(folder) // MB
    found = f"{the_disk.free_bytes() // MB} MB free, reserve {reserve_mb} MB, {used_mb} MB used"
    advice = "free some space, or lower storage.disk_reserve_mb: below it senders are put off"
    return Finding("disk", the_disk.leaves_room(), found, advice)


def ports(settings: Settings) -> Iterator[Finding]:
    """Each port is free, or held by this very gateway."""
    held = readiness.read_ports(settings.run_dir) if is_running(settings) else {}
    for name in ("dicom", "hl7", "console"):
        told = getattr(settings, name)
        if not told.enabled:
            yield Finding(f"port {name}", True, "switched off")
        elif name in held:
            yield Finding(f"port {name}", True, f"{held[name]}, held by the running gateway")
        else:
            yield _port(name, told.host, told.port)


def _port(name: str, host: str, port: int) -> Finding:
    """Try to open a port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = error.strerror or str(error)
        advice = f"stop what holds it (`ss -ltnp`), or choose another {name}.port"
        return Finding(f"port {name}", False, f"{port} on {host}: {reason}", advice)
    return Finding(f"port {name}", True, f"{port or 'any'} on {host}, free")


def broker(settings: Settings) -> Finding:
    """The broker answers, or the embedded one can be started."""
    if not settings.broker.url:
        return _embedded(settings)
    from kombu import Connection

    from config.masking import masked

    shown = str(masked(settings.broker.url))
    try:
        with Connection(settings.broker.url, connect_timeout=CONNECT_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=CONNECT_S)
    except Exception as error:
        advice = "start it, or correct broker.url"
        return Finding("broker", False, f"{shown}: {type(error).__name__}", advice)
    return Finding("broker", True, f"{shown} answers")


def _embedded(settings: Settings) -> Finding:
    """The private server's program is there."""
    from gateway.dispatch.broker import answers, command, find_server

    path = settings.run_dir.absolute() / "broker.sock"
    if answers(path):
        return Finding("broker", True, "embedded, runs")
    try:
        program = find_server()
        command(program, path)
    except (FileNotFoundError, ValueError) as error:
        return Finding("broker", False, (str(error)), "see the message")
    return Finding("broker", True, f"embedded, {program.name} is here")


def database(settings: Settings) -> Finding:
    """It can be opened and answers."""
    if not settings.database.url and not (settings.data_dir / "gateway.sqlite3").exists():
        return Finding("database", True, "SQLite, made at the first start")
    with closing(store_of(settings)) as store:
        store.ping()
        counts = store.ecgs.count_by_state()
    kind = settings.database_url.partition(":")[0]
    return Finding("database", True, f"{kind}, ECGs: {sum(counts.values())}")


def _site(settings: Settings, config: Path | None) -> tuple[Site, str]:
    """Read the version in force, or the file that becomes version 1.

    Raises:
        ConfigError: it cannot be used.
    """
    if settings.database.url or (settings.data_dir / "gateway.sqlite3").exists():
        with closing(store_of(settings)) as store:
            found = store.site.current()
        if found is not None:
            return site_of(found.document), f"version {found.version}"
    text, source = first_site(config)
    return parse_site(text, source), source


def senders(site: Site) -> Iterator[Finding]:
    """Somebody may send, and somebody is told."""
    count = len(site.dicom_peers) + len(site.hl7_peers)
    advice = "add [[dicom_peers]] or [[hl7_peers]], then `ecg-gateway config import FILE`"
    yield Finding("senders", count > 0, f"{count} configured", advice)
    advice = "add [[destinations]], then `ecg-gateway config import FILE`"
    number = len(site.destinations)
    yield Finding("destinations", number > 0, f"{number} configured", advice)


def peers(site: Site) -> Iterator[Finding]:
    """Each destination takes connections."""
    for item in site.destinations:
        what, where = f"destination {item.name}", f"{item.host}:{item.port}"
        try:
            socket.create_connection((item.host, item.port), item.connect_timeout_s).close()
        except OSError as error:
            reason = error.strerror or str(error)
            advice = "start it, open the firewall, or correct host and port"
            yield Finding(what, False, (f"{where}: {reason}"), advice)
        else:
            yield Finding(what, True, f"{where} takes connections")


def model(settings: Settings, bundle: str) -> Finding:
    """The bundle is whole and its golden inputs score as they should."""
    from gateway.roles.model import load_scorer

    try:
        load_scorer(settings, bundle)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Finding("model", False, text, "install the bundle again, or name another one")
    signed = "signed with bundles_key" if settings.bundles_key else "no signature asked for"
    return Finding("model", True, f"bundle {bundle}: {signed}, golden inputs score as they should")
