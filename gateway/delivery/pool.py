"""The couriers of a process, one thread per destination, replaced as the site changes."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from gateway.delivery.courier import NO_RULES, Courier, Lease, Rules
from gateway.delivery.destination import Destination
from gateway.delivery.mllp_sender import MllpSender
from gateway.store import Store

log = structlog.get_logger(__name__)

GRACE_S = 1.0
"""How long in seconds a courier has to note an outcome once its connection was cut."""


def utc_now() -> datetime:
    """Give the present, UTC-aware."""
    return datetime.now(UTC)


class CourierPool:
    """Starts, wakes, replaces and stops couriers; all methods are for one thread."""

    def __init__(
        self,
        store: Store,
        *,
        lease: Lease,
        poll_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
        rules: Rules = NO_RULES,
    ) -> None:
        """Wire a pool without couriers.

        Args:
            store: where deliveries are.
            lease: this process's name and the shortest time that a claim holds.
            poll_s: the longest a courier sleeps when nobody wakes it, in seconds.
            now: the clock, UTC-aware.
            rules: what couriers ask before each attempt.
        """
        self._store = store
        self._rules = rules
        self._lease = lease
        self._poll_s = poll_s
        self._now = now
        self._posts: dict[str, _Post] = {}
        self._hired = itertools.count(1)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Whom the running couriers serve."""
        return tuple(post.destination for post in self._posts.values())

    def apply(self, destinations: Iterable[Destination], timeout_s: float = 5.0) -> None:
        """Serve exactly these: start new ones, stop those that left, replace the changed."""
        wanted = {destination.name: destination for destination in destinations}
        leaving = [
            post for name, post in self._posts.items() if wanted.get(name) != post.destination
        ]
        self._end(leaving, timeout_s)
        for name, destination in wanted.items():
            if name not in self._posts:
                self._posts[name] = self._start(destination)

    def wake(self) -> None:
        """Tell every courier that there may be work."""
        for post in self._posts.values():
            post.work.set()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what is in flight, cut it after so many seconds, and return."""
        self._end(list(self._posts.values()), timeout_s)

    def _start(self, destination: Destination) -> _Post:
        post = _Post(destination, self._hire)
        post.thread.start()
        log.info("courier.started", destination=destination.name)
        return post

    def _hire(self, post: _Post) -> Courier:
        # One that was replaced may still hang in a connection attempt, so each has its own name.
        owner = f"{self._lease.owner}:{post.destination.name}:{next(self._hired)}"
        return Courier(
            self._store,
            post.destination,
            post.sender,
            lease=Lease(owner, self._lease.seconds),
            wait=post.wait,
            now=self._now,
            poll_s=self._poll_s,
            rules=self._rules,
        )

    def _end(self, posts: list[_Post], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for post in posts:
            post.stop.set()
            post.work.set()
        for post in posts:
            post.thread.join(max(deadline - time.monotonic(), 0.0))
        for post in posts:
            post.sender.abort()
        for post in posts:
            post.thread.join(GRACE_S)
            del self._posts[post.destination.name]
            log.info("courier.stopped", destination=post.destination.name)


class _Post:
    """One courier with its thread, its wire and the events that reach it."""

    def __init__(self, destination: Destination, hire: Callable[[_Post], Courier]) -> None:
        self.destination = destination
        self.sender = MllpSender(destination)
        self.stop = threading.Event()
        self.work = threading.Event()
        self._courier = hire(self)
        name = f"courier-{destination.name}"
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wait(self, timeout_s: float) -> None:
        """Wait until there may be work, or for so many seconds."""
        self.work.wait(timeout_s)
        self.work.clear()

    def _run(self) -> None:
        try:
            self._courier.run(self.stop)
        finally:
            self.sender.close()
