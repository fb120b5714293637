"""Names of lease holders, from which a neighbour can tell that the holder is dead.

A lease outlives its holder until it expires. On the same machine one can know better: the
process id and its start time say whether the holder still runs, so that the ECG of a killed
worker is taken up at the next sweep. Elsewhere only the lease speaks.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def make_owner(role: str) -> str:
    """Name this process: `role@machine:pid:start`; a caller may append `:more` for its threads."""
    pid = os.getpid()
    return f"{role}@{_machine()}:{pid}:{_start_time(pid)}"


def is_dead(owner: str) -> bool:
    """Tell whether a holder surely is gone: it ran on this machine and runs no more."""
    machine, pid, start = (owner.partition("@")[2] + "::").split(":")[:3]
    if machine != _machine() or not pid.isdigit() or not start:
        return False
    return _start_time(int(pid)) != start


def _machine() -> str:
    """Name machine, boot and PID namespace, as far as /proc tells."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = str((_PROC / "self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        return f"{socket.gethostname()}/unknown"
    return f"{socket.gethostname()}/{boot[:8]}/{namespace}"


def _start_time(pid: int) -> str:
    """Give a process's start time in clock ticks since boot (proc(5), field 22); or empty."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]
