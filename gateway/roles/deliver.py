"""Composition root of the `deliver` role: couriers to the site's destinations."""

from __future__ import annotations

import time
from functools import partial

import structlog

from config.site import Site
from gateway import identity
from gateway.delivery.courier import Lease, Rules, Ruling
from gateway.delivery.destination import Destination
from gateway.delivery.pool import CourierPool, utc_now
from gateway.delivery.prepare import RESULT_PDF, ResultSite, prepare_late
from gateway.dispatch.owners import is_dead, make_owner
from gateway.dispatch.wake import Wakeups
from gateway.errors import BlobLost, StoreUnavailable
from gateway.policy import interrupts, reaches
from gateway.roles.process import Role
from gateway.roles.site_values import destinations, reached, result_site
from gateway.store import DeliveryRow, EcgRow, NewDelivery, Store

STOP_S = 5.0
BURY_S = 10.0
"""How often in seconds to look for deliveries that the site, as it is now, no longer sends."""
REMOVED = "destination-removed"

logger = structlog.get_logger("gateway.deliver")


def deliver(role: Role) -> None:
    """Deliver until told to stop; the messages in flight are finished first.

    One thread starts, replaces and wakes the couriers, so a changed site is applied between two
    wake-ups: within the poll of the watch and of the settings.
    """
    told = role.settings.deliver
    wakeups = Wakeups(role.settings.broker_url)
    role.closing.callback(wakeups.close)
    pool = CourierPool(
        role.store,
        lease=Lease(make_owner(role.name), told.lease_s),
        poll_s=told.poll_s,
        rules=Rules(
            instead=partial(late, role),
            on=partial(ruling, role),
        ),
    )
    role.closing.callback(pool.stop, STOP_S)
    role.store.outbox.free_dead(is_dead)  # what our predecessor held when it was killed
    applied, bury_at = -1, 0.0
    while not role.stop.is_set():
        version, site = role.site.current
        if version != applied:
            pool.apply(reached(site))
            if applied < 0:
                role.ready()
            applied, bury_at = version, 0.0
        if time.monotonic() >= bury_at:
            bury(role, site, version)
            bury_at = time.monotonic() + BURY_S
        if wakeups.wait_deliver(min(told.poll_s, 0.5)):
            pool.wake()


def bury(role: Role, site: Site, version: int) -> None:
    """Make dead letters of what waits for destinations that the site no longer has or reaches.

    A worker may be a moment behind or ahead of us: what it queued for a destination that was just
    removed is found the next time, and what it queued for one that was just added is left alone,
    because only the version in force decides, read after what it would bury was seen.
    """
    try:
        _give_up_others(role, destinations(site), REMOVED, version)
        _give_up_others(role, reached(site), f"mode-{site.model.mode}", version)
    except StoreUnavailable as error:
        logger.warning("deliveries_not_examined", error=error)


def _give_up_others(role: Role, served: tuple[Destination, ...], reason: str, version: int) -> None:
    """Make dead letters of what waits for anybody but these."""
    names = {destination.name for destination in served}
    while astray := role.store.deliveries.astray(names):
        if role.store.site.version() != version or role.stop.is_set():
            return
        buried = role.store.deliveries.give_up(astray, reason)
        logger.error("deliveries_given_up", reason=reason, dead=buried, version=version)


def late(role: Role, delivery: DeliveryRow) -> NewDelivery | None:
    """Give the plain result that takes the place of an alert that must not go any more."""
    ecg, site = _of(role, delivery)
    return prepare_late(
        ecg,
        delivery.destination,
        site,
        keep=partial(role.store.blobs.put, into_reserve=True),
        now=utc_now(),
        pdf=kept_pdf(role.store, ecg),
    )


def kept_pdf(store: Store, ecg: EcgRow) -> bytes:
    """Give the result PDF that was made with the score; empty when none was or it is lost."""
    digest = ecg.images.get(RESULT_PDF)
    try:
        return store.blobs.get(digest) if digest else b""
    except BlobLost as error:
        logger.warning("pdf.not_found", ecg=ecg.id, error=error)
        return b""


def ruling(role: Role, delivery: DeliveryRow, destination: Destination) -> Ruling:
    """Say what site and ADT, as they are now, let go of what waits."""
    ecg, site = _of(role, delivery)
    mode, test = site.mode_of(ecg.source), destination.test
    if not reaches(mode, test=test):
        return Ruling(f"mode-{mode.value}")
    word = identity.newest_word(site.completed(ecg), role.store.encounters)
    return Ruling(word.doubt, interrupts(mode, test=test), word.merged)


def _of(role: Role, delivery: DeliveryRow) -> tuple[EcgRow, ResultSite]:
    version, site = role.site.current
    return role.store.ecgs.get(delivery.ecg_id), result_site(site, version)
