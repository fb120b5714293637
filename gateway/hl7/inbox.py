"""One received message: keep it, take what it carries, say what is to be answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

import structlog

from gateway.ecg import Arrival, Encounter, Receipt
from gateway.errors import (
    BadInput,
    Conflict,
    GatewayError,
    NotUnderstood,
    UnknownPeer,
    WrongContent,
    answer_for,
)
from gateway.hl7.acks import ACCEPTED, Verdict, answers
from gateway.hl7.arrivals import admission_from, ecgs_from, objection, with_encounter
from gateway.hl7.head import Head, read_head
from gateway.hl7.peers import Peer, from_address, sender
from gateway.hl7.reading import Message, read
from gateway.log import describe, place
from gateway.store import Store

CONFLICT = "conflict"
"""Outcome of a message that was taken though its MSH-10 was used before with another body."""

_CONDITIONS: dict[type[Exception], int] = {
    NotUnderstood: 102,
    WrongContent: 100,
    Conflict: 205,
    UnknownPeer: 204,
}
_log = structlog.get_logger(__name__)


class Door(Protocol):
    """What the inbox needs of `gateway.intake.Intake`."""

    def accept(self, arrival: Arrival) -> Receipt:
        """Make an arrival durable."""


@dataclass(frozen=True, slots=True)
class Handled:
    """What to do about one message.

    Attributes:
        answers: messages to send back, unframed, in order; none when the sender asked for none.
        receipts: ECGs to wake a worker for after the answer.
        code: of the verdict, `AA`, `AE` or `AR`.
    """

    answers: tuple[bytes, ...]
    receipts: tuple[Receipt, ...] = ()
    code: str = "AA"


class Inbox:
    """Takes messages one by one, from any thread."""

    def __init__(
        self,
        store: Store,
        door: Door,
        peers: Callable[[], Sequence[Peer]],
        now: Callable[[], datetime],
        zone: Callable[[], tzinfo | None] = lambda: None,
    ) -> None:
        """Build the inbox.

        Args:
            store: where raw messages, encounters and refusals go.
            door: takes the ECGs.
            peers: the site's HL7 peers as of now.
            now: the time, aware.
            zone: of admissions that name none; None means this machine's.
        """
        self._store = store
        self._door = door
        self._peers = peers
        self._now = now
        self._zone = zone

    def handle(self, raw: bytes, address: str) -> Handled:
        """Take one message; never raises.

        `AA` and `CA` mean that the message is fsynced and all that it carries is committed.

        Args:
            raw: the message without its frame.
            address: network address that it came from.
        """
        head = read_head(raw)
        receipts: tuple[Receipt, ...] = ()
        try:
            peer = self._sender(head, address)
            head = read_head(raw, peer.charset) if peer.charset else head
            verdict, receipts = self._take(raw, head, peer, address)
        except Exception as error:
            verdict = _verdict_on(error)
        if verdict.code != "AA":
            _log.warning("hl7 message not taken", code=verdict.code, reason=verdict.text)
        return Handled(answers(head, verdict, self._now()), receipts, verdict.code)

    def _sender(self, head: Head, address: str) -> Peer:
        """Find who sent it; a message without a readable MSH is only known by its address."""
        peers = self._peers()
        here = from_address(peers, address)
        peer = sender(here, address, head.peer) if head != Head() else next(iter(here), None)
        if peer is None:
            self._store.refusals.add("hl7", head.peer[:100], address, "unknown-sender")
            raise UnknownPeer("MSH-3 and MSH-4 are not those of a configured sender")
        return peer

    def _take(
        self, raw: bytes, head: Head, peer: Peer, address: str
    ) -> tuple[Verdict, tuple[Receipt, ...]]:
        digest = self._store.blobs.put(raw)
        seen = self._store.messages.seen(head.peer, head.control_id) if head.control_id else None
        if seen and seen.digest == digest and seen.outcome in {"AA", CONFLICT}:
            return ACCEPTED, ()
        receipts: tuple[Receipt, ...] = ()
        try:
            message = read(raw, peer.charset)
            verdict = objection(head) or ACCEPTED
            if verdict is ACCEPTED:
                receipts = self._file(message, head, address)
        except BadInput as error:
            verdict = _verdict_on(error)
        clash = seen is not None and seen.digest != digest
        self._keep(head, digest, CONFLICT if clash else verdict.code, receipts)
        return verdict, receipts

    def _file(self, message: Message, head: Head, address: str) -> tuple[Receipt, ...]:
        """Take what a message carries.

        Raises:
            BadInput: it cannot be taken. StoreUnavailable, OutOfResources: not now.
        """
        for note in message.notes:
            _log.info("hl7 message tolerated", peer=head.peer, note=note)
        if head.code == "ADT":
            self._admit(message, head)
            return ()
        return tuple(self._accept(ecg) for ecg in ecgs_from(message, head, address))

    def _accept(self, ecg: Arrival) -> Receipt:
        receipt = self._door.accept(ecg)
        if not receipt.new and self._store.ecgs.get(receipt.ecg_id).patient != ecg.patient:
            raise Conflict("this MSH-10 brought the same ECG before, of another patient")
        return receipt

    def _admit(self, message: Message, head: Head) -> None:
        """File an admission; one marked as a test (MSH-11) must not move a live patient."""
        admission = admission_from(message, self._now, self._zone())
        if head.processing != "P":
            return
        who = (admission.patient.id, admission.patient.id_authority)
        encounters = self._store.encounters
        if admission.encounter == Encounter():
            known = encounters.at(*who, admission.at)
            admission = with_encounter(admission, known.encounter if known else None)
        encounters.put(*who, admission.encounter, admission.at, admission.patient)

    def _keep(self, head: Head, digest: str, outcome: str, receipts: tuple[Receipt, ...]) -> None:
        """Commit the row of the message last: once it is there, all it carried is."""
        if outcome == CONFLICT:
            _log.warning("hl7 control id used again with another body", peer=head.peer)
        ids: list[str | None] = [receipt.ecg_id for receipt in receipts]
        for ecg_id in ids or [None]:
            self._store.messages.add("in", head.peer, head.control_id, digest, outcome, ecg_id)


def _verdict_on(error: Exception) -> Verdict:
    """Tell the sender in the words of our own errors, which carry no PHI, and of no others."""
    code = answer_for(error).ack_code
    kinds = type(error).__mro__
    condition = next((_CONDITIONS[kind] for kind in kinds if kind in _CONDITIONS), 207)
    if not isinstance(error, GatewayError):
        _log.error("hl7 message failed", error=describe(error), place=place(error.__traceback__))
        return Verdict(code, condition, "internal error: the message was not taken; send it again")
    return Verdict(code, condition, str(error))
