"""The truth: what was accepted, what came of it, and what was told to whom.

`open_store` gives one `Store` per process. Each room of it answers questions by intent; every
call is one short transaction and may be made from any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from gateway.store.blobs import Blob, Blobs
from gateway.store.deliveries import Deliveries
from gateway.store.ecgs import Ecgs
from gateway.store.encounters import Encounters
from gateway.store.engine import Clock, Database, utc_now
from gateway.store.files import Files
from gateway.store.messages import Messages
from gateway.store.migrate import migrate
from gateway.store.outbox import Outbox
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
    "Blob",
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
        ecgs, deliveries, outbox, encounters, messages, refusals, site: one room per subject.
        disk: where the files are, and what of it stays free.
    """

    def __init__(self, database: Database, files: Files) -> None:
        self._db = database
        self.disk = files.disk
        self.blobs = Blobs(database, files)
        self.ecgs = Ecgs(database)
        self.deliveries = Deliveries(database)
        self.outbox = Outbox(database)
        self.encounters = Encounters(database)
        self.messages = Messages(database)
        self.refusals = Refusals(database)
        self.site = Sites(database)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction of all that this thread asks of the store inside.

        It is on disk at the end. On any error nothing of it is, so an error of the store must not
        be caught inside; what is slow (files, parsing) belongs before it, for others wait.

        Raises:
            StoreUnavailable: the commit failed.
        """
        with self._db.write():
            yield

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
        return Store(database, Files(blobs_dir, disk_reserve_mb))
    except BaseException:
        database.close()
        raise
