"""Group commit: threads share one wait for the disk, and nobody else's failure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from gateway.errors import NotStorable, StoreUnavailable
from gateway.store.engine import Database

DEADLINE_S = 60.0


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'group.sqlite3'}")
    with database.write() as tx:
        tx.exec_driver_sql("CREATE TABLE things (n INTEGER PRIMARY KEY)")
    yield database
    database.close()


def put(database, n):
    with database.write() as tx:
        tx.exec_driver_sql("INSERT INTO things VALUES (?)", (n,))


def things(database) -> set[int]:
    with database.read() as tx:
        return {row.n for row in tx.exec_driver_sql("SELECT n FROM things")}


@pytest.fixture
def queue(database):
    """Run writers so that the first waits inside for the rest to queue up; give their results."""
    group = database._group

    def run(*writers):
        inside = threading.Event()

        def first():
            with database.write() as tx:
                tx.exec_driver_sql("INSERT INTO things VALUES (0)")
                inside.set()
                end = threading.Event()
                for _ in range(int(DEADLINE_S * 100)):
                    if group._queued >= len(writers):
                        return
                    end.wait(0.01)
                raise TimeoutError

        with ThreadPoolExecutor(len(writers) + 1) as pool:
            begun = pool.submit(first)
            assert inside.wait(DEADLINE_S)
            rest = [pool.submit(writer) for writer in writers]
            return begun, rest

    return run


@pytest.fixture
def commits(database):
    """Count the commits of the engine."""
    seen = []
    sa.event.listen(database.engine, "commit", seen.append)
    return seen


def test_writers_that_wait_share_one_commit(database, queue, commits):
    """Nine changes, one commit, and all of them are there."""
    begun, rest = queue(*(lambda n=n: put(database, n) for n in range(1, 9)))
    assert [done.exception() for done in (begun, *rest)] == [None] * 9
    assert things(database) == set(range(9))
    assert len(commits) == 1


def test_one_that_fails_takes_nobody_along(database, queue):
    """Its own change is taken back by its savepoint and its error is raised to it alone."""

    def fails():
        with database.write() as tx:
            tx.exec_driver_sql("INSERT INTO things VALUES (70)")
            raise LookupError

    begun, rest = queue(
        lambda: put(database, 1),
        fails,
        lambda: put(database, 0),  # a key that is there already
        lambda: put(database, 2),
    )
    kinds = [type(done.exception()) for done in (begun, *rest)]
    assert kinds == [type(None), type(None), LookupError, NotStorable, type(None)]
    assert things(database) == {0, 1, 2}


def test_a_failed_commit_is_told_to_everyone(database, queue):
    """No one is told "committed" when the commit that held the change failed."""

    def disk_full(_connection):
        raise sa.exc.OperationalError("COMMIT", {}, Exception("disk full"))

    sa.event.listen(database.engine, "commit", disk_full)
    begun, rest = queue(*(lambda n=n: put(database, n) for n in (1, 2)))
    assert [type(done.exception()) for done in (begun, *rest)] == [StoreUnavailable] * 3
    sa.event.remove(database.engine, "commit", disk_full)
    assert things(database) == set()
    put(database, 5)
    assert things(database) == {5}


def test_a_transaction_that_sqlite_gave_up_fails_everyone(database, queue):
    """When the database rolls back by itself, those before are not told "committed"."""

    def gives_up():
        with database.write() as tx:
            tx.connection.rollback()  # what SQLite does when the disk fails
            tx.exec_driver_sql("SELECT 1")

    begun, rest = queue(lambda: put(database, 1), gives_up)
    kinds = {type(done.exception()) for done in (begun, *rest)}
    assert kinds == {StoreUnavailable}
    assert things(database) == set()
    put(database, 5)
    assert things(database) == {5}


def test_a_first_writer_that_fails_leaves_no_transaction_open(database):
    """The next one begins a new one, in this and in another process."""
    with pytest.raises(LookupError), database.write():
        raise LookupError
    other = Database(f"sqlite:///{database.path}")
    put(other, 1)
    other.close()
    put(database, 2)
    assert things(database) == {1, 2}


def test_notes_and_changes_take_turns(database):
    """Claims have a connection of their own; they never meet an open transaction."""

    def note(n):
        with database.note() as tx:
            tx.exec_driver_sql("INSERT INTO things VALUES (?)", (n,))

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(note, n) for n in range(0, 60, 2)]
        done += [pool.submit(put, database, n) for n in range(1, 60, 2)]
    assert [one.exception() for one in done] == [None] * 60
    assert things(database) == set(range(60))


def test_many_threads_lose_nothing(database):
    """Hundreds of changes from sixteen threads: each is seen by a reader as soon as it returns."""

    def one(n):
        put(database, n)
        return n in things(database)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(300)))
    assert things(database) == set(range(300))
