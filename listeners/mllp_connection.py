"""One MLLP connection: read, hand over, answer, in order, within its time limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from gateway.hl7.acks import Verdict, answers
from gateway.hl7.framing import Decoder, frame
from gateway.hl7.head import read_head

READ_BYTES = 1 << 18
MAX_NOISE_BYTES = 1 << 16
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long.

    Attributes:
        message_bytes: longest message.
        idle_s: seconds without a whole message after which the connection is closed.
        frame_s: seconds within which a begun frame must end, and an answer be read.
    """

    message_bytes: int
    idle_s: float
    frame_s: float


class MllpConnection:
    """Serves one peer until it leaves, breaks the protocol, runs out of time or we drain.

    Attributes:
        busy: a message is in hand; it is answered before the connection ends.
        draining: set from outside; no further message is taken.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
        take: Callable[[bytes], Awaitable[tuple[bytes, ...]]],
        told: Callable[[], Awaitable[None]],
    ) -> None:
        """Keep what is needed.

        Args:
            reader: of the peer.
            writer: to the peer.
            limits: how much and how long.
            take: takes one message and gives the answers, unframed.
            told: called when the answers to it are on the wire, or the peer is gone.
        """
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._take = take
        self._told = told
        self._decoder = Decoder(limits.message_bytes)
        self._reported: Counter[str] = Counter()
        self._since = asyncio.get_running_loop().time()
        self.busy = False
        self.draining = False

    async def serve(self) -> str:
        """Serve until the end.

        Returns:
            Why it ended: `closed`, `draining`, or for a peer that is to blame `idle`,
            `frame-timeout`, `oversize`, `not-mllp`, `answer-not-read`.
        """
        while not self.draining:
            try:
                async with asyncio.timeout_at(self._deadline()):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                return "frame-timeout" if self._decoder.inside else "idle"
            if not data:
                self._decoder.finish()
                self._report()
                return "closed"
            reason = await self._receive(data)
            if reason:
                return reason
        return "draining"

    def _deadline(self) -> float:
        inside = self._decoder.inside
        return self._since + (self._limits.frame_s if inside else self._limits.idle_s)

    async def _receive(self, data: bytes) -> str:
        was_inside = self._decoder.inside
        messages = self._decoder.feed(data)
        self._report()
        for message in messages:
            if self.draining:
                return "draining"
            if not await self._answer(message):
                return "answer-not-read"
        if messages or self._decoder.inside != was_inside:
            self._since = asyncio.get_running_loop().time()
        if self._decoder.oversize:
            await self._say_too_long()
            return "oversize"
        return "not-mllp" if self._decoder.oddities["noise"] > MAX_NOISE_BYTES else ""

    async def _answer(self, message: bytes) -> bool:
        self.busy = True
        try:
            return await self._send(await self._take(message))
        finally:
            try:
                await self._told()  # also if the peer is gone: what it sent is here to be scored
            finally:
                self.busy = False

    async def _send(self, messages: tuple[bytes, ...]) -> bool:
        """Write answers; False when the peer does not read them in time."""
        self._writer.write(b"".join(frame(message) for message in messages))
        try:
            async with asyncio.timeout(self._limits.frame_s):
                await self._writer.drain()
        except TimeoutError:
            return False
        return True

    async def _say_too_long(self) -> None:
        """Answer what can be known of a frame that was cut; its end is lost, so the line is too."""
        text = f"the message is longer than {self._limits.message_bytes} bytes"
        head = read_head(self._decoder.oversize)
        await self._send(answers(head, Verdict("AE", 104, text), datetime.now(UTC)))

    def _report(self) -> None:
        fresh = self._decoder.oddities - self._reported
        if fresh:
            self._reported = self._decoder.oddities.copy()
            _log.warning("mllp framing tolerated", **fresh)
