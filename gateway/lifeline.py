"""Lets a child process end when its parent is gone, even if the parent died by SIGKILL.

The parent keeps the write end of a pipe that it never writes to; the child waits at the read end.
The kernel closes the write end when the parent dies, whatever it dies of, and the child then ends
as if it had been told to: SIGTERM to itself, so that it drains, and SIGKILL if that takes too long.
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "ECG_GATEWAY_LIFELINE"
GRACE_S = 8.0


class Lifeline:
    """The parent's end, one for all its children."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def environment(self) -> dict[str, str]:
        """Give what a child needs in its environment; pass it `read_end` in `pass_fds`."""
        return {VARIABLE: str(self.read_end)}

    def close(self) -> None:
        """Let go: children that still run end now."""
        os.close(self._write_end)
        os.close(self.read_end)


def follow(grace_s: float = GRACE_S) -> None:
    """In a child: end when the parent does. Without a parent that offers a lifeline, do nothing."""
    text = os.environ.pop(VARIABLE, "")
    if not text.isdigit():
        return
    descriptor = int(text)
    os.set_inheritable(descriptor, False)
    threading.Thread(
        target=_wait_for_end, args=(descriptor, grace_s), name="lifeline", daemon=True
    ).start()


def _wait_for_end(descriptor: int, grace_s: float) -> None:
    """Wait until the parent is gone, then end this process."""
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(grace_s)
    os.kill(os.getpid(), signal.SIGKILL)
