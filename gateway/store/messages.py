"""Messages: the raw HL7 that came in and went out, as blobs, and what was answered."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa

from gateway.store.engine import Database
from gateway.store.rows import MessageRow
from gateway.store.tables import messages

# Built once: making such a statement takes Python five times as long as running it.
_INSERT = sa.insert(messages).returning(messages.c.id)
_SEEN = (
    sa.select(messages)
    .where(
        messages.c.direction == "in",
        messages.c.peer == sa.bindparam("peer"),
        messages.c.control_id == sa.bindparam("control_id"),
    )
    .order_by(messages.c.id)
    .limit(1)
)


class Messages:
    """The log of HL7 traffic."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self,
        direction: Literal["in", "out"],
        peer: str,
        control_id: str,
        digest: str,
        outcome: str,
        ecg_id: str | None = None,
        answer_digest: str | None = None,
    ) -> int:
        """Keep one message; the arguments are told at `MessageRow`.

        Returns:
            Its number.
        """
        values = {
            "at": self._db.now(),
            "direction": direction,
            "peer": peer,
            "control_id": control_id,
            "digest": digest,
            "outcome": outcome,
            "ecg_id": ecg_id,
            "answer_digest": answer_digest,
        }
        with self._db.write() as tx:
            return int(tx.execute(_INSERT, values).scalar_one())

    def seen(self, peer: str, control_id: str) -> MessageRow | None:
        """Give the first inbound message of this sender and MSH-10, to answer it alike."""
        found = self._list(_SEEN, {"peer": peer, "control_id": control_id})
        return found[0] if found else None

    def of_ecg(self, ecg_id: str) -> list[MessageRow]:
        """List the messages that carried or told of an ECG, oldest first."""
        query = sa.select(messages).where(messages.c.ecg_id == ecg_id)
        return self._list(query.order_by(messages.c.id))

    def recent(self, limit: int) -> list[MessageRow]:
        """List the newest first."""
        return self._list(sa.select(messages).order_by(messages.c.id.desc()).limit(limit))

    def _list(self, query: sa.Select[Any], given: dict[str, str] | None = None) -> list[MessageRow]:
        with self._db.read() as tx:
            return [MessageRow(**row._mapping) for row in tx.execute(query, given)]  # noqa: SLF001 - public
