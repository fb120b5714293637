"""Accepting: the bytes are durable and the row is committed before anyone says "accepted"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gateway import failpoints
from gateway.ecg import Arrival, Receipt, State
from gateway.store.blobs import Blob


class _Blobs(Protocol):
    def stage(self, data: bytes) -> Blob: ...

    def add(self, blob: Blob) -> str: ...


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

    def together(self) -> AbstractContextManager[None]:
        """Make one transaction of what is inside."""


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
        """Make one arrival durable; see `accept_all`."""
        (receipt,) = self.accept_all((arrival,))
        return receipt

    def accept_all(
        self,
        arrivals: Sequence[Arrival],
        note: Callable[[Sequence[Receipt]], None] = lambda _: None,
    ) -> tuple[Receipt, ...]:
        """Make arrivals durable; the peer may be answered with success when this returns.

        Args:
            arrivals: what came together: all of them are accepted, or none is.
            note: writes to the store what is to be committed with them, given their receipts.

        Returns:
            The receipts; hand each to `wake` after the peer is answered.

        Raises:
            OutOfResources: the disk reserve is reached.
            StoreUnavailable: bytes or rows could not be written.
        """
        blobs = [self._store.blobs.stage(arrival.content) for arrival in arrivals]
        failpoints.hit("intake.after_blob")
        with self._store.together():
            receipts = tuple(
                self._store.ecgs.add(arrival, self._store.blobs.add(blob))
                for arrival, blob in zip(arrivals, blobs, strict=True)
            )
            note(receipts)
        failpoints.hit("intake.after_commit")
        return receipts

    def wake(self, receipt: Receipt) -> None:
        """Tell a worker, if there is something to do; the sweeper finds what this loses."""
        failpoints.hit("listener.after_answer")
        if receipt.state is State.RECEIVED:
            self._wake(receipt.ecg_id)
