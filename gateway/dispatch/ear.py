"""Hearing the courier's wake-up: a thread that listens to a fan-out exchange."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from kombu import Connection, Exchange, Queue

DELIVER = Exchange("ecg.deliver", type="fanout", durable=False, auto_delete=False)

_PAUSE_S = 0.5
_log = structlog.get_logger(__name__)


class Ear:
    """Counts the wake-ups heard; any number of threads wait for the next one."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._heard = 0
        self._mine = threading.local()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake-ear", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until a wake-up came that this thread has not seen; False when none did."""
        with self._changed:
            seen = getattr(self._mine, "seen", 0)
            self._changed.wait_for(lambda: self._heard > seen or self._stop.is_set(), timeout_s)
            self._mine.seen = self._heard
            return self._heard > seen

    def close(self, timeout_s: float) -> None:
        """End the thread and every wait."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _hear(self, *_: Any) -> None:
        with self._changed:
            self._heard += 1
            self._changed.notify_all()

    def _run(self) -> None:
        away = False
        while not self._stop.is_set():
            try:
                self._listen()
            except Exception as error:
                if not away:
                    _log.warning("broker: away", error=type(error).__name__)
                away = True
                self._stop.wait(_PAUSE_S)
            else:
                away = False

    def _listen(self) -> None:
        name = f"ecg.deliver.{socket.gethostname()}.{os.getpid()}.{id(self):x}"
        heard = Queue(name, DELIVER, durable=False, exclusive=True, auto_delete=True)
        with (
            self._connect() as connection,
            connection.channel() as channel,
            connection.Consumer([heard], channel=channel, callbacks=[self._hear], no_ack=True),
        ):
            _drain(connection, 0.01)  # Redis subscribes with the first poll
            self._hear()  # what was told while nobody listened is lost, so look once
            while not self._stop.is_set():
                _drain(connection, 0.5)


def _drain(connection: Connection, timeout_s: float) -> None:
    with suppress(TimeoutError):
        connection.drain_events(timeout=timeout_s)
