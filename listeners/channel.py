"""One TCP connection that carries DICOM PDUs: whole PDUs in, bytes out, every wait bounded."""

from __future__ import annotations

import contextlib
import socket
import struct
import time

from gateway.dicom import pdu

CHUNK_BYTES = 1 << 18


class Closed(Exception):
    """The peer closed or reset the connection."""


class TimedOut(Exception):
    """The peer did not send in time."""


def _timeval(seconds: float) -> bytes:
    """The kernel's `struct timeval`; zero would mean for ever."""
    whole, part = divmod(max(int(seconds * 1e6), 1), 1_000_000)
    return struct.pack("@ll", whole, part)


class Channel:
    """A connected socket. One thread reads and writes; `shut` may come from another one.

    The socket blocks, and the kernel times it (SO_RCVTIMEO, SO_SNDTIMEO): Python's own timeouts
    cost two more system calls, and two more waits for the interpreter lock, for each read.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sock = sock
        self._timeouts: dict[int, float] = {}

    def read_pdu(self, first_byte_s: float, rest_s: float) -> tuple[int, bytes]:
        """Read one PDU.

        Memory grows with what has arrived, never with what the length field announces.

        Args:
            first_byte_s: how long the peer may stay silent.
            rest_s: how long it may take from the first byte to the last one.

        Returns:
            PDU type and what follows the header.

        Raises:
            Closed: no more bytes.
            TimedOut: too slow.
            NotUnderstood: no such PDU type, or an absurd length.
        """
        start = self._recv(pdu.HEADER_BYTES, first_byte_s)
        deadline = time.monotonic() + rest_s
        if len(start) < pdu.HEADER_BYTES:
            start += self._exactly(pdu.HEADER_BYTES - len(start), rest_s, deadline)
        kind, length = pdu.header(start)
        return kind, self._exactly(length, rest_s, deadline)

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all bytes.

        Raises:
            Closed: the peer is gone.
            TimedOut: it does not take them in time.
        """
        self._limit(socket.SO_SNDTIMEO, timeout_s)
        try:
            self._sock.sendall(data)
        except BlockingIOError as error:
            raise TimedOut from error
        except OSError as error:
            raise Closed from error

    def wait_closed(self, timeout_s: float) -> None:
        """Let the peer close first, as it should (PS3.8 9.2.3, state 13), but not for ever."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(Closed, TimedOut):
            while time.monotonic() < deadline:
                self._recv(pdu.MAX_SMALL_BYTES, timeout_s)

    def shut(self) -> None:
        """Wake a blocked reader up: it finds the connection closed."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def _limit(self, option: int, seconds: float) -> None:
        if self._timeouts.get(option) != seconds:
            self._sock.setsockopt(socket.SOL_SOCKET, option, _timeval(seconds))
            self._timeouts[option] = seconds

    def _exactly(self, size: int, timeout_s: float, deadline: float) -> bytes:
        first = self._recv(min(size, CHUNK_BYTES), timeout_s) if size else b""
        if len(first) == size:
            return first
        parts, missing = [first], size - len(first)
        while missing:
            if time.monotonic() > deadline:
                raise TimedOut
            part = self._recv(min(missing, CHUNK_BYTES), timeout_s)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _recv(self, size: int, timeout_s: float) -> bytes:
        """Read `size` bytes, or as many as come before the end or the timeout, but at least one."""
        self._limit(socket.SO_RCVTIMEO, timeout_s)
        try:
            data = self._sock.recv(size, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimedOut from error
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        return data
