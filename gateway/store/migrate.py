"""Bring the database to the newest schema; safe when several processes start at once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import StoreUnavailable
from gateway.store.engine import Database, translated

HEAD = "0002"
"""The newest revision in `migrations/versions`; a test holds the two together."""


def migrate(database: Database) -> None:
    """Upgrade to `HEAD`.

    Raises:
        StoreUnavailable: the database cannot be reached or upgraded.
    """
    guard: AbstractContextManager[Any] = nullcontext()
    if database.path is not None:  # turning WAL on does not wait for other processes by itself
        guard = FileLock(f"{database.path}.migrate", timeout=60)
    try:
        with guard:
            if _revision(database) == HEAD:
                return
            with database.write() as tx:
                database.lock(tx, "alembic")
                _upgrade(tx)
    except Timeout:
        raise StoreUnavailable("database: another process has been upgrading it for long") from None


def _revision(database: Database) -> str | None:
    with translated(), database.engine.connect() as connection:
        try:
            query = sa.text("SELECT version_num FROM alembic_version")
            return connection.execute(query).scalar_one_or_none()
        except SQLAlchemyError:  # an empty database has no such table
            return None


def _upgrade(connection: Connection) -> None:
    # A start that finds HEAD does not pay for these.
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError:  # a revision that we do not have
        raise StoreUnavailable("database: a newer version of this software wrote it") from None


def alembic_config(connection: Connection) -> Any:
    """Give Alembic's configuration for a connection that is already in a transaction."""
    from alembic.config import Config  # noqa: PLC0415 - see `_upgrade`

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
