"""Progress of slow commands: one line on stderr that moves on a terminal, a new one elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.train import Progress

_EVERY_S = 5.0  # between lines where they stay


class Ticker:
    """Tells how much is done and how long the rest will take."""

    def __init__(self) -> None:
        self.what, self.began_s, self.told_s = "", 0.0, 0.0
        self.moves = sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell of a step, of which `done` of `total` are done."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.began_s, self.told_s = what, now, now
        spent = now - self.began_s
        if done == 0:
            self._say(f"{what} ...", ends=False)
        elif done >= total:
            count = f" {total}," if total > 1 else ""
            self._say(f"{what}:{count} took {span(spent)}")
        elif now - self.told_s >= (0.2 if self.moves else _EVERY_S):
            self.told_s = now
            left = span(spent / done * (total - done))
            self._say(f"{what}: {done} of {total}, {left} left", ends=False)

    def train(self, p: Progress) -> None:
        """Tell of a training; of these lines each stays."""
        self._say(
            f"epoch {p.epoch}/{p.epochs}, step {p.step}/{p.steps}: loss {p.loss:.4f}, "
            f"{p.images_per_s:.1f} ECGs/s, {span(p.eta_s)} left"
        )

    def _say(self, line: str, *, ends: bool = True) -> None:
        start = "\r\x1b[K" if self.moves else ""
        sys.stderr.write(start + line + ("\n" if ends or not self.moves else ""))
        sys.stderr.flush()


def span(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
