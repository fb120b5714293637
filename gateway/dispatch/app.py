"""The Celery application: JSON only, late acknowledgement, ids only, no result backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import structlog
from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis, virtual

TASK = "ecg.score"
QUEUE = "ecg.score"

_REPLY_S = 10.0
"""A broker silent for so long is taken for lost: a frozen one, or a line cut without a word."""

_log = structlog.get_logger(__name__)


class _PromptConnection(Connection):  # type: ignore[misc]  # kombu has no types
    """A connection that comes back within a second of the broker, not within half a minute."""

    def get_transport_cls(self) -> Any:
        """Give the transport of the URL; Redis's with a channel that survives a lost broker."""
        transport = super().get_transport_cls()
        return _surviving(transport) if issubclass(transport, redis.Transport) else transport

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect, trying again every 0.1 s to 1 s."""
        kwargs.update(interval_start=0.1, interval_step=0.2, interval_max=1.0)
        return super().ensure_connection(*args, **kwargs)


@cache
def _surviving(transport: Any) -> Any:
    """Give a Redis transport whose worker does not hang when the broker dies during a task.

    The late acknowledgement then fails, kombu 5.7 goes on counting the message as unacknowledged,
    and with a prefetch of one it never asks for another, nor notices the lost connection.
    """

    class QoS(transport.Channel.QoS):  # type: ignore[misc]  # kombu has no types
        def ack(self, delivery_tag: str) -> None:
            with self._forgetting(delivery_tag):
                super().ack(delivery_tag)

        def reject(self, delivery_tag: str, requeue: bool = False) -> None:
            with self._forgetting(delivery_tag):
                super().reject(delivery_tag, requeue)

        @contextmanager
        def _forgetting(self, delivery_tag: str) -> Iterator[None]:
            try:
                yield
            except BaseException:  # Redis gives the wake-up out again; it will find nothing to do
                virtual.QoS.ack(self, delivery_tag)
                raise

    class Channel(transport.Channel):  # type: ignore[misc]  # kombu has no types
        pass

    class Transport(transport):  # type: ignore[misc]  # kombu has no types
        pass

    Channel.QoS = QoS
    Transport.Channel = Channel
    return Transport


class _PromptAmqp(AMQP):  # type: ignore[misc]  # nor has celery
    Connection = _PromptConnection


def make_app(
    broker_url: str,
    score: Callable[[str], None] | None = None,
    *,
    visibility_timeout_s: float = 60.0,
) -> Celery:
    """Build the application.

    Args:
        broker_url: any URL that Celery speaks, e.g. `redis+socket:///run/broker.sock`.
        score: what a worker does with an ECG id; None for processes that only wake others.
        visibility_timeout_s: Redis gives a wake-up to another worker when it was not
            acknowledged for so long.
    """
    app = Celery("ecg-gateway", amqp=_PromptAmqp, set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=0,
        broker_transport_options=_transport_options(broker_url, visibility_timeout_s),
        accept_content=["json"],
        task_serializer="json",
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,  # solo: none runs by then
        enable_utc=True,
    )
    if score is not None:
        app.task(_careful(score), name=TASK)
    return app


def connect_briefly(app: Celery) -> Connection:
    """Connect to the broker with one more try, not with Celery's endless ones.

    Raises:
        kombu.exceptions.OperationalError: the broker is away.
    """
    options = app.conf.broker_transport_options
    connection = _PromptConnection(
        app.conf.broker_url, transport_options=options, connect_timeout=1
    )
    try:
        connection.ensure_connection(max_retries=1)
    except BaseException:
        connection.release()
        raise
    return connection


def _careful(score: Callable[[str], None]) -> Callable[[str], None]:
    def run(ecg_id: str) -> None:
        try:
            score(ecg_id)
        except Exception:
            # The row is the truth: it is still claimable, and the sweeper comes by.
            _log.exception("scoring did not end", ecg=ecg_id)

    return run


def _transport_options(broker_url: str, visibility_timeout_s: float) -> dict[str, Any]:
    if not broker_url.startswith(("redis", "unix", "valkey")):
        return {}
    options: dict[str, Any] = {
        "visibility_timeout": visibility_timeout_s,
        "socket_timeout": _REPLY_S,
        "health_check_interval": round(_REPLY_S),
    }
    if "socket:" not in broker_url.partition("//")[0]:
        options.update(socket_connect_timeout=1.0, socket_keepalive=True)
    return options
