"""One ordered courier per destination: claim, send, note what came of it, go on.

    claimed ──> site or ADT forbids it by now ──────> dead
       │        (ADT merged its patient: renamed)
       ├──> an alert past its deadline, or one
       │    that the site files by now ─────────────> expired, and filed as a plain result
       ├──> its bytes are lost ──────────────────────> dead
       └──> sent ──> AA/CA ──────────────────────────> acknowledged
                 ├─> AE/CE ──────────────────────────> rejected (a dead letter)
                 ├─> AR/CR ── pause, so many times ──> dead
                 └─> nothing, or something else ─────> the same bytes again, for ever

An error that nobody foresaw, wherever it comes from, is like no answer: a pause, then again.

The store hands out the oldest message whose patient has none before it that is still open, so the
order holds per patient and a message that keeps failing delays that patient only.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from gateway import failpoints
from gateway.delivery.destination import Destination
from gateway.delivery.prepare import patient_key
from gateway.ecg import Patient
from gateway.errors import (
    BlobLost,
    DeliveryError,
    GatewayError,
    NoAcknowledgement,
    OutOfResources,
    PeerBusy,
    PeerUnreachable,
    Rejected,
    StoreUnavailable,
)
from gateway.hl7 import oru
from gateway.log import describe
from gateway.store import Blob, Store
from gateway.store.rows import DeliveryRow, NewDelivery

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Hands one message over."""

    def send(self, message: bytes, control_id: str) -> bytes:
        """Send, and give the acknowledgement that accepts it.

        Raises:
            PeerUnreachable: connection. NoAcknowledgement: no matching answer: outcome unknown.
            Rejected: AE or CE. PeerBusy: AR or CR.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims deliveries, and for how long a claim holds without an outcome."""

    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ruling:
    """What site and ADT, as they are now, say of a delivery that is due.

    Attributes:
        objection: why it must not go there at all, as a code; empty when it may.
        alerts: whether it may go to that destination as an alert.
        merged: the patient under the identifier that ADT merged theirs into; None for no merge.
    """

    objection: str = ""
    alerts: bool = True
    merged: Patient | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a courier asks before each attempt.

    Attributes:
        instead: what is told in place of an alert that must not go as one; None for nothing.
        on: the ruling on a delivery to a destination.
    """

    instead: Callable[[DeliveryRow], NewDelivery | None] = lambda _delivery: None
    on: Callable[[DeliveryRow, Destination], Ruling] = lambda _delivery, _destination: Ruling()


NO_RULES = Rules()


class Courier:
    """Delivers to one destination, one message at a time.

    Attributes:
        trouble_pause_s: pause in seconds after the store failed us.
    """

    trouble_pause_s = 1.0

    def __init__(
        self,
        store: Store,
        destination: Destination,
        send: Sender,
        *,
        lease: Lease,
        wait: Callable[[float], object],
        now: Callable[[], datetime],
        poll_s: float = 1.0,
        rules: Rules = NO_RULES,
    ) -> None:
        """Wire a courier; nothing starts before `run`.

        Args:
            store: where deliveries are.
            destination: whom it serves.
            send: the wire.
            lease: its name and the shortest time that a claim holds.
            wait: returns when there may be work, or after so many seconds.
            now: the clock, UTC-aware.
            poll_s: the longest wait for work.
            rules: what is asked before each attempt.
        """
        self._store = store
        self._destination = destination
        self._send = send
        self._owner = lease.owner
        self._lease_s = max(lease.seconds, destination.attempt_s + 5.0)
        self._wait = wait
        self._now = now
        self._poll_s = poll_s
        self._rules = rules
        self._failures = 0  # unknown outcomes in a row, of any message
        self._busy: Counter[int] = Counter()  # AR/CR answers by delivery, since this start
        self._log = log.bind(destination=destination.name)

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; the message in flight is finished first."""
        while not stop.is_set():
            try:
                if not self.step(stop) and not stop.is_set():
                    self._wait(self._idle_s())
            except GatewayError as error:
                self._log.warning("courier.trouble", error=error)
                stop.wait(self.trouble_pause_s)
            except Exception:
                self._log.exception("courier.fault")
                stop.wait(self.trouble_pause_s)

    def step(self, stop: threading.Event) -> bool:
        """Deliver one message if one is due; tells whether there was one."""
        now = self._now()
        delivery = self._store.outbox.claim_next(
            self._destination.name, self._owner, self._lease_s, now
        )
        if delivery is None:
            return False
        try:
            self._settle(delivery, now, stop)
        except (StoreUnavailable, OutOfResources):
            raise
        except Exception as error:
            self._log.exception("delivery.fault", delivery=delivery.id, ecg=delivery.ecg_id)
            self._again(delivery, self._destination.pause_s(delivery.attempts), describe(error))
        return True

    def _settle(self, delivery: DeliveryRow, now: datetime, stop: threading.Event) -> None:
        """Bring a claimed delivery to the outcome of this attempt."""
        ruling = self._rules.on(delivery, self._destination)
        if why := ruling.objection:
            self._store.outbox.dead(delivery.id, self._owner, why)
            self._log.error("delivery.dead", delivery=delivery.id, ecg=delivery.ecg_id, why=why)
            return
        until = delivery.expires_at  # of an alert
        if until is not None and not (ruling.alerts and now < until):
            self._store.outbox.expire(delivery.id, self._owner, self._rules.instead(delivery))
            self._log.warning("delivery.expired", delivery=delivery.id, ecg=delivery.ecg_id)
            return
        self._attempt(delivery, ruling.merged)
        stop.wait(self._pause_s())

    def _attempt(self, delivery: DeliveryRow, merged: Patient | None) -> None:
        try:
            message = self._store.blobs.get(delivery.payload)
            if merged is not None:
                delivery, message = self._renamed(delivery, message, merged)
        except BlobLost as error:  # for ever: it must not hold its patient's other results up
            self._store.outbox.dead(delivery.id, self._owner, str(error))
            self._log.error("delivery.dead", delivery=delivery.id, error=error)
            return
        if not self._store.outbox.mark_sent(delivery.id, self._owner):
            return  # the lease is no longer ours
        try:
            answer = self._send.send(message, delivery.control_id)
        except Rejected as error:
            self._rejected(delivery, error)
        except PeerBusy as error:
            self._was_busy(delivery, error)
        except (PeerUnreachable, NoAcknowledgement) as error:
            self._unknown(delivery, error)
        else:
            self._accepted(delivery, answer)

    def _renamed(
        self, delivery: DeliveryRow, message: bytes, patient: Patient
    ) -> tuple[DeliveryRow, bytes]:
        """Lay the message out under the identifier that ADT merged the patient's into."""
        anew = oru.renamed(message, patient)
        if anew == message:
            return delivery, message
        with self._store.together():
            payload = self._store.blobs.put(anew, into_reserve=True)
            key = patient_key(patient)
            self._store.outbox.rename(delivery.id, self._owner, payload, key)
        self._log.info("delivery.renamed", delivery=delivery.id, ecg=delivery.ecg_id)
        return replace(delivery, payload=payload), anew

    def _accepted(self, delivery: DeliveryRow, answer: bytes) -> None:
        self._failures = 0
        failpoints.hit("courier.after_ack")
        kept = self._kept(answer)
        with self._store.together():
            digest = self._note(delivery, "AA", kept)
            ours = self._store.outbox.acknowledge(delivery.id, self._owner, digest)
        self._settled(delivery)
        self._log.info(
            "delivery.acknowledged", delivery=delivery.id, ecg=delivery.ecg_id, ours=ours
        )

    def _rejected(self, delivery: DeliveryRow, error: Rejected) -> None:
        self._failures = 0
        kept = self._kept(error.answer)
        with self._store.together():
            digest = self._note(delivery, "AE", kept)
            self._store.outbox.reject(delivery.id, self._owner, digest, str(error))
        self._settled(delivery)
        self._log.error("delivery.rejected", delivery=delivery.id, answer=str(error))

    def _was_busy(self, delivery: DeliveryRow, error: PeerBusy) -> None:
        self._failures = 0
        self._busy[delivery.id] += 1
        times = self._busy[delivery.id]
        kept = self._kept(error.answer)
        with self._store.together():
            self._note(delivery, "AR", kept)
        if times > self._destination.max_busy_retries:
            self._store.outbox.dead(delivery.id, self._owner, str(error))
            self._settled(delivery)
            self._log.error("delivery.dead", delivery=delivery.id, answer=str(error), times=times)
            return
        self._again(delivery, self._destination.pause_s(times), describe(error))

    def _unknown(self, delivery: DeliveryRow, error: DeliveryError) -> None:
        self._failures += 1
        pause_s = max(self._destination.pause_s(delivery.attempts), self._pause_s())
        self._again(delivery, pause_s, describe(error))

    def _again(self, delivery: DeliveryRow, pause_s: float, error: str) -> None:
        at = self._now() + timedelta(seconds=pause_s)
        self._store.outbox.retry(delivery.id, self._owner, at, error)
        self._log.warning("delivery.retry", delivery=delivery.id, pause_s=pause_s, error=error)

    def _pause_s(self) -> float:
        """Pause of the whole courier: the first unknown outcome may be one message's own fault."""
        return self._destination.pause_s(self._failures - 1)

    def _idle_s(self) -> float:
        due = self._store.outbox.next_due(self._destination.name)
        if due is None:
            return self._poll_s
        return min(max((due - self._now()).total_seconds(), 0.01), self._poll_s)

    def _kept(self, answer: bytes) -> Blob | None:
        """Keep a peer's answer; a full disk must not undo what the peer said."""
        try:
            return self._store.blobs.stage(answer, into_reserve=True)
        except (OutOfResources, StoreUnavailable) as error:
            self._log.warning("answer.not_kept", error=error)
            return None

    def _note(self, delivery: DeliveryRow, outcome: str, answer: Blob | None) -> str:
        """Log the message with its answer; give the answer's digest."""
        digest = self._store.blobs.add(answer) if answer else ""
        self._store.messages.add(
            "out",
            self._destination.name,
            delivery.control_id,
            delivery.payload,
            outcome,
            ecg_id=delivery.ecg_id,
            answer_digest=digest or None,
        )
        return digest

    def _settled(self, delivery: DeliveryRow) -> None:
        self._busy.pop(delivery.id, None)
