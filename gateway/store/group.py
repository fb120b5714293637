"""Group commit: writers of several threads share one transaction, so one wait for the disk.

SQLite lets one writer in at a time and syncs at each commit. While a writer is at work others
queue up behind it; each adds its own change to the same transaction, guarded by a savepoint, and
the last of the queue commits for all. Nobody returns before the commit that holds its change, so
"committed" means on disk as before. (DeWitt et al., Implementation Techniques for Main Memory
Database Systems, SIGMOD 1984.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine

from gateway.errors import StoreUnavailable

LIMIT = 64
"""Changes in one transaction at most, so that the first does not wait for an endless queue."""

LOOK_S = 0.2
"""How often a waiting writer looks whether the one who was to commit has gone."""


class _Shared:
    """One transaction and those who wait for its commit."""

    def __init__(self, engine: Engine) -> None:
        self.connection = engine.connect().execution_options(immediate=True)
        self.ended = threading.Event()
        self.lost = False
        self.size = 0
        try:
            self.connection.begin()
        except BaseException:
            self.connection.close()
            raise

    def end(self, *, keep: bool) -> None:
        """Commit or roll back, and let everybody go; never raises: `lost` tells."""
        self.lost = True
        try:
            # SQLite rolls back by itself when the disk fails; a COMMIT after that says nothing.
            if keep and self.connection.connection.in_transaction:
                self.connection.commit()
                self.lost = False
            else:
                self.connection.rollback()
        except Exception:
            self.connection.invalidate()  # closed and so rolled back: its state is unknown
        finally:
            self.connection.close()
            self.ended.set()


class Group:
    """The queue of writers of one process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._queued = 0
        self._open: _Shared | None = None

    @contextmanager
    def join(self) -> Iterator[Connection]:
        """Add one change to the open transaction; it is on disk at the end.

        An error inside takes this change back, and no other, and is raised.

        Raises:
            StoreUnavailable: the commit that held the change failed.
        """
        with self._queue():
            shared = self._open = self._open or _Shared(self._engine)
            try:
                with self._change(shared):
                    yield shared.connection
            finally:
                if self._queued == 0 or shared.size >= LIMIT:
                    self._close()
        self._wait(shared)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Commit what is open and keep the others out meanwhile."""
        with self._queue():
            self._close()
            yield

    @contextmanager
    def _queue(self) -> Iterator[None]:
        with self._counting:
            self._queued += 1
        self._turn.acquire()
        try:
            with self._counting:
                self._queued -= 1
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _change(self, shared: _Shared) -> Iterator[None]:
        """Guard one change; the first needs no savepoint, as nothing else is lost with it.

        A savepoint that cannot be set, kept or undone means that SQLite has given the whole
        transaction up: then everybody in it has failed.
        """
        shared.size += 1
        whole = True
        try:
            savepoint = shared.connection.begin_nested() if shared.size > 1 else None
            try:
                yield
            except BaseException:
                if savepoint:
                    savepoint.rollback()
                    whole = False
                raise
            if savepoint:
                savepoint.commit()
        except BaseException:
            if whole:
                self._close(keep=False)
            raise

    def _close(self, *, keep: bool = True) -> None:
        if self._open:
            shared, self._open = self._open, None
            shared.end(keep=keep)

    def _wait(self, shared: _Shared) -> None:
        """Wait for the commit; whoever was to make it may have died in the queue."""
        while not shared.ended.wait(LOOK_S):
            if self._turn.acquire(blocking=False):
                try:
                    if self._open is shared:
                        self._close()
                finally:
                    self._turn.release()
        if shared.lost:
            raise StoreUnavailable("database: the commit failed")
