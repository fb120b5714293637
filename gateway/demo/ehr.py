"""A simulated EHR: an MLLP receiver that files ORU^R01 and acknowledges it.

It can be told to misbehave, message by message, in every way that a courier must survive.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.demo.chart import Result, parse_result
from gateway.demo.filing import Filing
from gateway.errors import NotUnderstood
from gateway.hl7.acks import ACCEPTED, Verdict, answers
from gateway.hl7.framing import Decoder, frame
from gateway.hl7.head import read_head

MAX_MESSAGE_BYTES = 64 << 20
READ_BYTES = 1 << 16


class Manner(StrEnum):
    """How one message is answered."""

    ACCEPT = "file it, answer AA"
    ACCEPT_COMMIT = "file it, answer CA"
    REJECT = "answer AE"
    REJECT_COMMIT = "answer CE"
    BUSY = "answer AR"
    BUSY_COMMIT = "answer CR"
    WRONG_ID = "answer AA for another MSH-10"
    HALF = "file it, answer half an acknowledgement and stay"
    SILENT = "file it, answer nothing"
    CLOSE = "close the connection unfiled"
    FILE_AND_CLOSE = "file it, close the connection unanswered"
    NOISE = "answer bytes that are no HL7"


Manners = Callable[[Result], Manner]

_FILES = {
    Manner.ACCEPT,
    Manner.ACCEPT_COMMIT,
    Manner.HALF,
    Manner.SILENT,
    Manner.FILE_AND_CLOSE,
}
_VERDICTS = {
    Manner.REJECT: (Verdict("AE", 207, "will not take this"), "AE"),
    Manner.REJECT_COMMIT: (Verdict("AE", 207, "will not take this"), "CE"),
    Manner.BUSY: (Verdict("AR", 207, "not now"), "AR"),
    Manner.BUSY_COMMIT: (Verdict("AR", 207, "not now"), "CR"),
    Manner.ACCEPT_COMMIT: (ACCEPTED, "CA"),
}


def well_behaved(_result: Result) -> Manner:
    """File everything and say so."""
    return Manner.ACCEPT


class Ehr:
    """The receiver; `with Ehr(folder) as ehr` serves until the block ends.

    Attributes:
        filing: what it has filed.
        manners: asked for every result; replace it at any time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        manners: Manners = well_behaved,
    ) -> None:
        """Bind the port; serving starts with `start` or the `with` block."""
        self.filing = Filing(folder)
        self.manners = manners
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut every connection, return when all threads ended."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.closing = True
        self._server.cut()
        self._server.server_close()

    def cut(self) -> None:
        """Cut the open connections and go on listening."""
        self._server.cut()

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        """Take one message.

        Returns:
            The bytes for the wire, and whether the connection stays open.
        """
        head = read_head(data)
        now = datetime.now(UTC)
        try:
            result = parse_result(data)
        except (NotUnderstood, ValueError):
            verdict = Verdict("AE", 100, "not a result of an ECG")
            return frame(answers(head, verdict, now)[0]), True
        manner = self.manners(result)
        if manner in _FILES:
            self.filing.file(result)
        else:
            self.filing.refuse(result)
        if manner is Manner.WRONG_ID:
            head = replace(head, control_id="ANOTHER")
        verdict, code = _VERDICTS.get(manner, (ACCEPTED, "AA"))
        told = answers(replace(head, accept="", acknowledge=""), verdict, now)[0]
        framed = frame(told.replace(b"MSA|" + verdict.code.encode(), b"MSA|" + code.encode(), 1))
        return _spoilt(framed, manner), manner not in {Manner.CLOSE, Manner.FILE_AND_CLOSE}


def _spoilt(framed: bytes, manner: Manner) -> bytes:
    if manner in {Manner.SILENT, Manner.CLOSE, Manner.FILE_AND_CLOSE}:
        return b""
    if manner is Manner.HALF:
        return framed[: len(framed) // 2]
    return frame(b"HELLO\r") if manner is Manner.NOISE else framed


class _Server(socketserver.ThreadingTCPServer):
    """Knows its connections, so that stopping does not wait for peers that stay."""

    allow_reuse_address = True
    daemon_threads = False

    def __init__(self, address: tuple[str, int], ehr: Ehr) -> None:
        super().__init__(address, _Connection)
        self.ehr = ehr
        self.open: set[socket.socket] = set()
        self.guard = threading.Lock()
        self.closing = False

    def cut(self) -> None:
        with self.guard:
            for connection in self.open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Connection(socketserver.BaseRequestHandler):
    """One sender's connection, until it leaves or is cut."""

    server: _Server
    request: socket.socket

    def setup(self) -> None:
        with self.server.guard:
            self.server.open.add(self.request)
        if self.server.closing:
            self.server.cut()

    def finish(self) -> None:
        with self.server.guard:
            self.server.open.discard(self.request)

    def handle(self) -> None:
        decoder = Decoder(MAX_MESSAGE_BYTES)
        with contextlib.suppress(OSError):  # the sender left in the middle
            while data := self.request.recv(READ_BYTES):
                for message in decoder.feed(data):
                    answer, stay = self.server.ehr.answer(message)
                    self.request.sendall(answer)
                    if not stay:
                        return
                if decoder.oversize:
                    return
