"""The truth: what was accepted, what came of it, and what was told to whom.

`open_store` gives one `Store` per process. Each room of it answers questions by intent; every
call is one short transaction and may be made from any thread.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from gateway.store.blobs import Blobs
from gateway.store.deliveries import Deliveries
from gateway.store.ecgs import Ecgs
from gateway.store.encounters import Encounters
from gateway.store.engine import Clock, Database, utc_now
from gateway.store.messages import Messages
from gateway.store.migrate import migrate
from gateway.store.refusals import Refusals
from gateway.store.rows import (
    DeliveryRow,
    EcgRow,
    EncounterRow,
    EventRow,
    MessageRow,
    NewDelivery,
    Outcome,
    RefusalRow,
    SiteVersion,
)
from gateway.store.site import Sites

__all__ = [
    "Blobs",
    "DeliveryRow",
    "EcgRow",
    "EncounterRow",
    "EventRow",
    "MessageRow",
    "NewDelivery",
    "Outcome",
    "RefusalRow",
    "SiteVersion",
    "Store",
    "open_store",
]


class Store:
    """The database and the blobs of one gateway.

    Attributes:
        blobs: original bytes, images, messages.
        ecgs, deliveries, encounters, messages, refusals, site: one room per subject.
    """

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._db = database
        self.blobs = blobs
        self.ecgs = Ecgs(database)
        self.deliveries = Deliveries(database)
        self.encounters = Encounters(database)
        self.messages = Messages(database)
        self.refusals = Refusals(database)
        self.site = Sites(database)

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StoreUnavailable: it gives none.
        """
        with self._db.read() as tx:
            tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()

    def close(self) -> None:
        """Close every connection; the store is not used after it."""
        self._db.close()


def open_store(
    url: str, blobs_dir: Path, *, disk_reserve_mb: int = 0, now: Clock = utc_now
) -> Store:
    """Open the store and bring its schema to head.

    Args:
        url: `sqlite:///FILE` or `postgresql://...`.
        blobs_dir: directory of the blobs.
        disk_reserve_mb: free disk in MB below which no blob is taken.
        now: the clock, aware UTC; tests pass their own.

    Raises:
        StoreUnavailable: database or directory cannot be used.
    """
    database = Database(url, now)
    try:
        migrate(database)
        return Store(database, Blobs(blobs_dir, disk_reserve_mb))
    except BaseException:
        database.close()
        raise
