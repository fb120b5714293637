"""How much room is left for what arrives."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
BLOCK_BYTES = 512
"""What `st_blocks` counts in, whatever the file system's own blocks are (POSIX `sys/stat.h`)."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that a folder is on, and how much of it stays free.

    Attributes:
        folder: a folder that exists.
        reserve_bytes: free bytes below which senders are put off.
    """

    folder: Path
    reserve_bytes: int

    def free_bytes(self) -> int:
        """Give the free bytes, the reserve included.

        Raises:
            OSError: the disk does not tell.
        """
        return shutil.disk_usage(self.folder).free

    def leaves_room(self, size: int = 1) -> bool:
        """Tell whether so many bytes more leave the reserve free.

        Raises:
            OSError: the disk does not tell.
        """
        return self.free_bytes() - self.reserve_bytes >= size


def used_bytes(folder: Path) -> int:
    """Give the bytes that a folder's files take on the disk; those that vanish do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_blocks * BLOCK_BYTES
    return total
