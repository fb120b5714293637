"""The store under many processes, at its start, and when it is hurt."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from support.arrivals import take
from support.servers import PostgresServer

from gateway.ecg import State
from gateway.errors import StoreUnavailable
from gateway.store import open_store
from gateway.store.engine import Database, parse_url
from gateway.store.migrate import HEAD, alembic_config, migrate
from gateway.store.tables import metadata

HAMMER = """
import sys
from pathlib import Path
from gateway.store import Outcome, open_store
from gateway.ecg import Arrival, MediaType, Source, State

url, blobs, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
store = open_store(url, blobs)
done = 0
for number in range(20):
    content = f"{number % 10}".encode()
    arrival = Arrival(f"dicom:{number % 10}", content, MediaType.DICOM, Source("dicom"))
    receipt = store.ecgs.add(arrival, store.blobs.put(content))
    if store.ecgs.claim(receipt.ecg_id, name, 600):
        done += store.ecgs.finish(receipt.ecg_id, name, Outcome(State.SCORED), [])
store.close()
print(done)
"""


def test_processes_start_and_write_at_once(database_url: str, tmp_path: Path):
    """Four processes open a new database together and score ten ECGs: each exactly once."""
    line = [sys.executable, "-c", HAMMER, database_url, str(tmp_path / "blobs")]
    running = [
        subprocess.Popen([*line, f"p{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    scored = [int(process.communicate(timeout=240)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert sum(scored) == 10
    opened = open_store(database_url, tmp_path / "blobs")
    assert opened.ecgs.count_by_state()[State.SCORED] == 10
    opened.close()


def test_migrations_make_the_tables_that_the_code_uses(database_url: str):
    """A migrated database differs in nothing from `tables.py`, and HEAD is the newest revision."""
    database = Database(database_url)
    migrate(database)
    with database.write() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        script = ScriptDirectory.from_config(alembic_config(connection))
        assert script.get_current_head() == HEAD
        assert context.get_current_revision() == HEAD
    database.close()


def test_refusals_of_an_older_database_are_counted(database_url: str, tmp_path: Path):
    """The second schema makes one row of those that say the same, and keeps first and last time."""
    database = Database(database_url)
    with database.write() as tx:
        command.upgrade(alembic_config(tx), "0001")
        for second, peer in enumerate(("A", "B", "A")):
            tx.execute(
                sa.text(
                    "INSERT INTO refusals (at, protocol, peer, address, reason)"
                    " VALUES (:at, 'dicom', :peer, '', 'x')"
                ),
                {"at": f"2026-01-01 00:00:0{second}.000000", "peer": peer},
            )
    database.close()
    store = open_store(database_url, tmp_path / "blobs")
    rows = store.refusals.recent(9)
    store.refusals.add("dicom", "B", "", "x")
    assert [(row.peer, row.times) for row in rows] == [("A", 2), ("B", 1)]
    assert (rows[0].first_at.second, rows[0].at.second) == (0, 2)
    assert store.refusals.recent(1)[0].times == 2
    store.close()


def test_a_database_of_newer_software_is_left_alone(database_url: str, tmp_path: Path):
    """Going back a version says so, instead of half working or a traceback."""
    open_store(database_url, tmp_path / "blobs").close()
    database = Database(database_url)
    with database.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreUnavailable, match="newer version"):
        open_store(database_url, tmp_path / "blobs")


def test_sqlite_is_set_to_survive_a_power_cut(tmp_path: Path):
    """Promises are written in WAL mode with synchronous=FULL (2), and the file is private."""
    path = tmp_path / "gateway.sqlite3"
    opened = open_store(f"sqlite:///{path}", tmp_path / "blobs")
    with opened._db.write() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
    assert path.stat().st_mode & 0o077 == 0
    opened.close()


def test_claims_do_not_wait_for_the_disk(database_url: str, tmp_path: Path):
    """A claim is a note: SQLite synchronous=NORMAL (1), PostgreSQL synchronous_commit=off."""
    opened = open_store(database_url, tmp_path / "blobs")
    setting = "PRAGMA synchronous" if "sqlite" in database_url else "SHOW synchronous_commit"
    with opened._db.note() as connection:
        assert connection.scalar(sa.text(setting)) in {1, "off"}
    with opened._db.write() as connection:
        assert connection.scalar(sa.text(setting)) in {2, "on"}
    opened.close()


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://h/d", "postgresql+psycopg"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg"),
        ("sqlite:///x.db", "sqlite+pysqlite"),
    ],
)
def test_urls(url: str, driver: str):
    """The URLs that people write mean the drivers that are installed."""
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize("url", ["", "mysql://u:hunter2@h/d", "sqlite://", "hunter2"])
def test_other_urls_are_refused(url: str):
    """Any other database is refused without quoting the URL, which may hold a password."""
    with pytest.raises(StoreUnavailable) as caught:
        parse_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_database_held_by_another_writer_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A writer that never lets go makes the store unavailable, not hang for ever."""
    monkeypatch.setattr("gateway.store.engine.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "gateway.sqlite3"
    opened = open_store(f"sqlite:///{path}", tmp_path / "blobs")
    rude = sqlite3.connect(path, isolation_level=None)
    rude.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="OperationalError"):
        take(opened)
    rude.execute("ROLLBACK")
    rude.close()
    assert take(opened).new
    opened.close()


def test_a_file_that_is_no_database(tmp_path: Path):
    """Garbage where the database should be is told at the start."""
    (tmp_path / "gateway.sqlite3").write_bytes(os.urandom(4096))
    with pytest.raises(StoreUnavailable):
        open_store(f"sqlite:///{tmp_path / 'gateway.sqlite3'}", tmp_path / "blobs")


def test_a_directory_that_cannot_be_made(tmp_path: Path):
    """A database below a file is told at the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="database file"):
        open_store(f"sqlite:///{tmp_path / 'file' / 'x.sqlite3'}", tmp_path / "blobs")


def test_a_postgresql_that_vanishes_is_not_waited_for_for_hours():
    """Every wait for the server is bounded by the kernel (libpq's connection parameters)."""
    database = Database("postgresql://host/name")
    asked: dict[str, object] = {}

    @sa.event.listens_for(database.engine, "do_connect")
    def _note(_dialect: object, _record: object, _args: object, parameters: dict[str, object]):
        asked.update(parameters)
        raise StoreUnavailable("not really")

    with pytest.raises(StoreUnavailable), database.read():
        pass
    assert asked["connect_timeout"] == 5
    assert asked["tcp_user_timeout"] == 15_000
    assert {"keepalives_idle", "keepalives_interval", "keepalives_count"} <= set(asked)
    database.close()


@pytest.mark.peer
def test_postgresql_goes_and_comes_back(postgres_server: PostgresServer, tmp_path: Path):
    """While the server is down the store says so; afterwards it works without a restart."""
    opened = open_store(postgres_server.new_database(), tmp_path / "blobs")
    take(opened, "dicom:1")
    postgres_server.stop()
    try:
        with pytest.raises(StoreUnavailable):
            take(opened, "dicom:2")
        with pytest.raises(StoreUnavailable):
            opened.ping()
    finally:
        postgres_server.start()
    opened.ping()
    assert take(opened, "dicom:2").new
    assert opened.ecgs.count_by_state()[State.RECEIVED] == 2
    opened.close()
