"""MLLP messages per second, each fsynced and committed before its answer.

The peer is python-hl7's asyncio server, which parses, answers and keeps nothing. Each server runs
in a process of its own; the same client opens several connections and sends the same messages, one
in flight on each. CPU is that of the server's process alone, which says more than the rate does
where other work keeps the machine busy. `python benchmarks/mllp.py` takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import hl7
from hl7.mllp import start_hl7_server

from gateway.hl7.framing import frame
from gateway.hl7.inbox import Inbox
from gateway.hl7.peers import Peer
from gateway.intake import Intake
from gateway.store import open_store
from listeners.mllp import MllpListener, MllpOptions

ADT = (
    "MSH|^~\\&|ADT|HOSP|GATEWAY|HOSP|20260101120000||ADT^A01^ADT_A01|{id}|P|2.5.1\r"
    "EVN|A01|20260101120000\r"
    "PID|1||P{id}^^^HOSP^MR||DOE^JANE^Q||19500102|F|||1 MAIN ST^^TOWN^ST^12345||555-0100\r"
    "PV1|1|E|ED^12^A||||77^HOUSE^GREGORY|||MED||||1|||77^HOUSE^GREGORY|E|V{id}\r"
)
ORU = (
    "MSH|^~\\&|CART|HOSP|GATEWAY|HOSP|20260101120000||ORU^R01^ORU_R01|{id}|P|2.5.1\r"
    "PID|1||P{id}^^^HOSP^MR||DOE^JANE^Q||19500102|F\r"
    "ORC|RE|PL{id}|FI{id}\rOBR|1|PL{id}|FI{id}|93000^ECG^C4|||20260101115500\r"
    "OBX|1|ED|ECG^ECG^L||^application^pdf^Base64^{data}||||||F\r"
)
PDF_BASE64 = "JVBERi0xLjQK" + "A" * 60_000


def serve_ours(pipe: Connection, folder: str) -> None:
    root = Path(folder)
    store = open_store(f"sqlite:///{root / 'gateway.sqlite3'}", root / "blobs")
    intake = Intake(store, lambda _: None)
    peers = (Peer("anyone"),)
    inbox = Inbox(store, intake, lambda: peers, lambda: datetime.now(UTC))
    listener = MllpListener(
        MllpOptions(),
        peers=lambda: peers,
        handle=inbox.handle,
        wake=intake.wake,
        refused=store.refusals.add,
    )
    pipe.send(listener.start())
    await_end(pipe)
    listener.stop(10.0)
    store.close()


def serve_python_hl7(pipe: Connection, _folder: str) -> None:
    async def answer(reader, writer) -> None:
        while not reader.at_eof():
            try:
                message = await reader.readmessage()
            except asyncio.IncompleteReadError:
                return
            writer.writemessage(message.create_ack())
            await writer.drain()

    async def run() -> None:
        server = await start_hl7_server(answer, "127.0.0.1", 0, limit=1 << 24)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(await_end, pipe)
        server.close()

    asyncio.run(run())


def await_end(pipe: Connection) -> None:
    """Wait for the end of the load and tell the CPU seconds that it took here."""
    begun = time.process_time()
    pipe.recv()
    pipe.send(time.process_time() - begun)


@contextmanager
def server(run: Callable[[Connection, str], None]) -> Iterator[tuple[int, Callable[[], float]]]:
    """Run a server in its own process; give its port and what asks for its CPU seconds, once."""
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        process = multiprocessing.get_context("spawn").Process(target=run, args=(there, folder))
        process.start()
        port = here.recv()

        def cpu_s() -> float:
            here.send("end")
            return float(here.recv())

        try:
            yield port, cpu_s
        finally:
            process.join()


async def load(
    port: int, template: str, connections: int, seconds: float
) -> tuple[int, float, float]:
    """Send for some seconds; give the messages, messages/s and the median latency in ms."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while (begin := time.perf_counter()) < end:
            text = template.replace("{id}", f"{number}N{count}").replace("{data}", PDF_BASE64)
            writer.write(frame(text.encode()))
            answer = await reader.readuntil(b"\x1c\r")
            assert b"MSA|AA|" in answer, answer
            latencies.append(time.perf_counter() - begin)
            count += 1
        writer.close()
        await writer.wait_closed()

    begin = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(connections)))
    rate = len(latencies) / (time.perf_counter() - begin)
    return len(latencies), rate, statistics.median(latencies) * 1e3


def measure(serve: Callable[[Connection, str], None], template: str, connections: int,
            seconds: float) -> tuple[float, float, float]:  # fmt: skip
    """Give messages/s, the median latency in ms and the server's CPU ms a message."""
    with server(serve) as (port, cpu_s):
        count, rate, latency_ms = asyncio.run(load(port, template, connections, seconds))
        return rate, latency_ms, cpu_s() / count * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=1, help="measurements, peers alternating")
    arguments = parser.parse_args()
    print(f"python-hl7 {hl7.__version__}, Python {sys.version.split()[0]}, median of rounds\n")
    print("| message | connections | ours/s (durable) | python-hl7/s (kept nothing) | ratio "
          "| ours ms | python-hl7 ms | ours CPU ms | python-hl7 CPU ms |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for name, template in (("ADT^A01, 0.4 kB", ADT), ("ORU^R01 with 45 kB PDF", ORU)):
        for connections in (1, 8, 32):
            runs: dict[str, list[tuple[float, float, float]]] = {"ours": [], "peer": []}
            for _ in range(arguments.rounds):
                for who, serve in (("ours", serve_ours), ("peer", serve_python_hl7)):
                    runs[who].append(measure(serve, template, connections, arguments.seconds))
            (ours, ours_ms, ours_cpu), (peer, peer_ms, peer_cpu) = (
                [statistics.median(column) for column in zip(*runs[who], strict=True)]
                for who in ("ours", "peer")
            )
            print(f"| {name} | {connections} | {ours:.0f} | {peer:.0f} | {ours / peer:.2f} "
                  f"| {ours_ms:.1f} | {peer_ms:.1f} | {ours_cpu:.2f} | {peer_cpu:.2f} |",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
