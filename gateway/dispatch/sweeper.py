"""Finding what no one holds: lost wake-ups, expired leases, leases of the dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import structlog

_LIMIT = 100
"""Wake-ups that the sweeper lets wait in the broker; more would only be double."""

_log = structlog.get_logger(__name__)


class SweptEcgs(Protocol):
    """What the sweeper asks of `store.ecgs`."""

    def unclaimed(self, older_than_s: float, limit: int) -> list[str]:
        """List ids that no one holds."""

    def held(self) -> list[tuple[str, str]]:
        """List (id, owner) of what is being scored."""

    def release(self, ecg_id: str, owner: str, why: str = "") -> bool:
        """Give one back."""


class SweeperWakeups(Protocol):
    """What the sweeper asks of `Wakeups`."""

    def score(self, ecg_id: str) -> None:
        """Wake a worker."""

    def backlog(self) -> int | None:
        """Count the wake-ups in the broker."""


class Sweeper:
    """Looks every `every_s` seconds, from a thread of each worker."""

    def __init__(
        self,
        ecgs: SweptEcgs,
        wakeups: SweeperWakeups,
        is_dead: Callable[[str], bool],
        every_s: float,
    ) -> None:
        self._ecgs = ecgs
        self._wakeups = wakeups
        self._is_dead = is_dead
        self._every_s = every_s

    def run(self, stop: threading.Event) -> None:
        """Sweep at once and then every `every_s` seconds until `stop`; errors wait for the next."""
        while True:
            try:
                self.sweep()
            except Exception:
                _log.warning("sweep failed", exc_info=True)
            if stop.wait(self._every_s):
                return

    def sweep(self) -> int:
        """Wake workers for what waits.

        Returns:
            How many wake-ups were sent.
        """
        freed = [self._free(ecg_id, owner) for ecg_id, owner in self._ecgs.held()]
        backlog = self._wakeups.backlog()
        if backlog is None or backlog >= _LIMIT:
            return 0
        waiting = self._ecgs.unclaimed(0.0 if any(freed) else self._every_s, _LIMIT)
        if len(waiting) <= backlog:  # a long queue, not lost wake-ups; if not, it drains first
            return 0
        woken = waiting[: _LIMIT - backlog]
        for ecg_id in woken:
            self._wakeups.score(ecg_id)
        _log.info("swept", woken=len(woken))
        return len(woken)

    def _free(self, ecg_id: str, owner: str) -> bool:
        if not self._is_dead(owner):
            return False
        return self._ecgs.release(ecg_id, owner, "worker died")
