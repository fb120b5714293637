"""Places where a test may kill this process, so that promise 2 can be tried at each state change.

Set `ECG_GATEWAY_FAILPOINT=NAME:MARKER` and the first process that reaches `hit(NAME)` dies by
SIGKILL, once: it creates the file MARKER first, and a process that finds MARKER there goes on.
Without the variable a call costs one dictionary look-up. Names in use are listed in `NAMES`.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "intake.after_blob",  # bytes on disk, row not committed
    "intake.after_commit",  # row committed, peer not answered, worker not woken
    "listener.after_answer",  # peer answered, worker not woken
    "worker.mid_score",  # claimed and decoded, score not committed
    "worker.after_commit",  # score and deliveries committed, courier not woken
    "courier.after_send",  # message on the wire, no acknowledgement read
    "courier.after_ack",  # acknowledgement read, not committed
)


def hit(name: str) -> None:
    """Die here by SIGKILL if a test asked for it."""
    wanted = os.environ.get("ECG_GATEWAY_FAILPOINT")
    if not wanted:
        return
    target, _, marker = wanted.partition(":")
    if target != name:
        return
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
