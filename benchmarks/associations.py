"""One association per ECG, as carts work: associations/s of our SCP and of two known ones.

    python benchmarks/associations.py [--seconds 2] [--clients 4] [--processes 2] [--rounds 4]

The client is the same for all: prebuilt PDUs on raw sockets, one association and one C-STORE of a
real 291 kB 12-lead (pydicom's wheel carries it) per round, each with its own SOP Instance UID.
Ours runs the whole durable path (SHA-256, fsync of file and directory, commit with
synchronous=FULL) before it answers; the others only write a file, and never fsync. Waking a worker
is left out, since it happens after the answer. The servers take turns, round by round.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.data import get_testdata_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gateway.dicom import part10, pdu  # noqa: E402 - runs from a checkout

CALLING, CALLED = b"BENCHMARK".ljust(16), b"ECG_GATEWAY".ljust(16)
UID_ROOT = "2.25.21397327195596756435242680524142"
READY_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What every association sends: command set and data set with the place of the instance UID."""

    command: bytes
    data_set: bytes
    old_uid: bytes

    def for_uid(self, uid: bytes) -> tuple[bytes, bytes]:
        """Command and data set of one object."""
        return self.command.replace(self.old_uid, uid), self.data_set.replace(self.old_uid, uid, 1)


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def associate_rq(sop_class: str, transfer_syntax: str) -> bytes:
    context = struct.pack(">Bxxx", 1) + _item(0x30, sop_class.encode())
    context += _item(0x40, transfer_syntax.encode())
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"2.25.1")
    body = struct.pack(">Hxx", 1) + CALLED + CALLING + b"\0" * 32
    body += _item(0x10, pdu.APPLICATION_CONTEXT.encode()) + _item(0x20, context)
    body += _item(0x50, user)
    return struct.pack(">BxI", pdu.ASSOCIATE_RQ, len(body)) + body


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def store_rq(sop_class: str, uid: bytes) -> bytes:
    raw_class = sop_class.encode()
    body = _element(0x0002, raw_class + b"\0" * (len(raw_class) % 2))
    body += _element(0x0100, struct.pack("<H", 1)) + _element(0x0110, struct.pack("<H", 1))
    body += _element(0x0700, struct.pack("<H", 0)) + _element(0x0800, struct.pack("<H", 1))
    body += _element(0x1000, uid)
    return _element(0, struct.pack("<I", len(body))) + body


def make_load() -> tuple[bytes, Load]:
    content = Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()
    file = part10.split(content)
    old = file.sop_uid.encode()  # 44 characters, so no padding moves
    load = Load(store_rq(file.sop_class, old), bytes(file.data_set), old)
    return associate_rq(file.sop_class, file.transfer_syntax), load


def uids(worker: int, run: int) -> Iterator[bytes]:
    """UIDs of 44 characters, never the same twice."""
    stamp = f"{os.getpid() % 1000:03d}{run % 100:02d}{worker:01d}"
    for number in range(10**5):
        yield f"{UID_ROOT[:32]}.{stamp}{number:05d}".encode()[:44].ljust(44, b"0")


def read_pdu(sock: socket.socket) -> tuple[int, bytes]:
    head = sock.recv(6, socket.MSG_WAITALL)
    if len(head) < 6:
        raise ConnectionError("closed")
    kind, length = struct.unpack(">BxI", head)
    return kind, sock.recv(length, socket.MSG_WAITALL) if length else b""


def max_pdu_of(associate_ac: bytes) -> int:
    start = associate_ac.index(b"\x51\x00\x00\x04") + 4
    return int.from_bytes(associate_ac[start : start + 4], "big") or 131072


def one_association(port: int, request: bytes, command: bytes, data_set: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request)
        kind, body = read_pdu(sock)
        if kind != pdu.ASSOCIATE_AC:
            raise ConnectionError(f"not accepted: PDU type {kind}")
        room = max_pdu_of(body) - 6
        out = [struct.pack(">BxIIBB", 4, len(command) + 6, len(command) + 2, 1, 3), command]
        for start in range(0, len(data_set), room):
            part = data_set[start : start + room]
            last = 2 if start + room >= len(data_set) else 0
            out += [struct.pack(">BxIIBB", 4, len(part) + 6, len(part) + 2, 1, last), part]
        sock.sendall(b"".join(out))
        kind, body = read_pdu(sock)
        status = body.find(struct.pack("<HHI", 0, 0x0900, 2))
        if kind != pdu.P_DATA or body[status + 8 : status + 10] != b"\0\0":
            raise ConnectionError(f"not stored: PDU type {kind}, {body!r}")
        sock.sendall(struct.pack(">BxI4x", pdu.RELEASE_RQ, 4))
        kind, _ = read_pdu(sock)
        if kind != pdu.RELEASE_RP:
            raise ConnectionError(f"not released: PDU type {kind}")


