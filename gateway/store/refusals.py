"""Refusals: who was turned away, when and why."""

from __future__ import annotations

import sqlalchemy as sa

from gateway.store.engine import Database
from gateway.store.rows import RefusalRow
from gateway.store.tables import refusals

KEPT = 10_000
"""Rows kept; a scanner that knocks all night fills no disk."""


class Refusals:
    """The list behind the question: why was that cart refused?"""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, protocol: str, peer: str, address: str, reason: str) -> None:
        """Note one refusal.

        Args:
            protocol: `dicom` or `hl7`.
            peer: calling AE title, or MSH-3^MSH-4.
            address: network address.
            reason: a stable code.
        """
        values = {
            "at": self._db.now(),
            "protocol": protocol,
            "peer": peer,
            "address": address,
            "reason": reason,
        }
        with self._db.write() as tx:
            number = tx.execute(sa.insert(refusals).values(values).returning(refusals.c.id))
            tx.execute(sa.delete(refusals).where(refusals.c.id <= number.scalar_one() - KEPT))

    def recent(self, limit: int) -> list[RefusalRow]:
        """List the newest first."""
        query = sa.select(refusals).order_by(refusals.c.id.desc()).limit(limit)
        with self._db.read() as tx:
            return [
                RefusalRow(row.at, row.protocol, row.peer, row.address, row.reason)
                for row in tx.execute(query)
            ]
