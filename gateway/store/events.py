"""The timeline: each step in the life of an ECG, written with the change that it tells of."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.tables import events

_INSERT = sa.insert(events)


def add_event(tx: Connection, ecg_id: str, at: datetime, what: str, detail: str) -> None:
    """Write one step of an ECG's timeline; `detail` carries no PHI."""
    row = {"ecg_id": ecg_id, "at": at, "what": what, "detail": detail}
    tx.execute(_INSERT, row)
