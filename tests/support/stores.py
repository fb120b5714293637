"""What tests of the store need besides it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from gateway.store import Store
from gateway.store.tables import blobs


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> datetime:
        """Let seconds pass."""
        self.time += timedelta(seconds=seconds)
        return self.time


def lose(store: Store, digest: str) -> None:
    """Let a blob be lost, as a disk would."""
    store.blobs._files.path(digest).unlink(missing_ok=True)
    with store._db.write() as tx:
        tx.execute(sa.delete(blobs).where(blobs.c.digest == digest))
