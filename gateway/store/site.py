"""Site configuration as versioned documents; what they may say is checked elsewhere."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gateway.errors import Conflict
from gateway.store.engine import Database
from gateway.store.rows import SiteVersion
from gateway.store.tables import site


class Sites:
    """Every version of the site configuration, the newest in force."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def version(self) -> int:
        """Give the number in force; 0 before the first document."""
        with self._db.read() as tx:
            return int(tx.execute(_newest()).scalar_one())

    def current(self) -> SiteVersion | None:
        """Give the version in force; None before the first document."""
        return self._one(sa.select(site).order_by(site.c.version.desc()).limit(1))

    def get(self, version: int) -> SiteVersion:
        """Give one version.

        Raises:
            KeyError: there is none of that number.
        """
        found = self._one(sa.select(site).where(site.c.version == version))
        if found is None:
            raise KeyError(version)
        return found

    def history(self) -> list[SiteVersion]:
        """List all versions, newest first."""
        with self._db.read() as tx:
            rows = tx.execute(sa.select(site).order_by(site.c.version.desc()))
            return [_version(row) for row in rows]

    def save(self, document: dict[str, Any], who: str, note: str, expected: int | None) -> int:
        """Put a document in force.

        Args:
            document: JSON.
            who: who changed it.
            note: why.
            expected: the version that the change was made from; None takes any.

        Returns:
            The new version's number.

        Raises:
            Conflict: somebody else saved a version since `expected`.
        """
        with self._db.write() as tx:
            self._db.lock(tx, "site")
            newest = int(tx.execute(_newest()).scalar_one())
            if expected is not None and expected != newest:
                raise Conflict(f"the site configuration is at version {newest}, not {expected}")
            values = {
                "version": newest + 1,
                "document": document,
                "who": who,
                "note": note,
                "at": self._db.now(),
            }
            tx.execute(sa.insert(site).values(values))
        return newest + 1

    def _one(self, query: sa.Select[Any]) -> SiteVersion | None:
        with self._db.read() as tx:
            row = tx.execute(query).one_or_none()
        return None if row is None else _version(row)


def _newest() -> sa.Select[Any]:
    return sa.select(sa.func.coalesce(sa.func.max(site.c.version), 0))


def _version(row: sa.Row[Any]) -> SiteVersion:
    return SiteVersion(row.version, row.document, row.who, row.note, row.at)
