"""The database: engine, transactions, error translation.

SQLite runs in WAL mode with synchronous=FULL, so a commit is on disk when it returns; a writer
takes its lock at `BEGIN IMMEDIATE`, never half-way. PostgreSQL runs with its own defaults
(read committed, synchronous commit) through psycopg 3.

Claims are the exception: a lease that a power cut forgets is only taken again, so `note` commits
without waiting for the disk (SQLite synchronous=NORMAL, PostgreSQL synchronous_commit=off). It
survives the death of any process, and the next promise carries it to the disk, for both write one
log in order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from gateway.errors import NotStorable, StoreUnavailable
from gateway.store.group import Group

BUSY_TIMEOUT_S = 15
"""How long a writer waits for the others before the store is called unavailable."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Give the time now, aware, in UTC."""
    return datetime.now(UTC)


def parse_url(url: str) -> URL:
    """Read a database URL; plain `postgresql://` and `postgres://` mean psycopg 3.

    Raises:
        StoreUnavailable: the URL is none, or names another database than the two we know.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        raise StoreUnavailable("the database URL cannot be read") from None
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"} and parsed.database:
        return parsed.set(drivername="sqlite+pysqlite")
    raise StoreUnavailable("the database URL must begin with sqlite:/// or postgresql://")


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into ours; the cause is dropped because it may quote values.

    Raises:
        NotStorable: the values are refused, by the database or before they reach it.
        StoreUnavailable: anything else: later may be better.
    """
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        words = f"database: {type(cause or error).__name__}"
        raise (NotStorable(words) if _of_values(error) else StoreUnavailable(words)) from None


def _of_values(error: SQLAlchemyError) -> bool:
    """Tell whether a statement failed for its values, and so will fail again."""
    before = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
    return before or isinstance(error, DataError | IntegrityError)


class Database:
    """An engine with three kinds of short transaction: `read`, `write` and `note`."""

    def __init__(self, url: str, now: Clock = utc_now) -> None:
        parsed = parse_url(url)
        self.now = now
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = Path(parsed.database or "") if self.is_sqlite else None
        with translated():
            self.engine = _sqlite(parsed, "FULL") if self.is_sqlite else _postgresql(parsed)
            self._notes = _sqlite(parsed, "NORMAL") if self.is_sqlite else self.engine
            self._notes = self._notes.execution_options(immediate=True)
        # Threads of one process queue here instead of polling for SQLite's file lock.
        self._group = Group(self.engine) if self.is_sqlite else None
        self._thread = threading.local()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a writing transaction; on disk at the end, rolled back on any error.

        What the same thread reads, writes and notes meanwhile is part of it: whoever opens one
        around several calls makes one commit of them. No part of it can be taken back alone, so an
        error of the database inside has to end it.

        Raises:
            StoreUnavailable: the database cannot be reached or written.
            NotStorable: it refuses the values.
        """
        with translated():
            if self._open:
                yield self._open
                return
            begin = self._group.join if self._group else self.engine.begin
            with begin() as connection:
                self._thread.connection = connection
                try:
                    yield connection
                finally:
                    self._thread.connection = None

    @property
    def _open(self) -> Connection | None:
        """The connection of the writing transaction that this thread is in."""
        connection: Connection | None = getattr(self._thread, "connection", None)
        return connection

    @contextmanager
    def note(self) -> Iterator[Connection]:
        """Open a writing transaction whose loss by a power cut would harm nobody: a claim.

        Raises:
            StoreUnavailable: the database cannot be reached or written.
        """
        if self._open:
            with self.write() as connection:
                yield connection
            return
        with (
            translated(),
            self._group.alone() if self._group else nullcontext(),
            self._notes.begin() as connection,
        ):
            if not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading transaction.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        with translated(), nullcontext(self._open) if self._open else self.engine.connect() as tx:
            yield tx

    def lock(self, connection: Connection, name: str) -> None:
        """Let one transaction at a time past a name; on SQLite a writer is alone anyway."""
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._notes.dispose()


def _sqlite(url: URL, synchronous: str) -> Engine:
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"database file: {type(error).__name__}") from None
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=-1,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", partial(_prepare_sqlite, synchronous))
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(synchronous: str, dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.isolation_level = None  # we write BEGIN ourselves
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(f"PRAGMA synchronous = {synchronous}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _postgresql(url: URL) -> Engine:
    return sa.create_engine(
        url,
        pool_size=5,
        max_overflow=20,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "application_name": "ecg-gateway",
            "connect_timeout": 5,
            # A server that vanished without a word is given up in BUSY_TIMEOUT_S, not in hours.
            "tcp_user_timeout": BUSY_TIMEOUT_S * 1000,
            "keepalives_idle": 5,
            "keepalives_interval": 5,
            "keepalives_count": 2,
        },
    )
