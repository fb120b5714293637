"""The site configuration in force, in a running process: polled, validated, handed on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from config.documents import document_of, first_site, parse_site, site_of
from config.errors import ConfigError
from config.site import Site
from gateway.errors import Conflict, StoreUnavailable
from gateway.store.site import Sites

POLL_S = 1.0
logger = structlog.get_logger("gateway.site")


def first_version(sites: Sites, config: Path | None) -> None:
    """Make the site file version 1 if the database holds none; several starters may race.

    Raises:
        ConfigError: the site file cannot be used.
    """
    if sites.version():
        return
    text, source = first_site(config)
    document = document_of(parse_site(text, source))
    try:
        sites.save(document, who="first start", note=f"imported from {source}", expected=0)
    except Conflict:
        return  # another process was faster, with the same file


class SiteWatch:
    """Keeps the version in force; whoever asks or subscribed gets a change within `poll_s`.

    A version that this software cannot read (stored by a newer one) is reported and not applied.
    """

    def __init__(self, sites: Sites, poll_s: float = POLL_S) -> None:
        self._sites, self._poll_s = sites, poll_s
        self._subscribers: list[Callable[[Site], None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="site-watch", daemon=True)
        self._current = self._load()

    @property
    def current(self) -> tuple[int, Site]:
        """The version in force and its document, of one moment."""
        return self._current

    @property
    def site(self) -> Site:
        """The configuration in force."""
        return self._current[1]

    @property
    def version(self) -> int:
        """Its number."""
        return self._current[0]

    def subscribe(self, apply: Callable[[Site], None]) -> None:
        """Have `apply` called with each new version, in the watch's thread."""
        self._subscribers.append(apply)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling and wait for a change that is being applied."""
        self._stop.set()
        self._thread.join()

    def _load(self) -> tuple[int, Site]:
        """Read and validate the version in force."""
        found = self._sites.current()
        if found is None:
            return 0, Site()
        return found.version, site_of(found.document, f"site configuration version {found.version}")

    def _run(self) -> None:
        refused = 0  # a version that was reported once and is not applied
        while not self._stop.wait(self._poll_s):
            try:
                newest = self._sites.version()
                if newest not in (self.version, refused):
                    self._apply()
            except ConfigError as error:
                refused = newest
                logger.exception("site_version_unusable", version=newest, reason=str(error))
            except StoreUnavailable as error:
                logger.warning("site_poll_failed", error=error)

    def _apply(self) -> None:
        self._current = self._load()
        logger.info("site_version_applied", version=self.version)
        for apply in self._subscribers:
            try:
                apply(self.site)
            except Exception:
                logger.exception("site_version_not_applied", version=self.version)
