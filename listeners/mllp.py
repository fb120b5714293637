"""The MLLP listener: one event loop in its own thread, messages handled in a pool of threads.

A connection is served message by message, in order. The loop only moves bytes, so that a slow disk
delays the messages in hand and not the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from gateway.ecg import Receipt
from gateway.hl7.inbox import Handled
from gateway.hl7.peers import Peer, from_address
from gateway.log import describe, place
from listeners.mllp_connection import READ_BYTES, Limits, MllpConnection

__all__ = ["MllpListener", "MllpOptions", "Peer"]

BACKLOG = 256
REFUSAL_PAUSE_S = 60.0
LAST_WAIT_S = 2.0
_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class MllpOptions:
    """What the listener is told at start.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        max_message_bytes: longest message.
        idle_timeout_s: seconds without a whole message after which a connection is closed.
        frame_timeout_s: seconds within which a begun frame must end, and an answer be read.
        max_connections: open connections in all.
        threads: messages handled at a time; those that wait for the disk together share a commit.
        reuse_port: other processes listen on the same port.
    """

    host: str = "127.0.0.1"
    port: int = 0
    max_message_bytes: int = 64 << 20
    idle_timeout_s: float = 3600.0
    frame_timeout_s: float = 30.0
    max_connections: int = 200
    threads: int = 32
    reuse_port: bool = False

    @property
    def limits(self) -> Limits:
        """What one connection must know."""
        return Limits(self.max_message_bytes, self.idle_timeout_s, self.frame_timeout_s)


class MllpListener:
    """Accepts MLLP connections from `start` until `stop` (HL7 v2.5.1 appendix C)."""

    def __init__(
        self,
        options: MllpOptions,
        *,
        peers: Callable[[], Sequence[Peer]],
        handle: Callable[[bytes, str], Handled],
        wake: Callable[[Receipt], None],
        refused: Callable[[str, str, str, str], None],
    ) -> None:
        """Keep what is needed; nothing is opened yet.

        Args:
            options: port and limits.
            peers: who may send, asked for every connection.
            handle: takes a message and its network address, in a thread; `Inbox.handle`.
            wake: wakes a worker, called in a thread after the answer is on the wire;
                `Intake.wake`, which passes the failpoint `listener.after_answer`.
            refused: records protocol, peer, address and reason of a refusal, in a thread.
        """
        self._options = options
        self._peers = peers
        self._handle = handle
        self._wake = wake
        self._refused = refused
        self._noted: dict[tuple[str, str], float] = {}
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(options.threads, thread_name_prefix="mllp")
        self._thread = threading.Thread(target=self._run, name="mllp-loop", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._serving: dict[asyncio.Task[Any], MllpConnection] = {}

    def start(self) -> int:
        """Listen; give the port.

        Raises:
            OSError: the address cannot be bound.
        """
        self._thread.start()
        try:
            return self._call(self._listen())
        except BaseException:
            self._end(wait=True)
            raise

    def stop(self, drain_s: float) -> None:
        """Take no more messages, let those in hand be answered, then close what is left.

        Args:
            drain_s: how long messages in hand may take.
        """
        if self._thread.is_alive():
            self._end(wait=self._call(self._drain(drain_s)))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self, *, wait: bool) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._pool.shutdown(wait=wait, cancel_futures=True)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(
            self._connected,
            self._options.host,
            self._options.port,
            limit=READ_BYTES,
            backlog=BACKLOG,
            reuse_port=self._options.reuse_port or None,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _drain(self, drain_s: float) -> bool:
        """Close; True when every message in hand was answered."""
        if self._server:
            self._server.close()
        for task, connection in self._serving.items():
            connection.draining = True
            if not connection.busy:
                task.cancel()
        late = await _wait(self._tasks, drain_s)
        for task in late:
            task.cancel()
        await _wait(late, LAST_WAIT_S)
        return not late

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has one
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        address = str((writer.get_extra_info("peername") or ("",))[0])
        reason = self._objection(address)
        try:
            reason = reason or await self._serve(task, reader, writer, address)
        except (ConnectionError, asyncio.CancelledError):
            reason = "closed"
        except Exception as error:
            _log.error(
                "mllp connection failed", error=describe(error), place=place(error.__traceback__)
            )
            reason = "failed"
        await _close(writer)
        if reason not in {"closed", "draining", "idle"}:
            await self._note(address, reason)

    def _objection(self, address: str) -> str:
        if not from_address(self._peers(), address):
            return "unknown-address"
        return "too-many-connections" if len(self._serving) >= self._options.max_connections else ""

    async def _serve(
        self,
        task: asyncio.Task[Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: str,
    ) -> str:
        receipts: list[Receipt] = []

        async def take(message: bytes) -> tuple[bytes, ...]:
            handled = await self._in_thread(self._handle, message, address)
            receipts.extend(handled.receipts)
            return handled.answers

        async def told() -> None:
            while receipts:
                await self._in_thread(self._wake, receipts.pop(0))

        connection = MllpConnection(reader, writer, self._options.limits, take, told)
        self._serving[task] = connection
        try:
            return await connection.serve()
        finally:
            del self._serving[task]

    async def _in_thread(self, work: Callable[..., _T], *args: Any) -> _T:
        return await self._loop.run_in_executor(self._pool, work, *args)

    async def _note(self, address: str, reason: str) -> None:
        """Record a refusal, of one address for one reason once a minute."""
        now = time.monotonic()
        if now - self._noted.get((address, reason), -REFUSAL_PAUSE_S) < REFUSAL_PAUSE_S:
            return
        if len(self._noted) > 1000:
            self._noted.clear()
        self._noted[address, reason] = now
        _log.warning("mllp connection refused", address=address, reason=reason)
        with contextlib.suppress(Exception):
            await self._in_thread(self._refused, "hl7", "", address, reason)


async def _wait(tasks: set[asyncio.Task[Any]], timeout_s: float) -> set[asyncio.Task[Any]]:
    """Wait for tasks; give those that are not done."""
    return (await asyncio.wait(set(tasks), timeout=timeout_s))[1] if tasks else set()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close, and give what is written a moment to leave."""
    writer.close()
    try:
        async with asyncio.timeout(LAST_WAIT_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
