"""One persistent MLLP connection with one message in flight (HL7 v2.5.1 appendix C).

After any doubt the connection is closed, so that a late acknowledgement finds nobody: it can never
credit the next message. What became of the message is then unknown, and its bytes are sent again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from gateway import failpoints
from gateway.delivery.answers import judge
from gateway.delivery.destination import Destination
from gateway.errors import NoAcknowledgement, PeerUnreachable
from gateway.hl7.framing import Decoder, frame

MAX_ANSWER_BYTES = 1 << 20
READ_BYTES = 1 << 16
KEEPALIVE_S, PROBE_S, PROBES = 60, 10, 3
"""An idle peer is probed after so many seconds, then each so many, and gone after so many probes: a
line that a firewall forgot is found dead before the next alert is sent into it."""


class MllpSender:
    """Sends messages to one destination. One thread owns it; only `abort` may come from another."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._socket: socket.socket | None = None
        self._guard = threading.Lock()
        self._aborted = False

    def send(self, message: bytes, control_id: str) -> bytes:
        """Send a message and wait for its acknowledgement.

        Args:
            message: the bytes, without a frame.
            control_id: its MSH-10, which MSA-2 must repeat.

        Returns:
            The acknowledgement that accepts it, AA or CA.

        Raises:
            PeerUnreachable: no connection, or it was lost; NoAcknowledgement: no matching answer
                in time: the outcome is unknown.
            Rejected: AE or CE. PeerBusy: AR or CR.
        """
        connection = self._connection()
        deadline = time.monotonic() + self._destination.ack_timeout_s
        try:
            connection.settimeout(self._destination.ack_timeout_s)
            connection.sendall(frame(message))
            failpoints.hit("courier.after_send")
            answer, *more = _read_answers(connection, deadline)
            if more:
                self.close()  # it speaks out of turn: nothing it adds may meet the next message
            judge(answer, control_id)
        except TimeoutError:
            self.close()
            raise NoAcknowledgement("timed out") from None
        except OSError as error:
            self.close()
            raise PeerUnreachable(f"connection lost: {type(error).__name__}") from None
        except NoAcknowledgement:
            self.close()
            raise
        return answer

    def abort(self) -> None:
        """End the connection and refuse new ones; a `send` that waits fails at once."""
        with self._guard:
            self._aborted = True
            if self._socket is not None:
                _shutdown(self._socket)

    def close(self) -> None:
        """Close the connection; the owner's last call."""
        with self._guard:
            connection, self._socket = self._socket, None
        if connection is not None:
            _shutdown(connection)
            connection.close()

    def _connection(self) -> socket.socket:
        """Give the open connection, or a new one if the peer closed it or spoke out of turn."""
        if self._socket is not None and _readable(self._socket):
            self.close()
        return self._socket or self._connect()

    def _connect(self) -> socket.socket:
        target = self._destination
        try:
            fresh = socket.create_connection((target.host, target.port), target.connect_timeout_s)
        except OSError as error:
            raise PeerUnreachable(f"no connection: {type(error).__name__}") from None
        with self._guard:
            if self._aborted:
                fresh.close()
                raise PeerUnreachable("stopped on this side")
            self._socket = fresh
        tune(fresh)
        return fresh


def tune(connection: socket.socket) -> None:
    """Set up a TCP connection that sends small messages now and is silent for long."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (socket.TCP_KEEPIDLE, KEEPALIVE_S),
        (socket.TCP_KEEPINTVL, PROBE_S),
        (socket.TCP_KEEPCNT, PROBES),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _shutdown(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer was faster
        connection.shutdown(socket.SHUT_RDWR)


def _readable(connection: socket.socket) -> bool:
    """Tell whether the peer closed, or sent bytes that nobody asked for."""
    poller = select.poll()
    poller.register(connection, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poller.poll(0))


def _read_answers(connection: socket.socket, deadline: float) -> list[bytes]:
    decoder = Decoder(MAX_ANSWER_BYTES)
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        data = connection.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError
        answers = decoder.feed(data)
        if decoder.oversize:
            raise NoAcknowledgement("the answer is too long")
        if answers:
            return answers
