"""Content-addressed files: the SHA-256 of the bytes is their name.

A blob is written to a temporary file, fsynced, renamed and its directory fsynced, so a name that
exists holds whole bytes, and a digest that was returned survives a power cut.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

from gateway.errors import BlobLost, OutOfResources, StoreUnavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A directory of blobs, `ab/cdef...`, shared by all processes of the gateway."""

    def __init__(self, root: Path, reserve_mb: int = 0) -> None:
        """Open the directory, creating it if need be.

        Args:
            root: the directory.
            reserve_mb: MB of free disk below which nothing more is taken.

        Raises:
            StoreUnavailable: the directory cannot be created.
        """
        self._root = root
        self._reserve_bytes = reserve_mb * 1_000_000
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

    def free_bytes(self) -> int:
        """Give the bytes that may still be written before the reserve is reached; may be < 0."""
        return shutil.disk_usage(self._root).free - self._reserve_bytes

    def put(self, data: bytes, *, into_reserve: bool = False) -> str:
        """Make bytes durable.

        Args:
            data: the bytes.
            into_reserve: use the reserve, which is there so that what was accepted can be told
                to its end although nothing more is accepted.

        Returns:
            Their SHA-256 in hex.

        Raises:
            OutOfResources: the disk is full or the reserve is reached.
            StoreUnavailable: the directory cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest)
        try:
            if not target.exists():
                if not into_reserve and self.free_bytes() < len(data):
                    raise OutOfResources("the disk reserve is reached")
                self._write(target, data)
            # Also for a known blob: whoever renamed it may not have come to this line yet.
            _sync_directory(target.parent)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise OutOfResources("the disk is full") from None
            raise StoreUnavailable(f"blob: {type(error).__name__}") from None
        return digest

    def get(self, digest: str) -> bytes:
        """Read bytes back and check them.

        Raises:
            BlobLost: there is no such blob, or its bytes are not what they were.
            StoreUnavailable: it cannot be read now.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise BlobLost("a blob is missing") from None
        except OSError as error:
            raise StoreUnavailable(f"blob: {type(error).__name__}") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise BlobLost("a blob is damaged: its bytes do not match its name")
        return data

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
