"""Wake-ups over the broker: sent from a thread, so that no listener waits for a broker."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery
from kombu import Connection, Producer

from gateway.dispatch.app import QUEUE, TASK, connect_briefly, make_app
from gateway.dispatch.ear import DELIVER, Ear

_WAITING = 10_000  # wake-ups kept while the broker is away; the sweeper finds the rest
_PAUSE_S = 0.25
_log = structlog.get_logger(__name__)


class Wakeups:
    """Sends and hears wake-ups; every method may be called from any thread.

    Threads start with the first use. Errors of the broker are logged once per outage and
    swallowed: a lost wake-up costs time, never an ECG.
    """

    def __init__(self, broker_url: str) -> None:
        self._app = make_app(broker_url)
        self._starting = threading.Lock()
        self._sender: _Sender | None = None
        self._ear: Ear | None = None

    def score(self, ecg_id: str) -> None:
        """Wake a worker for an ECG."""
        self._sending().put(ecg_id)

    def deliver(self) -> None:
        """Wake every courier."""
        self._sending().put(None)

    def wait_deliver(self, timeout_s: float) -> bool:
        """Wait for the courier's wake-up.

        Returns:
            True if one came since this thread last waited, or may have been lost meanwhile.
        """
        with self._starting:
            if self._ear is None:
                self._ear = Ear(lambda: connect_briefly(self._app))
            ear = self._ear
        return ear.wait(timeout_s)

    def backlog(self) -> int | None:
        """Count the wake-ups that no worker has taken yet; None when the broker is away."""
        try:
            with connect_briefly(self._app) as connection:
                declared = self._app.amqp.queues[QUEUE](connection.channel()).queue_declare()
                return int(declared.message_count)
        except Exception as error:
            _log.warning("broker: backlog unknown", error=type(error).__name__)
            return None

    def close(self, timeout_s: float = 2.0) -> None:
        """Send what is waiting, for at most `timeout_s`, and end the threads."""
        with self._starting:
            sender, ear = self._sender, self._ear
        if sender is not None:
            sender.close(timeout_s)
        if ear is not None:
            ear.close(timeout_s)

    def _sending(self) -> _Sender:
        with self._starting:
            if self._sender is None:
                self._sender = _Sender(self._app)
            return self._sender


class _Sender:
    """A thread that publishes what is put into its outbox."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._outbox: queue.Queue[Callable[[Producer], None] | None] = queue.Queue(_WAITING)
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._away = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake-sender", daemon=True)
        self._thread.start()

    def put(self, ecg_id: str | None) -> None:
        """Queue a wake-up for an ECG, or for the couriers (None)."""
        publish = self._courier if ecg_id is None else _Task(self._app, ecg_id)
        with suppress(queue.Full):
            self._outbox.put_nowait(publish)

    def close(self, timeout_s: float) -> None:
        """Send the rest, unless the broker is away, and end."""
        self._closing.set()
        with suppress(queue.Full):
            self._outbox.put_nowait(None)
        self._thread.join(timeout_s)

    @staticmethod
    def _courier(producer: Producer) -> None:
        producer.publish({}, exchange=DELIVER, declare=[DELIVER], serializer="json", retry=False)

    def _run(self) -> None:
        while (publish := self._outbox.get()) is not None:
            while not self._published(publish) and not self._closing.wait(_PAUSE_S):
                pass
            if self._away and self._closing.is_set():
                break
        self._hang_up()

    def _published(self, publish: Callable[[Producer], None]) -> bool:
        try:
            self._publish(publish)
        except Exception as error:
            self._hang_up()
            if not self._away:
                _log.warning("broker: away", error=type(error).__name__)
            self._away = True
            return False
        if self._away:
            _log.info("broker: back")
        self._away = False
        return True

    def _publish(self, publish: Callable[[Producer], None]) -> None:
        if self._producer is not None:
            try:
                publish(self._producer)
            except Exception:  # the broker was restarted since; one fresh try
                self._hang_up()
            else:
                return
        self._connection = connect_briefly(self._app)
        self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
        publish(self._producer)

    def _hang_up(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.release()


class _Task:
    """The wake-up of one ECG: its id, nothing else."""

    def __init__(self, app: Celery, ecg_id: str) -> None:
        self._app = app
        self._ecg_id = ecg_id

    def __call__(self, producer: Any) -> None:
        self._app.send_task(TASK, args=[self._ecg_id], producer=producer, retry=False)
