"""What is free, what stays free, what is used."""

from __future__ import annotations

import shutil
from pathlib import Path

from gateway.disk import Disk, used_bytes


def test_the_reserve_stays_free(tmp_path: Path):
    """Room is what lies above the reserve, to the byte."""
    free = shutil.disk_usage(tmp_path).free
    assert Disk(tmp_path, 0).leaves_room(free // 2)
    assert not Disk(tmp_path, free * 2).leaves_room()
    assert not Disk(tmp_path, free // 2).leaves_room(free)


def test_used_counts_what_the_disk_gave(tmp_path: Path):
    """A file of one byte takes a block; folders count with what is in them."""
    assert used_bytes(tmp_path) == 0
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x" * 100_000)
    assert 100_000 <= used_bytes(tmp_path) < 200_000
    assert used_bytes(tmp_path / "nowhere") == 0
