"""Files in `DATA/run` that say which process is ready, on which ports, or why it is not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

PORTS = "ports.json"


@dataclass(frozen=True, slots=True)
class Ready:
    """One process that does its work.

    Attributes:
        role: its name, e.g. `listen` or `work-1`.
        pid: its process id.
        ports: name of a listener to the TCP port that it listens on.
    """

    role: str
    pid: int
    ports: Mapping[str, int] = field(default_factory=dict)


def announce(run_dir: Path, ready: Ready) -> None:
    """Write `ROLE.json`, whole or not at all."""
    write_json(run_dir / f"{ready.role}.json", asdict(ready))


def announced(run_dir: Path, role: str) -> Ready | None:
    """Read `ROLE.json`; None while there is none that can be read."""
    try:
        found = json.loads((run_dir / f"{role}.json").read_text("utf-8"))
        return Ready(found["role"], int(found["pid"]), dict(found["ports"]))
    except (OSError, ValueError, KeyError):
        return None


def withdraw(run_dir: Path, role: str, *, keep_why: bool = False) -> None:
    """Remove `ROLE.json`, and `ROLE.why` if it is not to stay for people to see."""
    (run_dir / f"{role}.json").unlink(missing_ok=True)
    if not keep_why:
        (run_dir / f"{role}.why").unlink(missing_ok=True)


def explain(run_dir: Path, role: str, reason: str) -> None:
    """Leave in `ROLE.why` what keeps a process from working as configured, in one line.

    Empty removes the file.

    Raises:
        OSError: it cannot be written.
    """
    if reason:
        (run_dir / f"{role}.why").write_text(" ".join(reason.split()), "utf-8")
    else:
        (run_dir / f"{role}.why").unlink(missing_ok=True)


def explained(run_dir: Path, role: str) -> str:
    """Read `ROLE.why`; empty when nothing was said."""
    try:
        return (run_dir / f"{role}.why").read_text("utf-8")
    except (OSError, ValueError):
        return ""


def troubles(run_dir: Path) -> dict[str, str]:
    """Give what each process that does not work as configured said of it, by role."""
    said = {file.stem: explained(run_dir, file.stem) for file in sorted(run_dir.glob("*.why"))}
    return {role: why for role, why in said.items() if why}


def read_ports(run_dir: Path) -> dict[str, int]:
    """Read `ports.json`; empty while nothing listens."""
    try:
        return dict(json.loads((run_dir / PORTS).read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a file so that a reader sees the old or the new one, never half of it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(value) + "\n", "utf-8")
    fresh.replace(path)
