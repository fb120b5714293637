"""The worker process: one Celery solo pool that scores, one thread that sweeps."""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.worker import state

from gateway.dispatch.sweeper import Sweeper


def run_worker(app: Celery, sweeper: Sweeper, ready: Callable[[], None], name: str) -> None:
    """Take wake-ups until SIGTERM or SIGINT; the task at hand is finished first.

    Must be called from the main thread. A broker that is away is waited for. Sweeping begins when
    the worker is ready: without a broker nobody can be woken, and Celery starts up alone, without
    a second thread that imports and connects at the same time.

    Args:
        app: made by `make_app` with a `score` function.
        sweeper: runs in a thread of this process.
        ready: called once, when the first connection to the broker stands.
        name: node name, unique among the workers, e.g. `work-1@host`.
    """
    stop = threading.Event()
    sweeping = threading.Thread(target=sweeper.run, args=(stop,), name="sweeper", daemon=True)

    def begin(_consumer: Any) -> None:
        sweeping.start()
        ready()

    worker = app.WorkController(
        hostname=name,
        pool_cls="solo",
        concurrency=1,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        ready_callback=begin,
    )
    previous = {number: signal.signal(number, _ask_to_stop) for number in _STOPPERS}
    try:
        worker.start()
    finally:
        stop.set()
        if sweeping.is_alive():
            sweeping.join(5)
        state.should_stop = None
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process with exit status 1 if what is inside takes longer.

    A decoder that hangs in native code, interpreter lock in hand or not, would otherwise hold the
    only worker for ever. The supervisor starts another one, whose sweeper gives the ECG back;
    after `max_attempts` it is `failed`. Where the threads hung is written to standard error, as
    files and lines; a thread that runs on meanwhile can end the process by SIGSEGV as it is read.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


_STOPPERS = (signal.SIGTERM, signal.SIGINT)


def _ask_to_stop(_number: int, _frame: Any) -> None:
    state.should_stop = 0
