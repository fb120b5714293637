"""Composition root of the `work` role: one Celery solo worker with one loaded model."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gateway import log
from gateway.delivery.result_pdf import result_pdf
from gateway.dispatch.app import make_app
from gateway.dispatch.owners import is_dead, make_owner
from gateway.dispatch.sweeper import Sweeper
from gateway.dispatch.wake import Wakeups
from gateway.dispatch.worker import run_worker, time_limit
from gateway.policy import least
from gateway.roles.active_model import ActiveModel, InUse
from gateway.roles.model import load_scorer
from gateway.roles.process import Role
from gateway.roles.site_values import result_site
from gateway.scoring import Terms, score_one
from gateway.store import EcgRow

if TYPE_CHECKING:
    from inference.runtime.maps import MapNetwork
    from inference.score import Scored, Scorer

HUNG_LEASES = 2.0
"""A worker that holds one ECG for so many leases hangs; others may take it after the first."""


def work(role: Role) -> None:
    """Score until told to stop; the ECG in hand is finished first."""
    told = role.settings.worker
    model = ActiveModel(role.site, partial(load_scorer, role.settings), role.tell)
    role.site.subscribe(model.follow)
    model.follow()  # a version that came while the first bundle was loading
    wakeups = Wakeups(role.settings.broker_url)
    role.closing.callback(wakeups.close)
    owner = make_owner(role.name)

    def score(ecg_id: str) -> None:
        in_use = model.in_use
        with time_limit(HUNG_LEASES * told.lease_s):
            score_one(
                ecg_id,
                store=role.store,
                scorer=in_use.scorer,
                site=terms_of(role, in_use, model.maps_of),
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


def terms_of(role: Role, model: InUse, maps: Callable[[Scorer], MapNetwork]) -> Terms:
    """Give the site's terms of this moment, but of the bundle in use what was said of that one.

    While the site names another bundle, loading or unusable, results go as far as both may.
    """
    version, site = role.site.current
    results = result_site(site, version)
    results = replace(results, mode=least(results.mode, model.mode))

    def draw(ecg: EcgRow, scored: Scored) -> bytes:
        looked = maps(model.scorer).of(scored.prepared.steps.input)
        return result_pdf(ecg, results, scored.prepared, looked)

    return Terms(results, model.threshold, model.scorer.bundle.validated, draw)
