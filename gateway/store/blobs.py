"""Blobs: bytes kept under their SHA-256, small ones in the database, large ones as files.

A small blob is committed with the row that names it, so it costs no wait for the disk of its own. A
large one is a file that is durable before its name is known (`gateway.store.files`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.errors import BlobLost
from gateway.store.engine import Database
from gateway.store.files import Files
from gateway.store.tables import blobs

SMALL_BYTES = 64 << 10
"""Longest blob that lives in the database: a file of this size costs more to sync than to copy."""

# Built once: making such a statement takes Python five times as long as running it.
_INSERT = {
    True: sqlite.insert(blobs).on_conflict_do_nothing(),
    False: postgresql.insert(blobs).on_conflict_do_nothing(),
}
_SELECT = sa.select(blobs.c.data).where(blobs.c.digest == sa.bindparam("name"))


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with their name.

    Attributes:
        digest: SHA-256 in hex.
        data: what still has to be written to the database; None when the bytes are a file already.
    """

    digest: str
    data: bytes | None


class Blobs:
    """Every byte string that the gateway keeps."""

    def __init__(self, database: Database, files: Files) -> None:
        self._db = database
        self._files = files

    def stage(self, data: bytes, *, into_reserve: bool = False) -> Blob:
        """Do the slow half of `put`, outside of any transaction: a large blob is durable after it.

        Args:
            data: the bytes.
            into_reserve: use the disk reserve, which is there so that what was accepted can be told
                to its end although nothing more is accepted.

        Raises:
            OutOfResources: the disk is full or the reserve is reached.
            StoreUnavailable: the directory cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        if len(data) > SMALL_BYTES:
            self._files.put(digest, data, into_reserve=into_reserve)
            return Blob(digest, None)
        if not into_reserve:
            self._files.leave_room(len(data))
        return Blob(digest, data)

    def add(self, blob: Blob) -> str:
        """Do the other half of `put`: a small blob joins the transaction that is open here.

        Outside of one it has a transaction that does not wait for the disk: the next one that does,
        at the latest that of the row that names it, carries it along.

        Returns:
            Its digest.

        Raises:
            StoreUnavailable: the database cannot be written.
        """
        if blob.data is not None:
            with self._db.note() as tx:
                tx.execute(_INSERT[self._db.is_sqlite], {"digest": blob.digest, "data": blob.data})
        return blob.digest

    def put(self, data: bytes, *, into_reserve: bool = False) -> str:
        """Keep bytes: they are durable as soon as a row that names them is.

        Returns:
            Their SHA-256 in hex.

        Raises:
            OutOfResources, StoreUnavailable: see `stage` and `add`.
        """
        return self.add(self.stage(data, into_reserve=into_reserve))

    def remove_leftovers(self) -> int:
        """Remove what killed writers left unfinished; give how many files there were.

        Raises:
            StoreUnavailable: the directory cannot be read or written.
        """
        return self._files.remove_leftovers()

    def get(self, digest: str) -> bytes:
        """Read bytes back and check them.

        Raises:
            BlobLost: there is no such blob, or its bytes are not what they were.
            StoreUnavailable: it cannot be read now.
        """
        data = self._files.read(digest)
        if data is None:
            with self._db.read() as tx:
                data = tx.execute(_SELECT, {"name": digest}).scalar_one_or_none()
        if data is None:
            raise BlobLost("a blob is missing")
        if hashlib.sha256(data).hexdigest() != digest:
            raise BlobLost("a blob is damaged: its bytes do not match its name")
        return data
