"""ECGs: accepted once, claimed by one worker at a time, finished in one transaction."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.ecg import Arrival, Encounter, MediaType, Order, Receipt, Score, Source, State
from gateway.store.deliveries import dismiss_dead_letters
from gateway.store.engine import Database
from gateway.store.events import add_event
from gateway.store.outbox import insert_deliveries, settle
from gateway.store.rows import EcgRow, EventRow, NewDelivery, Outcome, patient_of
from gateway.store.tables import ecgs, events

# Built once: making such a statement takes Python five times as long as running it.
_INSERT = sa.insert(ecgs)
_OF_IDENTITY = sa.select(ecgs.c.id, ecgs.c.digest, ecgs.c.state).where(
    ecgs.c.identity == sa.bindparam("identity")
)

CONFLICT = "conflict"
"""Why an ECG is quarantined whose identity came before with other bytes."""
IN_DOUBT = "patient-"
"""How every reason begins for which an ECG is quarantined because of its patient."""
_IN_DOUBT_OF = (
    sa.select(ecgs.c.id)
    .where(
        ecgs.c.state == State.QUARANTINED.value,
        ecgs.c.reason.startswith(IN_DOUBT),
        ecgs.c.patient["id"].as_string().in_(sa.bindparam("patient_ids", expanding=True)),
    )
    .with_for_update()
)
_HELD = (State.FAILED.value, State.UNSCORABLE.value, State.QUARANTINED.value)
_RESCORABLE = (*_HELD, State.DISMISSED.value)


def new_id() -> str:
    """Make an ECG id: 32 hex digits, time-ordered and opaque (the layout of UUIDv7, RFC 9562)."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    tail = 0x8000_0000_0000_0000 | secrets.randbits(62)
    return f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}7{fraction:03x}{tail:016x}"


