"""Deliveries as people look at them: what was told to whom, and what waits for a person."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.ecg import DeliveryState
from gateway.store.engine import Database
from gateway.store.events import add_event
from gateway.store.outbox import FREE, delivery_of, held_by_nobody
from gateway.store.rows import DeliveryRow
from gateway.store.tables import OPEN, deliveries

_RESENDABLE = (DeliveryState.REJECTED.value, DeliveryState.DEAD.value)
_HELD_FOR_A_PERSON = (*_RESENDABLE, DeliveryState.EXPIRED.value)


def dismiss_dead_letters(tx: Connection, ecg_id: str) -> int:
    """Take what no destination took of an ECG off the list; give how many there were."""
    change = sa.update(deliveries).where(
        deliveries.c.ecg_id == ecg_id, deliveries.c.state.in_(_RESENDABLE)
    )
    return tx.execute(change.values(state=DeliveryState.DISMISSED.value)).rowcount


class Deliveries:
    """What people may ask of deliveries and decide about them; couriers have the outbox."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def astray(self, destinations: Collection[str], limit: int = 500) -> list[int]:
        """List open deliveries, held by nobody, to destinations other than these; oldest first."""
        query = sa.select(deliveries.c.id).where(
            deliveries.c.destination.not_in(destinations),
            deliveries.c.state.in_(OPEN),
            held_by_nobody(self._db.now()),
        )
        with self._db.read() as tx:
            return list(tx.execute(query.order_by(deliveries.c.id).limit(limit)).scalars())

    def give_up(self, delivery_ids: Collection[int], error: str) -> int:
        """Dead-letter open deliveries that nobody holds.

        Returns:
            How many were.
        """
        now = self._db.now()
        change = (
            sa.update(deliveries)
            .where(
                deliveries.c.id.in_(delivery_ids),
                deliveries.c.state.in_(OPEN),
                held_by_nobody(now),
            )
            .values(state=DeliveryState.DEAD.value, last_error=error, **FREE)
            .returning(deliveries.c.ecg_id, deliveries.c.destination)
        )
        with self._db.write() as tx:
            rows = tx.execute(change).all()
            for row in rows:
                add_event(tx, row.ecg_id, now, "dead", f"{row.destination}: {error}")
        return len(rows)

    def resend(self, delivery_id: int) -> bool:
        """Queue a rejected or dead delivery again, with the same bytes and ids.

        An expired one would expire again: its late result is a delivery of its own.
        """
        now = self._db.now()
        change = (
            sa.update(deliveries)
            .where(deliveries.c.id == delivery_id, deliveries.c.state.in_(_RESENDABLE))
            .values(
                state=DeliveryState.PENDING.value,
                attempts=0,
                next_attempt_at=now,
                last_error="",
                **FREE,
            )
            .returning(deliveries.c.ecg_id, deliveries.c.destination)
        )
        with self._db.write() as tx:
            row = tx.execute(change).one_or_none()
            if row is not None:
                add_event(tx, row.ecg_id, now, "resend", row.destination)
        return row is not None

    def get(self, delivery_id: int) -> DeliveryRow:
        """Give one delivery.

        Raises:
            KeyError: there is none of that id.
        """
        with self._db.read() as tx:
            query = sa.select(deliveries).where(deliveries.c.id == delivery_id)
            row = tx.execute(query).one_or_none()
        if row is None:
            raise KeyError(delivery_id)
        return delivery_of(row)

    def of_ecg(self, ecg_id: str) -> list[DeliveryRow]:
        """List the deliveries of an ECG, oldest first."""
        query = sa.select(deliveries).where(deliveries.c.ecg_id == ecg_id)
        return self._list(query.order_by(deliveries.c.id))

    def dead_letters(self, limit: int) -> list[DeliveryRow]:
        """List what a person has to look at (rejected, expired, dead), newest first."""
        query = sa.select(deliveries).where(deliveries.c.state.in_(_HELD_FOR_A_PERSON))
        return self._list(query.order_by(deliveries.c.id.desc()).limit(limit))

    def counts(self) -> dict[tuple[str, DeliveryState], int]:
        """Count by destination and state; only pairs that exist."""
        key = (deliveries.c.destination, deliveries.c.state)
        query = sa.select(*key, sa.func.count()).group_by(*key)
        with self._db.read() as tx:
            return {(name, DeliveryState(state)): n for name, state, n in tx.execute(query)}

    def count_overdue(self, older_than_s: float) -> int:
        """Count what was queued longer ago and no destination has taken yet."""
        before = self._db.now() - timedelta(seconds=older_than_s)
        query = sa.select(sa.func.count()).where(
            deliveries.c.state.in_(OPEN), deliveries.c.created_at <= before
        )
        with self._db.read() as tx:
            return int(tx.execute(query).scalar_one())

    def _list(self, query: sa.Select[Any]) -> list[DeliveryRow]:
        with self._db.read() as tx:
            return [delivery_of(row) for row in tx.execute(query)]
