"""One received message: keep it, take what it carries, say what is to be answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

import structlog

from gateway.ecg import Arrival, Receipt
from gateway.errors import (
    BadInput,
    Conflict,
    GatewayError,
    NotUnderstood,
    UnknownPeer,
    WrongContent,
    answer_for,
)
from gateway.hl7 import admissions
from gateway.hl7.acks import ACCEPTED, Verdict, answers
from gateway.hl7.arrivals import ecgs_from, objection
from gateway.hl7.head import Head, read_head
from gateway.hl7.peers import Peer, from_address, sender
from gateway.hl7.reading import Message, read
from gateway.log import describe, place
from gateway.store import Blob, MessageRow, Store

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

    def accept_all(
        self, arrivals: Sequence[Arrival], note: Callable[[Sequence[Receipt]], None]
    ) -> tuple[Receipt, ...]:
        """Make arrivals durable, and what `note` writes with them."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A received message on its way into the store.

    Attributes:
        head: its MSH. blob: its bytes. address: where it came from.
        seen: the first message of this sender and MSH-10.
    """

    head: Head
    blob: Blob
    address: str
    seen: MessageRow | None

    @property
    def clashes(self) -> bool:
        """Its MSH-10 came before with another body."""
        return self.seen is not None and self.seen.digest != self.blob.digest

    @property
    def repeated(self) -> bool:
        """It came before and was taken."""
        taken = self.seen is not None and self.seen.outcome in {"AA", CONFLICT}
        return taken and not self.clashes


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
        """Take what a message carries, or keep it with the reason why not: one commit."""
        seen = self._store.messages.seen(head.peer, head.control_id) if head.control_id else None
        letter = _Letter(head, self._store.blobs.stage(raw), address, seen)
        if letter.repeated:
            return ACCEPTED, ()
        try:
            message = read(raw, peer.charset)
            verdict = objection(head) or ACCEPTED
            if verdict is ACCEPTED:
                return ACCEPTED, self._file(message, letter)
        except BadInput as error:
            verdict = _verdict_on(error)
        with self._store.together():
            self._keep(letter, verdict.code)
        return verdict, ()

    def _file(self, message: Message, letter: _Letter) -> tuple[Receipt, ...]:
        """Commit what a message carries together with the message.

        Raises:
            BadInput: it cannot be taken. StoreUnavailable, OutOfResources: not now.
        """
        for note in message.notes:
            _log.info("hl7 message tolerated", peer=letter.head.peer, note=note)
        if letter.head.code == "ADT":
            told = admissions.admissions_from(message, self._now, self._zone())
            with self._store.together():
                if letter.head.processing == "P":  # a test must not move a live patient
                    for admission in told:
                        admissions.file(admission, self._store.encounters)
                        named = {admission.patient.id, admission.retired.id} - {""}
                        self._store.ecgs.compare_again(named)
                self._keep(letter, "AA")
            return ()
        ecgs = ecgs_from(message, letter.head, letter.address)

        def note_message(receipts: Sequence[Receipt]) -> None:
            self._check_patients(ecgs, receipts)
            self._keep(letter, "AA", receipts)

        return self._door.accept_all(ecgs, note_message)

    def _check_patients(self, ecgs: Sequence[Arrival], receipts: Sequence[Receipt]) -> None:
        for ecg, receipt in zip(ecgs, receipts, strict=True):
            if not receipt.new and self._store.ecgs.get(receipt.ecg_id).patient != ecg.patient:
                raise Conflict("this MSH-10 brought the same ECG before, of another patient")

    def _keep(self, letter: _Letter, code: str, receipts: Sequence[Receipt] = ()) -> None:
        """Write the message and what became of it."""
        head, digest = letter.head, self._store.blobs.add(letter.blob)
        if letter.clashes:
            _log.warning("hl7 control id used again with another body", peer=head.peer)
        outcome = CONFLICT if letter.clashes else code
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
