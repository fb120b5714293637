"""Waiting for processes and files in tests: conditions with a deadline, no sleeps of a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0


def wait_for(probe: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Ask `probe` until it gives something true.

    Raises:
        AssertionError: the deadline passed; the message says what was waited for.
    """
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if found := probe():
            return found
        Event().wait(0.02)
    raise AssertionError(f"waited {deadline_s:.0f} s for {what}")


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that waits to be reaped has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}
