"""MLLP frames: `0B message 1C 0D` (HL7 v2.5.1 appendix C, Transport: MLLP release 1).

A pure, incremental decoder: what it gives does not depend on how the bytes were cut into reads.
"""

from __future__ import annotations

from collections import Counter

START = b"\x0b"
END = b"\x1c"
CR = b"\x0d"
HEAD_BYTES = 4096
RESTART = START + b"MSH"


def frame(message: bytes) -> bytes:
    """Wrap a message for the wire.

    Raises:
        ValueError: the message itself contains a frame byte, so no receiver could find its end.
    """
    if START in message or END in message:
        raise ValueError("an HL7 message must not contain the bytes 0B or 1C")
    return START + message + END + CR


class Decoder:
    """Takes bytes as they come and gives whole messages.

    The byte 1C always ends a frame: HL7 text cannot contain it, and a peer that forgets the CR
    behind it must not wait for ever. A frame in which `0B MSH` comes again was cut and restarted by
    its sender; only the last start counts.

    Attributes:
        oddities: what was tolerated, by name: `noise` (bytes between frames), `missing-cr`
            (frames without the CR behind 1C), `cut` (frames restarted or never ended).
        oversize: the first bytes of a frame that passed `max_bytes`; empty until then. Nothing is
            decoded after it: where the next frame begins is unknown, so close the connection.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.oddities: Counter[str] = Counter()
        self.oversize = b""
        self._buffer = bytearray()
        self._inside = False
        self._ended = False  # 1C was read, the byte after it was not

    @property
    def inside(self) -> bool:
        """A frame has begun and has not ended."""
        return self._inside

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and give the messages that they complete, in order."""
        messages: list[bytes] = []
        position = 0
        while position < len(data) and not self.oversize:
            if self._inside:
                position = self._read_frame(data, position, messages)
            else:
                position = self._skip_to_start(data, position)
        return messages

    def finish(self) -> None:
        """Tell that no more bytes come, so that a frame that never ended is counted."""
        self.oddities["missing-cr"] += self._ended
        self.oddities["cut"] += self._inside
        self._ended = self._inside = False
        self._buffer.clear()

    def _skip_to_start(self, data: bytes, position: int) -> int:
        if self._ended:
            self._ended = False
            if data[position : position + 1] == CR:
                return position + 1
            self.oddities["missing-cr"] += 1
        start = data.find(START, position)
        self._inside = start >= 0
        noise_end = start if self._inside else len(data)
        self.oddities["noise"] += noise_end - position
        return noise_end + 1

    def _read_frame(self, data: bytes, position: int, messages: list[bytes]) -> int:
        end = data.find(END, position)
        self._buffer += data[position : end if end >= 0 else len(data)]
        if len(self._buffer) > self.max_bytes:
            self.oversize = bytes(self._buffer[:HEAD_BYTES])
            self._inside = False
            self._buffer.clear()
            return len(data)
        if end < 0:
            return len(data)
        messages.append(self._take())
        return end + 1

    def _take(self) -> bytes:
        restart = self._buffer.rfind(RESTART)
        if restart >= 0:
            self.oddities["cut"] += 1
        message = bytes(self._buffer[restart + 1 if restart >= 0 else 0 :])
        self._buffer = bytearray()
        self._inside = False
        self._ended = True
        return message