class Ecgs:
    """What may be asked of and done to ECGs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, arrival: Arrival, digest: str) -> Receipt:
        """Record an arrival whose bytes are already durable under `digest`.

        Returns:
            The receipt; `new=False` when this identity with these bytes was here before. The same
            identity with other bytes becomes a row of its own, `quarantined` as `conflict`.

        Raises:
            StoreUnavailable: nothing was recorded.
        """
        with self._db.write() as tx:
            self._db.lock(tx, arrival.identity)
            known = tx.execute(_OF_IDENTITY, {"identity": arrival.identity}).all()
            now = self._db.now()
            for row in known:
                if row.digest == digest:
                    add_event(tx, row.id, now, "duplicate", arrival.source.protocol)
                    return Receipt(row.id, new=False, state=State(row.state))
            state, reason = (State.QUARANTINED, CONFLICT) if known else (State.RECEIVED, "")
            values = _arrival_values(arrival, digest, state, reason, now)
            tx.execute(_INSERT, values)
            add_event(tx, values["id"], now, "received", arrival.source.protocol)
            if state is not State.RECEIVED:
                add_event(tx, values["id"], now, state.value, reason)
            return Receipt(values["id"], new=True, state=state)

    def get(self, ecg_id: str) -> EcgRow:
        """Give one ECG.

        Raises:
            KeyError: there is none of that id.
            StoreUnavailable: the database cannot be read.
        """
        with self._db.read() as tx:
            row = tx.execute(sa.select(ecgs).where(ecgs.c.id == ecg_id)).one_or_none()
        if row is None:
            raise KeyError(ecg_id)
        return _ecg(row)

    def recent(
        self, limit: int, before: str | None = None, state: State | None = None
    ) -> list[EcgRow]:
        """List the newest first; `before` is the id of the last one already seen."""
        query = sa.select(ecgs).order_by(ecgs.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(ecgs.c.id < before)
        if state is not None:
            query = query.where(ecgs.c.state == state.value)
        with self._db.read() as tx:
            return [_ecg(row) for row in tx.execute(query)]

    def count_by_state(self) -> dict[State, int]:
        """Count the ECGs in each state; states that hold none are present with 0."""
        query = sa.select(ecgs.c.state, sa.func.count()).group_by(ecgs.c.state)
        with self._db.read() as tx:
            found = {State(state): count for state, count in tx.execute(query)}
        return {state: found.get(state, 0) for state in State}

    def count_overdue(self, older_than_s: float) -> int:
        """Count what was accepted longer ago and has no outcome, however often it was tried."""
        before = self._db.now() - timedelta(seconds=older_than_s)
        open_states = (State.RECEIVED.value, State.SCORING.value)
        query = sa.select(sa.func.count()).where(
            ecgs.c.state.in_(open_states), ecgs.c.received_at <= before
        )
        with self._db.read() as tx:
            return int(tx.execute(query).scalar_one())

    def claim(self, ecg_id: str, owner: str, lease_s: float) -> EcgRow | None:
        """Take an ECG to score it; None when it is done, held or gone.

        Args:
            ecg_id: which one.
            owner: who takes it; no other process has this name.
            lease_s: seconds after which another worker may take it.
        """
        now = self._db.now()
        free = sa.or_(
            ecgs.c.state == State.RECEIVED.value,
            sa.and_(ecgs.c.state == State.SCORING.value, ecgs.c.lease_until <= now),
        )
        change = (
            sa.update(ecgs)
            .where(ecgs.c.id == ecg_id, free)
            .values(
                state=State.SCORING.value,
                state_at=now,
                attempts=ecgs.c.attempts + 1,
                lease_owner=owner,
                lease_until=now + timedelta(seconds=lease_s),
            )
            .returning(*ecgs.c)
        )
        with self._db.note() as tx:
            row = tx.execute(change).one_or_none()
            if row is None:
                return None
            add_event(tx, ecg_id, now, "scoring", f"attempt {row.attempts}")
        return _ecg(row)

    def finish(
        self, ecg_id: str, owner: str, outcome: Outcome, deliveries: Sequence[NewDelivery]
    ) -> bool:
        """Write what came of it and what is to be told, in one transaction.

        Returns:
            False if the lease is no longer ours; then nothing was written.
        """
        now = self._db.now()
        values: dict[str, Any] = {
            "state": outcome.state.value,
            "reason": outcome.reason,
            "score": asdict(outcome.score) if outcome.score else None,
            "images": dict(outcome.images),
            "guard": dict(outcome.guard),
        }
        if outcome.encounter is not None:
            values["encounter"] = asdict(outcome.encounter)
        with self._db.write() as tx:
            if not self._let_go(tx, ecg_id, owner, now, values):
                return False
            if outcome.compared:
                add_event(tx, ecg_id, now, "patient compared", outcome.compared)
            add_event(tx, ecg_id, now, outcome.state.value, outcome.reason)
            insert_deliveries(tx, ecg_id, deliveries, now)
            if not deliveries:  # or it would look like one that waits to be told
                add_event(tx, ecg_id, now, "nobody told", "")
        return True

    def release(self, ecg_id: str, owner: str, why: str = "", *, counted: bool = True) -> bool:
        """Give an ECG back unscored; the sweeper wakes somebody for it.

        Args:
            ecg_id: which one.
            owner: who held it.
            why: class name or code, no PHI.
            counted: the attempt was the ECG's own; False when the gateway was in trouble.

        Returns:
            False if it was not held by `owner`.
        """
        now = self._db.now()
        values = {"state": State.RECEIVED.value, "attempts": ecgs.c.attempts - int(not counted)}
        with self._db.write() as tx:
            if not self._let_go(tx, ecg_id, owner, now, values):
                return False
            add_event(tx, ecg_id, now, "released", why)
        return True

    def rescore(self, ecg_id: str, who: str, *, force: bool = False) -> bool:
        """Put a held ECG back to `received`, its attempts forgotten; the sweeper finds it.

        Args:
            ecg_id: which one.
            who: the account that asks, for the timeline.
            force: also one that is quarantined as `conflict`: its identity has been used by other
                bytes, so that its patient may be told of twice.

        Returns:
            False, and nothing changed, if it is neither `failed`, `unscorable`, `quarantined` nor
            `dismissed`.
        """
        now = self._db.now()
        held = sa.and_(ecgs.c.id == ecg_id, ecgs.c.state.in_(_RESCORABLE))
        if not force:
            held = sa.and_(held, ecgs.c.reason != CONFLICT)
        query = sa.select(ecgs.c.state, ecgs.c.reason).where(held).with_for_update()
        values = {"state": State.RECEIVED.value, "state_at": now, "reason": "", "attempts": 0}
        with self._db.write() as tx:
            before = tx.execute(query).one_or_none()
            if before is None:
                return False
            tx.execute(sa.update(ecgs).where(held).values(values))
            add_event(tx, ecg_id, now, "rescore", f"by {who}, was {before.state}: {before.reason}")
        return True

    def dismiss(self, ecg_id: str, who: str) -> bool:
        """Note that a person has dealt with a held ECG, with its dead letters, or with both.

        The reason stays; nobody is told. A `scored` ECG of which nothing is held or open any more
        is then `reported`, or `dismissed` too where no destination took it.

        Args:
            ecg_id: which one.
            who: the account that says so, for the timeline.

        Returns:
            False, and nothing changed, if nothing of it is held.
        """
        now = self._db.now()
        held = sa.and_(ecgs.c.id == ecg_id, ecgs.c.state.in_(_HELD))
        values = {"state": State.DISMISSED.value, "state_at": now}
        with self._db.write() as tx:
            letters = dismiss_dead_letters(tx, ecg_id)
            if not tx.execute(sa.update(ecgs).where(held).values(values)).rowcount + letters:
                return False
            add_event(tx, ecg_id, now, State.DISMISSED.value, f"by {who}, dead letters: {letters}")
            settle(tx, ecg_id, now)
        return True

    def compare_again(self, patient_ids: Collection[str]) -> int:
        """Put ECGs that are quarantined for their patient back to `received`: ADT spoke of him.

        Args:
            patient_ids: as the sources named them.

        Returns:
            How many there were; each is compared with ADT before anything is told of it.
        """
        now = self._db.now()
        values = {"state": State.RECEIVED.value, "state_at": now, "reason": "", "attempts": 0}
        with self._db.write() as tx:
            found = tx.execute(_IN_DOUBT_OF, {"patient_ids": list(patient_ids)}).scalars().all()
            for ecg_id in found:
                tx.execute(sa.update(ecgs).where(ecgs.c.id == ecg_id).values(values))
                add_event(tx, ecg_id, now, "compare again", "ADT told of the patient")
        return len(found)

    def _let_go(
        self, tx: Connection, ecg_id: str, owner: str, now: datetime, values: dict[str, Any]
    ) -> bool:
        change = (
            sa.update(ecgs)
            .where(
                ecgs.c.id == ecg_id,
                ecgs.c.state == State.SCORING.value,
                ecgs.c.lease_owner == owner,
            )
            .values(state_at=now, lease_owner="", lease_until=None, **values)
        )
        return tx.execute(change).rowcount == 1

    def unclaimed(self, older_than_s: float, limit: int) -> list[str]:
        """List ids that no one holds: `received` for longer than that, or `scoring` too long."""
        now = self._db.now()
        query = (
            sa.select(ecgs.c.id)
            .where(
                sa.or_(
                    sa.and_(
                        ecgs.c.state == State.RECEIVED.value,
                        ecgs.c.state_at <= now - timedelta(seconds=older_than_s),
                    ),
                    sa.and_(ecgs.c.state == State.SCORING.value, ecgs.c.lease_until <= now),
                )
            )
            .order_by(ecgs.c.state_at, ecgs.c.id)
            .limit(limit)
        )
        with self._db.read() as tx:
            return list(tx.execute(query).scalars())

    def held(self) -> list[tuple[str, str]]:
        """List (ecg id, owner) of every ECG that is being scored."""
        query = sa.select(ecgs.c.id, ecgs.c.lease_owner).where(ecgs.c.state == State.SCORING.value)
        with self._db.read() as tx:
            return [(ecg_id, owner) for ecg_id, owner in tx.execute(query)]

    def events(self, ecg_id: str) -> list[EventRow]:
        """Give the timeline of an ECG, oldest first."""
        query = sa.select(events).where(events.c.ecg_id == ecg_id).order_by(events.c.id)
        with self._db.read() as tx:
            return [
                EventRow(at=row.at, what=row.what, detail=row.detail) for row in tx.execute(query)
            ]


def _arrival_values(
    arrival: Arrival, digest: str, state: State, reason: str, now: datetime
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "identity": arrival.identity,
        "digest": digest,
        "media_type": arrival.media_type.value,
        "state": state.value,
        "reason": reason,
        "received_at": now,
        "state_at": now,
        "source": asdict(arrival.source),
        "patient": asdict(arrival.patient),
        "order": asdict(arrival.order),
        "encounter": None,
        "acquired_at": arrival.acquired_at.isoformat() if arrival.acquired_at else None,
        "study_uid": arrival.study_uid,
        "sop_uid": arrival.sop_uid,
        "sop_class": arrival.sop_class,
        "attempts": 0,
        "lease_owner": "",
        "score": None,
        "images": {},
        "guard": {},
    }


def _ecg(row: sa.Row[Any]) -> EcgRow:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["media_type"] = MediaType(row.media_type)
    values["state"] = State(row.state)
    values["source"] = Source(**row.source)
    values["patient"] = patient_of(row.patient)
    values["order"] = Order(**values["order"])
    values["encounter"] = Encounter(**row.encounter) if row.encounter else None
    values["acquired_at"] = datetime.fromisoformat(row.acquired_at) if row.acquired_at else None
    values["score"] = Score(**row.score) if row.score else None
    return EcgRow(**values)
