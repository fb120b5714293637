"""Content-addressed files: the SHA-256 of the bytes is their name.

A file is written under a temporary name, fsynced, renamed and its directory fsynced, so a name that
exists holds whole bytes, and what `put` returned from survives a power cut.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.disk import MB, Disk
from gateway.errors import OutOfResources, StoreUnavailable

LEFTOVER_S = 86_400.0
"""Age in seconds of a temporary file that no writer can still be at."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Files:
    """A directory of files, `ab/cdef...`, shared by all processes of the gateway."""

    def __init__(self, root: Path, reserve_mb: int = 0) -> None:
        """Open the directory, creating it if need be.

        Args:
            root: the directory.
            reserve_mb: MB of free disk below which nothing more is taken.

        Raises:
            StoreUnavailable: the directory cannot be created.
        """
        self._root = root
        self.disk = Disk(root, reserve_mb * MB)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for prefix in range(256):  # all at once, so that no writer has to make one durable
                (root / f"{prefix:02x}").mkdir(mode=0o700, exist_ok=True)
            _sync_directory(root)
            _sync_directory(root.parent)
        except OSError as error:
            raise StoreUnavailable(f"blob directory: {type(error).__name__}") from None

    def path(self, digest: str) -> Path:
        """Give the file of a digest, whether or not it exists.

        Raises:
            StoreUnavailable: the text is not a SHA-256 in hex (it could name any file).
        """
        if not _DIGEST.fullmatch(digest):
            raise StoreUnavailable("not a blob digest")
        return self._root / digest[:2] / digest[2:]

    def leave_room(self, size: int) -> None:
        """Make sure that so many bytes leave the reserve free.

        Raises:
            OutOfResources: they would not. StoreUnavailable: the disk does not tell.
        """
        with _translated():
            room = self.disk.leaves_room(size)
        if not room:
            raise OutOfResources("the disk reserve is reached")

    def put(self, digest: str, data: bytes, *, into_reserve: bool = False) -> None:
        """Make a file durable; one that is there is not written again.

        Raises:
            OutOfResources: the disk is full or the reserve is reached.
            StoreUnavailable: the directory cannot be written.
        """
        target = self.path(digest)
        with _translated():
            if not target.exists():
                if not into_reserve:
                    self.leave_room(len(data))
                self._write(target, data)
            # Also for a known file: whoever renamed it may not have come to this line yet.
            _sync_directory(target.parent)

    def read(self, digest: str) -> bytes | None:
        """Give a file's bytes as they are now; None when there is no such file.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"blob: {type(error).__name__}") from None

    def remove_leftovers(self, older_than_s: float = LEFTOVER_S) -> int:
        """Remove temporary files of writers that were killed.

        Args:
            older_than_s: younger ones may still be written.

        Returns:
            How many there were.

        Raises:
            StoreUnavailable: the directory cannot be read or written.
        """
        before = time.time() - older_than_s
        removed = 0
        with _translated():
            for path in self._root.glob("??/.*.tmp"):
                with suppress(FileNotFoundError):  # another machine looks as well
                    if path.stat().st_mtime < before:
                        path.unlink()
                        removed += 1
        return removed

    def _write(self, target: Path, data: bytes) -> None:
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
            temporary.rename(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise OutOfResources("the disk is full") from None
        raise StoreUnavailable(f"blob: {type(error).__name__}") from None


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
