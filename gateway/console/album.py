"""What was drawn of the last ECGs, by one thread that draws for all of them.

The cores are the workers', and a picture that hangs holds up pictures only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

from gateway.store import EcgRow

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a page waits for its pictures."""


class Album(Generic[T]):
    """Draws, and remembers what it drew last."""

    def __init__(self, thread: Executor, draw: Callable[[EcgRow], T], recent: int) -> None:
        """Begin empty.

        Args:
            thread: the one thread that draws; several albums may share it.
            draw: draws of an ECG; what it gives follows from what was received and scored.
            recent: how many ECGs are remembered.
        """
        self._thread, self._draw, self._most = thread, draw, recent
        self._recent: OrderedDict[tuple[str, ...], T] = OrderedDict()

    def of(self, row: EcgRow) -> T:
        """Give what is drawn of an ECG; must not be called from an event loop.

        Raises:
            TimeoutError: it takes longer than `PATIENCE_S`.
            StoreUnavailable: what was kept cannot be read now.
        """
        return self._thread.submit(self._remembered, row).result(PATIENCE_S)

    def _remembered(self, row: EcgRow) -> T:
        bundle = row.score.bundle if row.score else ""
        key = (row.id, row.reason, row.images.get("panel", ""), bundle)
        if key not in self._recent:
            self._recent[key] = self._draw(row)
            if len(self._recent) > self._most:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]
