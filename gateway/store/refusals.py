"""Refusals: who was turned away, when and why."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.engine import Database
from gateway.store.rows import RefusalRow
from gateway.store.tables import refusals

KEPT = 1_000
"""Rows kept; a scanner that knocks under ever new names fills no disk."""

_WHO_AND_WHY = ("protocol", "peer", "address", "reason")


class Refusals:
    """The list behind the question: why was that cart refused?"""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, protocol: str, peer: str, address: str, reason: str) -> None:
        """Note one refusal; one that says the same as an earlier one is counted there.

        Args:
            protocol: `dicom` or `hl7`.
            peer: calling AE title, or MSH-3^MSH-4.
            address: network address.
            reason: a stable code.
        """
        now = self._db.now()
        insert = (sqlite if self._db.is_sqlite else postgresql).insert(refusals)
        said_before = insert.on_conflict_do_update(
            index_elements=_WHO_AND_WHY, set_={"at": now, "times": refusals.c.times + 1}
        )
        values = {
            "first_at": now,
            "at": now,
            "times": 1,
            "protocol": protocol,
            "peer": peer,
            "address": address,
            "reason": reason,
        }
        with self._db.note() as tx:  # one that a power cut takes away harms nobody
            row = tx.execute(said_before.values(values).returning(refusals.c.times)).one()
            if row.times == 1:
                self._drop_oldest(tx)

    def recent(self, limit: int) -> list[RefusalRow]:
        """List the newest first."""
        query = sa.select(refusals).order_by(refusals.c.at.desc(), refusals.c.id.desc())
        with self._db.read() as tx:
            return [
                RefusalRow(
                    at=row.at,
                    protocol=row.protocol,
                    peer=row.peer,
                    address=row.address,
                    reason=row.reason,
                    first_at=row.first_at,
                    times=row.times,
                )
                for row in tx.execute(query.limit(limit))
            ]

    def _drop_oldest(self, tx: sa.Connection) -> None:
        newest = sa.select(refusals.c.id).order_by(refusals.c.at.desc(), refusals.c.id.desc())
        tx.execute(sa.delete(refusals).where(refusals.c.id.in_(newest.offset(KEPT))))
