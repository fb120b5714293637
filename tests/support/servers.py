"""Real servers for tests: Redis and PostgreSQL, started as an ordinary user, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLINE_S = 120.0


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Wait until `condition` holds; fail with a sentence when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """Give a TCP port of the loopback that nobody uses at this moment."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


class RedisServer:
    """A Redis on a Unix socket or a TCP port of its own, without anything on disk."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._socket = folder / "redis.sock"
        self._port = port
        self.url = f"redis://127.0.0.1:{port}/0" if port else f"redis+socket://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("no redis-server on this machine: apt-get install redis-server")
        line = [program, "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""]
        line += ["--appendonly", "no", "--loglevel", "warning"]
        if not self._port:
            line += ["--unixsocket", str(self._socket)]
        self._process = subprocess.Popen(line, stdout=subprocess.DEVNULL, cwd=self._socket.parent)
        wait_until(self._answers, "Redis answers")

    def kill(self) -> None:
        """Kill it with all it holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing a connection, as a lost network does; `kill` still ends it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def _answers(self) -> bool:
        try:
            with self._connect() as line:
                line.settimeout(1)
                line.sendall(b"PING\r\n")
                return line.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _connect(self) -> socket.socket:
        if self._port:
            return socket.create_connection(("127.0.0.1", self._port), 1)
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(self._socket))
        except OSError:
            line.close()
            raise
        return line


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder with a path short enough for Unix sockets; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ecg-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis on a Unix socket, started; tests may kill and start it again."""
    with short_folder() as folder:
        server = RedisServer(folder)
        server.start()
        yield server
        server.kill()


def _postgresql_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


class PostgresServer:
    """A PostgreSQL cluster of its own on a free port, run by an ordinary user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = _postgresql_programs()
        self._port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster if there is none, start it and wait until it answers."""
        data = self._folder / "data"
        if not data.exists():
            if self._user:
                owner = pwd.getpwnam(self._user)
                os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._run("initdb", "-D", str(data), "-U", "test", "-A", "trust", "--no-sync")
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "logging_collector": "off",
            "log_min_messages": "fatal",
        }
        line = [str(self._programs / "postgres"), "-D", str(data)]
        for name, value in options.items():
            line += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(
            line, user=self._user, stderr=subprocess.DEVNULL, cwd=self._folder
        )
        wait_until(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """Stop it at once, cutting every connection (`immediate` shutdown)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def new_database(self) -> str:
        """Make an empty database and give its URL."""
        self._made += 1
        name = f"test{self._made}"
        where = ("-h", "127.0.0.1", "-p", str(self._port), "-U", "test")
        self._run("createdb", *where, name)
        return f"postgresql://test@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def _answers(self) -> bool:
        line = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(line, check=False).returncode == 0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run; each test makes a database of its own in it."""
    with short_folder() as folder:
        server = PostgresServer(folder)
        server.start()
        yield server
        server.stop()
