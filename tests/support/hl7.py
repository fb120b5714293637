"""HL7 messages for tests, an inbox on a real store, a client on a raw socket."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

from gateway.ecg import Receipt
from gateway.hl7.framing import Decoder, frame
from gateway.hl7.inbox import Inbox
from gateway.hl7.peers import Peer
from gateway.hl7.reading import Message, read
from gateway.intake import Intake
from gateway.store import Store
from listeners.mllp import MllpListener, MllpOptions

DEADLINE_S = 30.0
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%a very small page\n"
ANYONE = (Peer("anyone"),)


def msh(
    kind: str = "ORU^R01^ORU_R01",
    control_id: str = "C1",
    *,
    processing: str = "P",
    version: str = "2.5.1",
    accept: str = "",
    application: str = "",
    charset: str = "",
    sender: str = "CART|WARD",
) -> str:
    return (
        f"MSH|^~\\&|{sender}|GATEWAY|HOSP|20260101120000+0000||{kind}|{control_id}|{processing}"
        f"|{version}|||{accept}|{application}||{charset}"
    )


def pid(number: str = "P100", family: str = "DOE") -> str:
    return f"PID|1||{number}^^^HOSP^MR||{family}^JANE^Q||19500102|F"


def obx(content: bytes, kind: str = "PNG", number: int = 1) -> str:
    data = base64.b64encode(content).decode()
    return f"OBX|{number}|ED|ECG^ECG^L||^IM^{kind}^Base64^{data}||||||F"


def oru(control_id: str = "C1", content: bytes = PNG, kind: str = "PNG", **head: str) -> bytes:
    lines = (
        msh(control_id=control_id, **head),
        pid(),
        "ORC|RE|PL1|FI1",
        "OBR|1|PL1|FI1|93000^ECG^C4|||20260101115500+0000",
        obx(content, kind),
    )
    return wire(*lines)


def adt(control_id: str = "A1", trigger: str = "A01", **head: str) -> bytes:
    lines = (
        msh(f"ADT^{trigger}^ADT_A01", control_id, **head),
        f"EVN|{trigger}|20260101110000+0000",
        pid(),
        "PV1|1|E|ED^12^A||||77^HOUSE^GREGORY||||||||||||V9",
    )
    return wire(*lines)


def wire(*lines: str) -> bytes:
    return "".join(f"{line}\r" for line in lines).encode()


def at_noon() -> datetime:
    return datetime(2026, 1, 1, 12, tzinfo=UTC)


def inbox_on(store: Store, peers: Sequence[Peer] = ANYONE) -> Inbox:
    return Inbox(store, Intake(store, lambda _: None), lambda: peers, at_noon)


@contextmanager
def listening(
    handle: Callable,
    options: MllpOptions | None = None,
    *,
    peers: Sequence[Peer] = ANYONE,
    wake: Callable[[Receipt], None] = lambda _: None,
    refused: Callable[[str, str, str, str], None] = lambda *_: None,
) -> Iterator[int]:
    """Run a listener on a free port; it drains at the end."""
    listener = MllpListener(
        options or MllpOptions(), peers=lambda: peers, handle=handle, wake=wake, refused=refused
    )
    port = listener.start()
    try:
        yield port
    finally:
        listener.stop(DEADLINE_S)


class Client:
    """An MLLP peer that sends any bytes and reads whole answers."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._decoder = Decoder(1 << 20)
        self._answers: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: bytes) -> None:
        self.socket.sendall(b"".join(map(frame, messages)))

    def answer(self) -> Message:
        """Read the next answer; EOFError when the listener closes instead."""
        while not self._answers:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._answers = self._decoder.feed(data)
        return read(self._answers.pop(0))

    def ask(self, message: bytes) -> Message:
        self.send(message)
        return self.answer()

    def closed(self) -> bool:
        """Tell that the listener closes, answering nothing more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