def client(port: int, seconds: float, clients: int, run: int) -> tuple[float, list[float]]:
    """Associations/s and the latency of each, milliseconds."""
    request, load = make_load()
    latencies: list[float] = []
    stop = time.perf_counter() + seconds
    began = time.perf_counter()

    def work(worker: int) -> None:
        for uid in uids(worker, run):
            before = time.perf_counter()
            if before >= stop:
                return
            one_association(port, request, *load.for_uid(uid))
            latencies.append(1000 * (time.perf_counter() - before))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(latencies) / (time.perf_counter() - began), latencies


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_listening(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes and of their children that have ended (Linux)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def serve_ours(folder: str, port: int) -> None:
    """One listener process on the real store."""
    from gateway.intake import Intake
    from gateway.store import open_store
    from listeners.dicom import DicomListener, DicomOptions, Peer

    store = open_store(f"sqlite:///{folder}/gateway.sqlite3", Path(folder) / "blobs")
    intake = Intake(store, lambda _: None)
    listener = DicomListener(
        DicomOptions(port=port, reuse_port=True),
        peers=lambda: (Peer("benchmark", "BENCHMARK"),),
        ae_title=lambda: "ECG_GATEWAY",
        accept=intake.accept,
        wake=lambda _: None,
        refused=lambda *_: None,
    )
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    listener.start()
    stopped.wait()
    listener.stop(5.0)


@contextmanager
def ours(processes: int) -> Iterator[tuple[int, list[int]]]:
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-") as folder:
        port = free_port()
        spawn = multiprocessing.get_context("spawn")
        running = [spawn.Process(target=serve_ours, args=(folder, port)) for _ in range(processes)]
        for process in running:
            process.start()
            wait_listening(port)
        time.sleep(1.0)
        try:
            yield port, [process.pid for process in running]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.join()


@contextmanager
def program(*command: str) -> Iterator[tuple[int, list[int]]]:
    """A peer program; `{port}` and `{folder}` are filled in."""
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-") as folder:
        port = free_port()
        filled = [part.format(port=port, folder=folder) for part in command]
        environment = dict(os.environ, TCP_NODELAY="1")
        process = subprocess.Popen(filled, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_listening(port)
            yield port, [process.pid]
        finally:
            process.terminate()
            process.wait()


DCMTK = ("storescp", "--fork", "-pdu", "131072", "-od", "{folder}", "{port}")
PYNETDICOM = (sys.executable, "-m", "pynetdicom", "storescp", "-q", "{port}", "-od", "{folder}")


def servers(processes: int) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {
        "ours, 1 process, fsync + commit": lambda: ours(1),
        f"ours, {processes} processes, fsync + commit": lambda: ours(processes),
    }
    if shutil.which("storescp"):
        found["DCMTK storescp --fork, no fsync"] = lambda: program(*DCMTK)
    found["pynetdicom storescp app, no fsync"] = lambda: program(*PYNETDICOM)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {}
    latencies: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for run in range(options.rounds):
        for name, server in servers(options.processes).items():
            if options.only not in name:
                continue
            with server() as (port, pids):
                client(port, 0.3, options.clients, 90 + run)
                before = cpu_seconds(pids)
                rate, seen = client(port, options.seconds, options.clients, run)
                cpu.setdefault(name, []).append(1000 * (cpu_seconds(pids) - before) / len(seen))
            rates.setdefault(name, []).append(rate)
            latencies.setdefault(name, []).extend(seen)
    report(rates, latencies, cpu, options.clients)


def report(
    rates: dict[str, list[float]],
    latencies: dict[str, list[float]],
    cpu: dict[str, list[float]],
    clients: int,
) -> None:
    reference = next((n for n in rates if n.startswith("DCMTK")), next(iter(rates)))
    base = statistics.median(rates[reference])
    print(f"One association per ECG, {clients} concurrent clients, 291 kB 12-lead waveforms\n")
    print("| SCP | associations/s | range of rounds | p50 ms | p95 ms | CPU ms each | to DCMTK |")
    print("|---|---|---|---|---|---|---|")
    for name, values in rates.items():
        seen = sorted(latencies[name])
        p50, p95 = seen[len(seen) // 2], seen[int(len(seen) * 0.95)]
        rate = statistics.median(values)
        print(
            f"| {name} | {rate:.0f} | {min(values):.0f}-{max(values):.0f} "
            f"| {p50:.1f} | {p95:.1f} | {statistics.median(cpu[name]):.1f} | {rate / base:.2f} |"
        )


if __name__ == "__main__":
    main()
