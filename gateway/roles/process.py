"""What every role's process shares: logging, signals, the store, the site, and its last words."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from config.errors import ConfigError
from config.settings import Settings
from gateway import lifeline, log, readiness
from gateway.errors import GatewayError
from gateway.roles.site_watch import SiteWatch, first_version
from gateway.store import Store, open_store

OK, FAILED, MISCONFIGURED = 0, 1, 2


class Misconfigured(GatewayError):
    """This process cannot work as it is configured; starting it again will not help."""


@dataclass(frozen=True, slots=True)
class Role:
    """A process at work.

    Attributes:
        name: e.g. `listen` or `work-2`.
        settings: what it was started with.
        store: open for as long as the role runs.
        site: the site configuration in force, kept current.
        stop: set when the process has been told to end.
        closing: what is undone, in reverse order, when the role ends.
    """

    name: str
    settings: Settings
    store: Store
    site: SiteWatch
    stop: threading.Event
    closing: ExitStack = field(repr=False)

    def ready(self, ports: dict[str, int] | None = None) -> None:
        """Tell the supervisor, and people, that the role does its work."""
        run_dir = self.settings.run_dir
        readiness.announce(run_dir, readiness.Ready(self.name, os.getpid(), ports or {}))
        self.closing.callback(readiness.withdraw, run_dir, self.name)
        structlog.get_logger("gateway.roles").info("ready", **(ports or {}))

    def tell(self, trouble: str) -> None:
        """Tell people what is not as it is configured, and why; empty: nothing any more."""
        try:
            readiness.explain(self.settings.run_dir, self.name, trouble)
        except OSError as error:
            structlog.get_logger("gateway.roles").warning("not_told", error=error)


def run(name: str, settings: Settings, config: Path | None, body: Callable[[Role], None]) -> int:
    """Run a role until it is told to stop.

    Args:
        name: the process's name, which its log file and its ready file carry.
        settings: the process settings.
        config: the settings file, beside which a first `site.toml` may lie.
        body: does the work; returns soon after `role.stop` is set.

    Returns:
        The exit status: 0 stopped as told, 1 failed, 2 cannot work as configured.
    """
    lifeline.follow()
    stop = stop_on_signals()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    readiness.explain(settings.run_dir, name, "")  # what a killed one left
    log.configure(name, settings.logging.level, settings.logging.format, settings.data_dir / "logs")
    logger = structlog.get_logger("gateway.roles")
    try:
        with ExitStack() as closing:
            body(begin(name, settings, config, stop, closing))
    except (ConfigError, Misconfigured) as error:
        sys.stderr.write(f"{name}: {error}\n")
        with suppress(OSError):  # then the line above is all that is said
            readiness.explain(settings.run_dir, name, str(error))
        return MISCONFIGURED
    except GatewayError as error:
        logger.exception("failed", cause=error)
        return FAILED
    logger.info("stopped")
    return OK


def begin(
    name: str,
    settings: Settings,
    config: Path | None,
    stop: threading.Event,
    closing: ExitStack,
) -> Role:
    """Open the store, take up the site configuration and watch it."""
    store = store_of(settings)
    closing.callback(store.close)
    first_version(store.site, config)
    watch = SiteWatch(store.site)
    watch.start()
    closing.callback(watch.stop)
    return Role(name, settings, store, watch, stop, closing)


def store_of(settings: Settings) -> Store:
    """Open the store that the settings name."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return open_store(
        settings.database_url,
        settings.data_dir / "blobs",
        disk_reserve_mb=settings.storage.disk_reserve_mb,
    )


def stop_on_signals() -> threading.Event:
    """Give an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
