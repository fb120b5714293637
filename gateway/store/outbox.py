"""The outbox: what couriers may do to deliveries, in order per patient, under a lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.ecg import DeliveryState, State
from gateway.store.engine import Database
from gateway.store.events import add_event
from gateway.store.rows import DeliveryRow, NewDelivery
from gateway.store.tables import OPEN, deliveries, ecgs

FREE: dict[str, Any] = {"lease_owner": "", "lease_until": None}
"""Values of a delivery that nobody holds."""

_NAME = (deliveries.c.destination, deliveries.c.control_id)
_NOT_TAKEN = frozenset(
    {
        DeliveryState.REJECTED.value,
        DeliveryState.DEAD.value,
        DeliveryState.EXPIRED.value,
        DeliveryState.DISMISSED.value,
    }
)
"""States of a delivery that ended without the destination having said that it has it."""


def insert_deliveries(
    tx: Connection, ecg_id: str, new: Sequence[NewDelivery], now: datetime
) -> None:
    """Write new deliveries as part of the transaction that writes their result.

    A message that this destination was told before, when the ECG was scored for the first time,
    is not told again. One that it never took goes out as it reads now, in the place of the old.
    """
    query = sa.select(deliveries.c.id, deliveries.c.state, *_NAME)
    rows = tx.execute(query.where(deliveries.c.ecg_id == ecg_id))
    known = {(row.destination, row.control_id): row for row in rows}
    for delivery in new:
        before = known.get((delivery.destination, delivery.control_id))
        values = _queued(delivery, ecg_id, now)
        if before is None:
            what = "queued"
            tx.execute(sa.insert(deliveries).values(values))
        elif before.state in _NOT_TAKEN:
            what = "queued again"
            tx.execute(sa.update(deliveries).where(deliveries.c.id == before.id).values(values))
        else:
            what = "told before"
        add_event(tx, ecg_id, now, f"{delivery.kind} {what}", delivery.destination)


def _queued(delivery: NewDelivery, ecg_id: str, now: datetime) -> dict[str, Any]:
    """Give the values of a delivery that waits for its first attempt."""
    return {
        **asdict(delivery),
        "ecg_id": ecg_id,
        "state": DeliveryState.PENDING.value,
        "attempts": 0,
        "next_attempt_at": now,
        "last_error": "",
        "ack_digest": "",
        "created_at": now,
        "sent_at": None,
        **FREE,
    }


class Outbox:
    """The couriers' side of deliveries.

    `mark_sent` and everything that ends an attempt return False, and change nothing, when the
    delivery's lease is no longer the caller's.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def claim_next(
        self, destination: str, owner: str, lease_s: float, now: datetime
    ) -> DeliveryRow | None:
        """Take the oldest delivery that is due and whose patient has no earlier open one there.

        Args:
            destination: name of the destination.
            owner: who takes it; no other process or thread has this name.
            lease_s: seconds after which another may take it.
            now: the caller's clock, aware.

        Returns:
            The delivery with `attempts` already counting this one; None when nothing is due.
        """
        query = (
            sa.select(deliveries.c.id)
            .where(
                _first_in_line(destination),
                deliveries.c.next_attempt_at <= now,
                held_by_nobody(now),
            )
            .order_by(deliveries.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._db.note() as tx:
            found = tx.execute(query).scalar_one_or_none()
            if found is None:
                return None
            change = (
                sa.update(deliveries)
                .where(deliveries.c.id == found)
                .values(
                    attempts=deliveries.c.attempts + 1,
                    lease_owner=owner,
                    lease_until=now + timedelta(seconds=lease_s),
                )
                .returning(*deliveries.c)
            )
            return delivery_of(tx.execute(change).one())

    def next_due(self, destination: str) -> datetime | None:
        """Tell when the next delivery there can be claimed; None when none is open.

        A time in the past means now.
        """
        due = sa.case(
            (deliveries.c.lease_until > deliveries.c.next_attempt_at, deliveries.c.lease_until),
            else_=deliveries.c.next_attempt_at,
        )
        query = sa.select(sa.type_coerce(sa.func.min(due), deliveries.c.next_attempt_at.type))
        with self._db.read() as tx:
            found: datetime | None = tx.execute(
                query.where(_first_in_line(destination))
            ).scalar_one()
        return found

    def rename(self, delivery_id: int, owner: str, payload: str, patient_key: str) -> bool:
        """Let it carry another message, whose patient has another identifier by now."""
        values = {"payload": payload, "patient_key": patient_key}
        with self._db.write() as tx:
            what = "patient merged"
            return self._change(tx, delivery_id, owner, values, what, "") is not None

    def mark_sent(self, delivery_id: int, owner: str) -> bool:
        """Note that the message may be on the wire from now on."""
        now = self._db.now()
        with self._db.note() as tx:
            values = {"state": DeliveryState.SENT.value, "sent_at": now}
            return self._change(tx, delivery_id, owner, values, "sent", "") is not None

    def acknowledge(self, delivery_id: int, owner: str, ack_digest: str) -> bool:
        """Note that the peer has it; the last open one of a `scored` ECG makes it `reported`."""
        now = self._db.now()
        with self._db.write() as tx:
            values = {
                "state": DeliveryState.ACKNOWLEDGED.value,
                "acknowledged_at": now,
                "ack_digest": ack_digest,
                "last_error": "",
                **FREE,
            }
            ecg_id = self._change(tx, delivery_id, owner, values, "acknowledged", "")
            if ecg_id is None:
                return False
            settle(tx, ecg_id, now)
        return True

    def retry(self, delivery_id: int, owner: str, at: datetime, error: str) -> bool:
        """Put it back until `at`; the outcome of this attempt is unknown or the peer was busy."""
        values = {"state": DeliveryState.PENDING.value, "next_attempt_at": at, "last_error": error}
        return self._end(delivery_id, owner, values, "retry", error)

    def reject(self, delivery_id: int, owner: str, ack_digest: str, error: str) -> bool:
        """Dead-letter it: the peer answered that it will never take it."""
        values = {
            "state": DeliveryState.REJECTED.value,
            "ack_digest": ack_digest,
            "last_error": error,
        }
        return self._end(delivery_id, owner, values, "rejected", error)

    def dead(self, delivery_id: int, owner: str, error: str) -> bool:
        """Dead-letter it: given up by policy."""
        return self._end(
            delivery_id,
            owner,
            {"state": DeliveryState.DEAD.value, "last_error": error},
            "dead",
            error,
        )

    def expire(self, delivery_id: int, owner: str, instead: NewDelivery | None = None) -> bool:
        """Hold it as late: its deadline passed before the peer had it.

        Args:
            delivery_id: which one.
            owner: who holds it.
            instead: what its destination is told now; queued in the same transaction.
        """
        values = {"state": DeliveryState.EXPIRED.value, **FREE}
        with self._db.write() as tx:
            ecg_id = self._change(tx, delivery_id, owner, values, "expired", "")
            if ecg_id is None:
                return False
            if instead is not None:
                insert_deliveries(tx, ecg_id, [instead], self._db.now())
        return True

    def free_dead(self, is_dead: Callable[[str], bool]) -> int:
        """Free what a holder that is known to be dead had claimed, before its lease runs out.

        Args:
            is_dead: tells of a lease owner whether it is surely gone.

        Returns:
            How many deliveries were freed.
        """
        held = sa.select(deliveries.c.id, deliveries.c.lease_owner).where(
            deliveries.c.state.in_(OPEN), deliveries.c.lease_owner != ""
        )
        with self._db.read() as tx:
            dead = [row for row in tx.execute(held) if is_dead(row.lease_owner)]
        for row in dead:
            change = sa.update(deliveries).where(
                deliveries.c.id == row.id, deliveries.c.lease_owner == row.lease_owner
            )
            with self._db.note() as tx:
                tx.execute(change.values(**FREE))
        return len(dead)

    def _end(
        self, delivery_id: int, owner: str, values: dict[str, Any], what: str, error: str
    ) -> bool:
        with self._db.write() as tx:
            values = {**values, **FREE}
            return self._change(tx, delivery_id, owner, values, what, error) is not None

    def _change(
        self,
        tx: Connection,
        delivery_id: int,
        owner: str,
        values: dict[str, Any],
        what: str,
        error: str,
    ) -> str | None:
        change = (
            sa.update(deliveries)
            .where(
                deliveries.c.id == delivery_id,
                deliveries.c.lease_owner == owner,
                deliveries.c.state.in_(OPEN),
            )
            .values(**values)
            .returning(deliveries.c.ecg_id, deliveries.c.destination)
        )
        row = tx.execute(change).one_or_none()
        if row is None:
            return None
        detail = f"{row.destination}: {error}" if error else row.destination
        add_event(tx, row.ecg_id, self._db.now(), what, detail)
        return str(row.ecg_id)


def settle(tx: Connection, ecg_id: str, now: datetime) -> None:
    """End a `scored` ECG nothing of which is open or held any more.

    It is `reported` once somebody has it, `dismissed` where a person dealt with all of it.
    """
    scored = sa.and_(ecgs.c.id == ecg_id, ecgs.c.state == State.SCORED.value)
    # The lock makes two couriers that acknowledge at once see one another.
    if tx.execute(sa.select(ecgs.c.id).where(scored).with_for_update()).first() is None:
        return
    query = sa.select(deliveries.c.state).where(deliveries.c.ecg_id == ecg_id, ~_told_late())
    states = set(tx.execute(query.distinct()).scalars())
    if not states <= {DeliveryState.ACKNOWLEDGED.value, DeliveryState.DISMISSED.value}:
        return
    told = DeliveryState.ACKNOWLEDGED.value in states
    state = State.REPORTED if told else State.DISMISSED
    tx.execute(sa.update(ecgs).where(scored).values(state=state.value, state_at=now))
    if told:  # of the dismissal its timeline says already who did it
        add_event(tx, ecg_id, now, state.value, "")


def held_by_nobody(now: datetime) -> sa.ColumnElement[bool]:
    """Whether no courier holds a delivery, or none any more."""
    return sa.or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now)


def _first_in_line(destination: str) -> sa.ColumnElement[bool]:
    earlier = deliveries.alias()
    waits = (
        sa.select(earlier.c.id)
        .where(
            earlier.c.destination == deliveries.c.destination,
            earlier.c.patient_key == deliveries.c.patient_key,
            earlier.c.patient_key != "",
            earlier.c.id < deliveries.c.id,
            earlier.c.state.in_(OPEN),
        )
        .correlate(deliveries)
    )
    return sa.and_(
        deliveries.c.destination == destination,
        deliveries.c.state.in_(OPEN),
        ~waits.exists(),
    )


def _told_late() -> sa.ColumnElement[bool]:
    """Whether another delivery to the same destination has taken the place of an expired one."""
    later = deliveries.alias()
    successor = (
        sa.select(later.c.id)
        .where(
            later.c.ecg_id == deliveries.c.ecg_id,
            later.c.destination == deliveries.c.destination,
            later.c.id != deliveries.c.id,
            # One that took the place of an older message of the same kind has its number.
            sa.or_(later.c.id > deliveries.c.id, later.c.created_at > deliveries.c.created_at),
        )
        .correlate(deliveries)
    )
    expired = deliveries.c.state == DeliveryState.EXPIRED.value
    return sa.and_(expired, successor.exists())


def delivery_of(row: sa.Row[Any]) -> DeliveryRow:
    """Turn a row of the table into its value."""
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["state"] = DeliveryState(row.state)
    return DeliveryRow(**values)
