"""Composition root of the `work` role: one Celery solo worker with one loaded model."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from config.site import Site
from gateway import log
from gateway.delivery.result_pdf import result_pdf
from gateway.dispatch.app import make_app
from gateway.dispatch.owners import is_dead, make_owner
from gateway.dispatch.sweeper import Sweeper
from gateway.dispatch.wake import Wakeups
from gateway.dispatch.worker import run_worker, time_limit
from gateway.roles.model import load_scorer
from gateway.roles.process import Misconfigured, Role
from gateway.roles.site_values import result_site
from gateway.scoring import Terms, score_one
from gateway.store import EcgRow
from inference.errors import InferenceError

if TYPE_CHECKING:
    from inference.runtime.maps import MapNetwork
    from inference.score import Scored, Scorer

HUNG_LEASES = 2.0
"""A worker that holds one ECG for so many leases hangs; others may take it after the first."""

logger = structlog.get_logger("gateway.work")


class ActiveModel:
    """The loaded bundle; another one takes its place when the site names it and it can be used.

    Its maps, for result PDFs, are loaded with it where a destination embeds them, so that no alert
    waits for that.
    """

    def __init__(self, role: Role) -> None:
        """Load the bundle that the site names.

        Raises:
            Misconfigured: it cannot be used; the message says why.
        """
        self._role = role
        self._name = role.site.site.model.bundle
        try:
            self.scorer: Scorer = load_scorer(role.settings, self._name)
        except InferenceError as error:
            raise Misconfigured(f"model.bundle = {self._name!r}: {error}") from error
        self.maps_of = lru_cache(maxsize=1)(maps_of)
        self._expect_maps(role.site.site)

    def follow(self, site: Site) -> None:
        """Do as the site says: another bundle, or maps where none were wanted."""
        self._use(site.model.bundle)
        self._expect_maps(site)

    def _expect_maps(self, site: Site) -> None:
        if not any(destination.pdf == "embed" for destination in site.destinations):
            return
        try:
            self.maps_of(self.scorer)
        except InferenceError:
            logger.exception("maps_not_usable", bundle=self._name)

    def _use(self, name: str) -> None:
        """Load another bundle; the old one stays when that fails."""
        if name == self._name:
            return
        try:
            self.scorer = load_scorer(self._role.settings, name)
        except InferenceError:
            logger.exception("bundle_not_usable", bundle=name, in_use=self._name)
            return
        self._name = name
        logger.info("bundle_in_use", bundle=name)


def work(role: Role) -> None:
    """Score until told to stop; the ECG in hand is finished first."""
    told = role.settings.worker
    model = ActiveModel(role)
    role.site.subscribe(model.follow)
    wakeups = Wakeups(role.settings.broker_url)
    role.closing.callback(wakeups.close)
    owner = make_owner(role.name)

    def score(ecg_id: str) -> None:
        scorer = model.scorer
        with time_limit(HUNG_LEASES * told.lease_s):
            score_one(
                ecg_id,
                store=role.store,
                scorer=scorer,
                site=terms_of(role, scorer, model.maps_of),
                owner=owner,
                lease_s=told.lease_s,
                max_attempts=told.max_attempts,
                wake_couriers=wakeups.deliver,
            )

    app = make_app(role.settings.broker_url, score, visibility_timeout_s=told.lease_s)
    log.close_libraries()
    sweeper = Sweeper(role.store.ecgs, wakeups, is_dead, told.sweep_s)

    def ready() -> None:
        role.ready()
        if role.stop.is_set():  # told to stop while the model was loading
            signal.raise_signal(signal.SIGTERM)

    if not role.stop.is_set():
        run_worker(app, sweeper, ready, f"{role.name}@{socket.gethostname()}")


def maps_of(scorer: Scorer) -> MapNetwork:
    """Load the maps of a scorer's bundle."""
    from inference.runtime.maps import MapNetwork  # noqa: PLC0415 - loads a model runtime

    return MapNetwork(scorer.bundle)


def terms_of(role: Role, scorer: Scorer, maps: Callable[[Scorer], MapNetwork]) -> Terms:
    """Give the site's terms of this moment."""
    version, site = role.site.current
    results = result_site(site, version)

    def draw(ecg: EcgRow, scored: Scored) -> bytes:
        looked = maps(scorer).of(scored.prepared.steps.input)
        return result_pdf(ecg, results, scored.prepared, looked)

    return Terms(results, site.alert.threshold, scorer.bundle.validated, draw)
