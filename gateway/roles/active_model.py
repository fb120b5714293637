"""The bundle that a worker scores with, and what the site said of it, replaced together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from config.site import Site
from gateway.log import describe
from gateway.policy import Mode
from gateway.roles.process import Misconfigured
from gateway.roles.site_watch import SiteWatch
from inference.errors import InferenceError

if TYPE_CHECKING:
    from inference.runtime.maps import MapNetwork
    from inference.score import Scorer

logger = structlog.get_logger("gateway.work")


@dataclass(frozen=True, slots=True, eq=False)
class InUse:
    """A loaded bundle with what the site said of this one: neither is right without the other.

    Attributes:
        name: the bundle's, as the site names it.
        scorer: the bundle on a runtime.
        threshold: the site's own decision threshold; None takes the bundle's.
        mode: how far the site lets its results go.
    """

    name: str
    scorer: Scorer
    threshold: float | None
    mode: Mode


class ActiveModel:
    """The bundle in use; another one takes its place when the site names it and it can be used.

    Until then, and when that fails, the old one goes on under its own threshold. Maps, for result
    PDFs, are loaded with it where a destination embeds them, so that no alert waits for that.
    """

    def __init__(
        self, watch: SiteWatch, load: Callable[[str], Scorer], tell: Callable[[str], None]
    ) -> None:
        """Load the bundle that the site names.

        Args:
            watch: the site in force.
            load: loads a bundle by name.
            tell: takes what is not as the site says, for people; empty when all is.

        Raises:
            Misconfigured: it cannot be used; the message says why.
        """
        self._watch, self._load, self._tell = watch, load, tell
        self._following = threading.Lock()
        site = watch.site
        name = site.model.bundle
        try:
            self.in_use = _pair(site, load(name))
        except InferenceError as error:
            raise Misconfigured(f"model.bundle = {name!r}: {error}") from error
        self.maps_of = lru_cache(maxsize=1)(maps_of)
        self._expect_maps(site)

    def follow(self, _: Site | None = None) -> None:
        """Do as the newest version of the site says: bundle, threshold, mode, maps."""
        with self._following:
            site = self._watch.site
            self._use(site)
            self._expect_maps(site)

    def _expect_maps(self, site: Site) -> None:
        if not any(destination.pdf == "embed" for destination in site.destinations):
            return
        try:
            self.maps_of(self.in_use.scorer)
        except InferenceError:
            logger.exception("maps_not_usable", bundle=self.in_use.name)

    def _use(self, site: Site) -> None:
        """Put in use what the site says; bundle, threshold and mode stay when that fails."""
        wanted, now = site.model.bundle, self.in_use
        if wanted == now.name:
            self.in_use = _pair(site, now.scorer)
        else:
            try:
                self.in_use = _pair(site, self._load(wanted))
            except Exception as error:
                logger.exception("bundle_not_usable", bundle=wanted, in_use=now.name)
                self._tell(
                    f"model.bundle = {wanted!r} cannot be used ({describe(error)}); {now.name!r} "
                    "goes on, under the threshold that the site gave with it"
                )
                return
            logger.info("bundle_in_use", bundle=wanted)
        self._tell("")


def _pair(site: Site, scorer: Scorer) -> InUse:
    return InUse(site.model.bundle, scorer, site.alert.threshold, Mode(site.model.mode))


def maps_of(scorer: Scorer) -> MapNetwork:
    """Load the maps of a scorer's bundle."""
    from inference.runtime.maps import MapNetwork  # noqa: PLC0415 - loads a model runtime

    return MapNetwork(scorer.bundle)
