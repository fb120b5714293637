"""One DICOM association from A-ASSOCIATE-RQ to its end, as acceptor (PS3.8 9.2, PS3.4 B).

A Success is sent only after `accept` returned, and a worker is woken only after the Success is on
the wire, so a peer never waits for the wake-up.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway import failpoints
from gateway.dicom import arrival, dimse, pdu
from gateway.dicom.admission import LOCAL_LIMIT, Peer, answer_contexts, judge
from gateway.dicom.contexts import ACCEPTED
from gateway.ecg import Arrival, Receipt, Source
from gateway.errors import BadInput, GatewayError, NotUnderstood, answer_for
from listeners.channel import Channel, Closed, TimedOut

log = structlog.get_logger(__name__)

USER, PROVIDER = 0, 2
NOT_SPECIFIED, UNEXPECTED_PDU, INVALID_PDU = 0, 2, 6
CLOSE_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class DicomOptions:
    """What the listener is told at start; times in seconds, sizes as their names say.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 lets the system choose.
        max_pdu_bytes: largest P-DATA that we announce; 0 = the 16 MB that are put up with.
        max_associations: in all, in this process.
        max_associations_per_ae: of one calling AE title, in this process.
        acse_timeout_s: from connection to a complete A-ASSOCIATE-RQ (ARTIM).
        dimse_timeout_s: between the PDUs of a message, for each PDU, and for sending.
        idle_timeout_s: between messages.
        max_object_mb: largest data set that is taken, also when inflated.
        reuse_port: several processes listen on the same port.
    """

    host: str = "127.0.0.1"
    port: int = 0
    max_pdu_bytes: int = 131072
    max_associations: int = 100
    max_associations_per_ae: int = 20
    acse_timeout_s: float = 30.0
    dimse_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    max_object_mb: int = 256
    reuse_port: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """What the listener needs of the gateway.

    Attributes:
        peers: who may associate, asked for every association.
        ae_title: our own AE title, asked likewise.
        accept: makes an arrival durable.
        wake: wakes a worker.
        refused: records protocol, peer, address and reason of a refusal.
    """

    peers: Callable[[], Sequence[Peer]]
    ae_title: Callable[[], str]
    accept: Callable[[Arrival], Receipt]
    wake: Callable[[Receipt], None]
    refused: Callable[[str, str, str, str], None]


class Seats:
    """Counts associations, in all and for each calling AE title."""

    def __init__(self, total: int, per_ae: int) -> None:
        self._total, self._per_ae = total, per_ae
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, ae_title: str) -> bool:
        """Take a seat; False when there is none."""
        with self._lock:
            if self._taken.total() >= self._total or self._taken[ae_title] >= self._per_ae:
                return False
            self._taken[ae_title] += 1
            return True

    def leave(self, ae_title: str) -> None:
        """Give a seat back."""
        with self._lock:
            self._taken[ae_title] -= 1
            if not self._taken[ae_title]:
                del self._taken[ae_title]


class Association:
    """The acceptor's side of one association; `run` blocks until it is over."""

    def __init__(
        self,
        channel: Channel,
        address: str,
        options: DicomOptions,
        services: Services,
        seats: Seats,
    ) -> None:
        self._channel = channel
        self._address = address
        self._options = options
        self._services = services
        self._seats = seats
        self._max_bytes = options.max_object_mb << 20
        self._assembler = dimse.Assembler(self._max_bytes)
        self._request: pdu.AssociateRequest | None = None
        self._contexts: dict[int, pdu.ContextAnswer] = {}
        self._seated = ""
        self._lock = threading.Lock()
        self._busy = False
        self._draining = False

    def run(self) -> None:
        """Serve the association; never raises."""
        try:
            self._serve()
        except Closed:
            pass
        except TimedOut:
            self._abort(NOT_SPECIFIED)
        except NotUnderstood as error:
            log.info("dicom connection dropped", address=self._address, reason=str(error))
            self._abort(INVALID_PDU)
        except Exception:
            log.exception("dicom association failed", address=self._address)
            self._abort(NOT_SPECIFIED)
        finally:
            self._leave()
            self._channel.close()

    def drain(self) -> None:
        """End the association as soon as no message is under way; from another thread."""
        with self._lock:
            self._draining = True
            if not self._busy:
                self._channel.shut()

    def kill(self) -> None:
        """End the association now; from another thread."""
        self._channel.shut()

    def _serve(self) -> None:
        limit_s = self._options.acse_timeout_s
        kind, body = self._channel.read_pdu(limit_s, limit_s)
        if kind != pdu.ASSOCIATE_RQ:
            self._abort(UNEXPECTED_PDU)
            return
        if not self._admit(pdu.parse_associate_rq(body)):
            return
        while self._next_pdu():
            pass

    def _admit(self, request: pdu.AssociateRequest) -> bool:
        """Accept or reject the association; whether it goes on."""
        verdict = judge(request, self._address, self._services.peers(), self._services.ae_title())
        if isinstance(verdict, Peer) and not self._seats.take(request.calling):
            verdict = LOCAL_LIMIT
        if isinstance(verdict, pdu.Rejection):
            self._record(request.calling, verdict.words)
            self._send(pdu.build_associate_rj(verdict))
            self._channel.wait_closed(CLOSE_WAIT_S)
            return False
        self._seated = request.calling
        self._request = request
        answers = answer_contexts(request)
        self._contexts = {answer.id: answer for answer in answers if answer.result == ACCEPTED}
        max_pdu = self._options.max_pdu_bytes or pdu.MAX_P_DATA_BYTES
        self._send(pdu.build_associate_ac(request, answers, max_pdu))
        return True

    def _next_pdu(self) -> bool:
        """Handle one PDU; whether the association goes on."""
        options = self._options
        silence_s = options.idle_timeout_s if self._assembler.idle else options.dimse_timeout_s
        kind, body = self._channel.read_pdu(silence_s, options.dimse_timeout_s)
        if kind == pdu.P_DATA:
            return self._data(body)
        if kind == pdu.RELEASE_RQ:
            self._leave()
            self._send(pdu.RELEASE_RP_BYTES)
            self._channel.wait_closed(CLOSE_WAIT_S)
        elif kind != pdu.ABORT:
            self._abort(UNEXPECTED_PDU)
        return False

    def _data(self, body: bytes) -> bool:
        """Handle a P-DATA-TF; whether the association goes on."""
        if not self._begin():
            return False
        for context, command, last, part in pdu.fragments(body):
            message = self._assembler.feed(context, command, last, part)
            if message:
                self._answer(message)
        return self._end()

    def _begin(self) -> bool:
        """Mark a message as under way, unless a drain closed the connection before."""
        with self._lock:
            if self._draining and not self._busy:
                return False
            self._busy = True
            return True

    def _end(self) -> bool:
        """Mark the end of a message, if this was its end; whether the association goes on."""
        with self._lock:
            self._busy = not self._assembler.idle
            ended = self._draining and not self._busy
        if ended:
            self._abort(NOT_SPECIFIED)
        return not ended

    def _answer(self, message: dimse.Message) -> None:
        """Serve one request and answer it; wake a worker after the answer is on the wire."""
        command = message.command
        if command.field == dimse.C_CANCEL_RQ:
            return
        if command.field & 0x8000 or message.context not in self._contexts:
            raise NotUnderstood("a response, or a context that was not accepted")
        if command.field == dimse.C_STORE_RQ:
            self._store(message)
        elif command.field == dimse.C_ECHO_RQ:
            self._respond(message, dimse.SUCCESS)
        else:
            self._respond(message, dimse.UNRECOGNIZED_OPERATION)

    def _store(self, message: dimse.Message) -> None:
        """C-STORE (PS3.4 B.2.3)."""
        if message.command.sop_class != self._contexts[message.context].abstract:
            self._respond(message, dimse.SOP_CLASS_NOT_SUPPORTED, "not the class of its context")
            return
        try:
            receipt = self._services.accept(self._arrival(message))
        except Exception as error:
            self._refuse(message, error)
            return
        try:
            self._respond(message, dimse.SUCCESS)
        finally:
            failpoints.hit("listener.after_answer")
            self._services.wake(receipt)

    def _arrival(self, message: dimse.Message) -> Arrival:
        if message.oversized:
            raise BadInput(f"object larger than {self._options.max_object_mb} MB")
        return arrival.from_store(
            message.data_set,
            sop_class=message.command.sop_class,
            sop_uid=message.command.sop_uid,
            transfer_syntax=self._contexts[message.context].transfer,
            source=Source("dicom", self._seated, self._address),
            max_bytes=self._max_bytes,
        )

    def _refuse(self, message: dimse.Message, error: Exception) -> None:
        status = answer_for(error).dicom_status
        if isinstance(error, GatewayError):
            comment = str(error) or type(error).__name__
        else:
            comment = "internal error"
            log.error("dicom store failed", address=self._address, exc_info=error)
        self._record(self._seated, f"C-STORE refused, status {status:04X}: {comment}")
        self._respond(message, status, comment)

    def _respond(self, message: dimse.Message, status: int, comment: str = "") -> None:
        response = dimse.build_response(message.command, status, comment)
        peer_max = self._request.max_pdu if self._request else 0
        self._send(pdu.build_p_data(message.context, response, peer_max))

    def _record(self, peer: str, reason: str) -> None:
        """Record a refusal; that it cannot be recorded must not change the answer."""
        log.warning("dicom refused", peer=peer, address=self._address, reason=reason)
        try:
            self._services.refused("dicom", peer, self._address, reason)
        except Exception:
            log.warning("dicom refusal not recorded", exc_info=True)

    def _send(self, data: bytes) -> None:
        self._channel.send(data, self._options.dimse_timeout_s)

    def _abort(self, reason: int) -> None:
        """Send an A-ABORT if the peer still listens."""
        try:
            self._channel.send(pdu.build_abort(PROVIDER, reason), CLOSE_WAIT_S)
        except (Closed, TimedOut):
            return
        self._channel.shut()

    def _leave(self) -> None:
        if self._seated:
            self._seats.leave(self._seated)
            self._seated = ""
