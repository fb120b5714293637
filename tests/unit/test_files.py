"""Files: durable before `put` returns, whole or absent."""

from __future__ import annotations

import errno
import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from config.settings import Settings
from gateway.errors import OutOfResources, StoreUnavailable
from gateway.roles.serve import prepare
from gateway.store.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "blobs")


def put(files: Files, data: bytes, *, into_reserve: bool = False) -> str:
    digest = sha256(data).hexdigest()
    files.put(digest, data, into_reserve=into_reserve)
    return digest


def test_what_is_put_is_read(files: Files):
    """No size is special, and what was never put is not there."""
    for data in (b"", b"an ecg", bytes(5_000_000)):
        assert files.read(put(files, data)) == data
    assert files.read("0" * 64) is None


def test_what_a_killed_writer_left_is_removed_after_a_day(files: Files):
    """Half a file under a temporary name goes; a fresh one may still be written, and blobs stay."""
    kept = files.path(put(files, b"an ecg"))
    old, fresh = (kept.with_name(f".{name}.tmp") for name in ("old", "fresh"))
    yesterday = time.time() - 86_500
    for path in (old, fresh):
        path.write_bytes(b"half")
    for path in (old, kept):
        os.utime(path, (yesterday, yesterday))
    assert files.remove_leftovers() == 1
    assert sorted(kept.parent.iterdir()) == sorted([kept, fresh])
    assert files.remove_leftovers() == 0


def test_serve_removes_leftovers_before_its_roles_start(tmp_path: Path):
    """It alone holds the data directory then."""
    settings = Settings(data_dir=tmp_path)
    prepare(settings, None)
    left = tmp_path / "blobs" / "ab" / ".0123456789abcdef.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    prepare(settings, None)
    assert not left.exists()


def test_a_file_is_named_by_its_digest(files: Files):
    """Two digits make the directory, the rest the name."""
    digest = put(files, b"an ecg")
    assert files.path(digest).parts[-2:] == (digest[:2], digest[2:])


def test_same_bytes_are_kept_once(files: Files):
    """Putting known bytes again writes no second file."""
    path = files.path(put(files, b"x"))
    before = path.stat().st_ino
    put(files, b"x")
    assert path.stat().st_ino == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_file_is_synced_before_its_name_and_its_directory_after(
    files: Files, monkeypatch: pytest.MonkeyPatch
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
    put(files, b"in order")
    assert steps == ["fsync file", "rename", "fsync directory"]


def test_a_failed_write_leaves_nothing(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """When the disk is full in the middle, the caller hears it and no file stays."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfResources):
        put(files, b"too much")
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_other_errors_of_the_disk_are_translated(files: Files, monkeypatch: pytest.MonkeyPatch):
    """An I/O error is our StoreUnavailable, without a path in its text."""

    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreUnavailable, match=r"^blob: OSError$"):
        put(files, b"x")


def test_reserve_is_kept_free(tmp_path: Path):
    """Below the reserve nothing is taken; what is there is read, and its results are kept."""
    digest = put(Files(tmp_path / "blobs"), b"before")
    reserved = Files(tmp_path / "blobs", reserve_mb=10**9)
    with pytest.raises(OutOfResources):
        put(reserved, b"after")
    with pytest.raises(OutOfResources):
        reserved.leave_room(0)
    assert reserved.read(digest) == b"before"
    assert reserved.read(put(reserved, b"a result", into_reserve=True)) == b"a result"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_a_digest_cannot_name_another_file(files: Files, name: str):
    """Only 64 hex digits make a path."""
    with pytest.raises(StoreUnavailable):
        files.path(name)


def test_files_are_private(files: Files):
    """Nobody but the gateway's user may read an ECG."""
    path = files.path(put(files, b"x"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_directory_that_cannot_be_made(tmp_path: Path):
    """A blob directory below a file is refused at the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        Files(tmp_path / "file" / "blobs")
