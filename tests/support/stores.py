"""The store fixture: each test that takes it runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import Store, open_store
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


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until a test moves it."""
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    return request.getfixturevalue("postgres_server").new_database()


@pytest.fixture
def store(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store with a standing clock, on each kind of database."""
    opened = open_store(database_url, tmp_path / "blobs", now=clock)
    yield opened
    opened.close()


def lose(store: Store, digest: str) -> None:
    """Let a blob be lost, as a disk would."""
    store.blobs._files.path(digest).unlink(missing_ok=True)
    with store._db.write() as tx:
        tx.execute(sa.delete(blobs).where(blobs.c.digest == digest))
