"""Accepting: the bytes are durable and the row is committed before anyone says "accepted"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway import failpoints
from gateway.ecg import Arrival, Receipt, State


class _Blobs(Protocol):
    def put(self, data: bytes) -> str: ...


class _Ecgs(Protocol):
    def add(self, arrival: Arrival, digest: str) -> Receipt: ...


class IntakeStore(Protocol):
    """What intake needs of the store."""

    @property
    def blobs(self) -> _Blobs:
        """Where the bytes go."""

    @property
    def ecgs(self) -> _Ecgs:
        """Where the row goes."""


class Intake:
    """The one door for every listener."""

    def __init__(self, store: IntakeStore, wake: Callable[[str], None]) -> None:
        """Build the door.

        Args:
            store: the store.
            wake: sends a worker the id of an ECG, without blocking.
        """
        self._store = store
        self._wake = wake

    def accept(self, arrival: Arrival) -> Receipt:
        """Make an arrival durable; the peer may be answered with success when this returns.

        Returns:
            The receipt; hand it to `wake` after the peer is answered.

        Raises:
            OutOfResources: the disk reserve is reached.
            StoreUnavailable: bytes or row could not be written.
        """
        digest = self._store.blobs.put(arrival.content)
        failpoints.hit("intake.after_blob")
        receipt = self._store.ecgs.add(arrival, digest)
        failpoints.hit("intake.after_commit")
        return receipt

    def wake(self, receipt: Receipt) -> None:
        """Tell a worker, if there is something to do; the sweeper finds what this loses."""
        failpoints.hit("listener.after_answer")
        if receipt.state is State.RECEIVED:
            self._wake(receipt.ecg_id)
