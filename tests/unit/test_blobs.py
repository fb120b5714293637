"""Blobs: durable before the digest is known, whole or absent, checked when read."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from gateway.errors import BlobLost, OutOfResources, StoreUnavailable
from gateway.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_what_is_put_is_got(blobs: Blobs):
    """The digest is the SHA-256 of the bytes, and it gives them back."""
    digest = blobs.put(b"an ecg")
    assert digest == hashlib.sha256(b"an ecg").hexdigest()
    assert blobs.get(digest) == b"an ecg"
    assert blobs.path(digest).parts[-2:] == (digest[:2], digest[2:])


def test_empty_and_large_content(blobs: Blobs):
    """No size is special."""
    for data in (b"", bytes(5_000_000)):
        assert blobs.get(blobs.put(data)) == data


def test_same_bytes_are_kept_once(blobs: Blobs):
    """Putting known bytes again writes no second file."""
    path = blobs.path(blobs.put(b"x"))
    before = path.stat().st_ino
    blobs.put(b"x")
    assert path.stat().st_ino == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_file_is_synced_before_its_name_and_its_directory_after(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
):
    """Order of the system calls: bytes fsynced, renamed, directory fsynced."""
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        kind = "directory" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file"
        steps.append(f"fsync {kind}")
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    blobs.put(b"in order")
    assert steps == ["fsync file", "rename", "fsync directory"]


def test_a_failed_write_leaves_nothing(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """When the disk is full in the middle, the caller hears it and no file stays."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfResources):
        blobs.put(b"too much")
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_other_errors_of_the_disk_are_translated(blobs: Blobs, monkeypatch: pytest.MonkeyPatch):
    """An I/O error is our StoreUnavailable, without a path in its text."""

    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreUnavailable, match=r"^blob: OSError$"):
        blobs.put(b"x")


def test_reserve_is_kept_free(tmp_path: Path):
    """Below the reserve nothing is taken; what is there is read, and its results are kept."""
    digest = Blobs(tmp_path / "blobs").put(b"before")
    reserved = Blobs(tmp_path / "blobs", reserve_mb=10**9)
    with pytest.raises(OutOfResources):
        reserved.put(b"after")
    assert reserved.get(digest) == b"before"
    assert reserved.get(reserved.put(b"a result", into_reserve=True)) == b"a result"
    assert reserved.free_bytes() < 0


def test_damaged_blob_is_noticed(blobs: Blobs):
    """Bytes that changed on disk are never given out as the original."""
    digest = blobs.put(b"original")
    blobs.path(digest).write_bytes(b"tampered")
    with pytest.raises(BlobLost, match="damaged"):
        blobs.get(digest)


def test_missing_blob(blobs: Blobs):
    """A digest without a file is an error of the store."""
    with pytest.raises(BlobLost, match="missing"):
        blobs.get("0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_a_digest_cannot_name_another_file(blobs: Blobs, name: str):
    """Only 64 hex digits make a path."""
    with pytest.raises(StoreUnavailable):
        blobs.path(name)


def test_files_are_private(blobs: Blobs):
    """Nobody but the gateway's user may read an ECG."""
    path = blobs.path(blobs.put(b"x"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_directory_that_cannot_be_made(tmp_path: Path):
    """A blob directory below a file is refused at the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        Blobs(tmp_path / "file" / "blobs")
