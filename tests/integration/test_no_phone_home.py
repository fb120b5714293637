"""Nothing phones home: importing the product and all that it uses talks to nobody."""

from __future__ import annotations

import subprocess
import sys

WATCH = """
import importlib, pkgutil, sys

seen = []
sockets = {"connect", "getaddrinfo", "gethostbyname", "sendto", "sendmsg"}

def note(event, arguments):
    if event.removeprefix("socket.") in sockets:
        seen.append(event)

sys.addaudithook(note)
"""
IMPORT_ALL = (
    WATCH
    + """
optional = {"torch", "torchvision", "nncf", "wfdb"}
for root in ("config", "gateway", "inference", "listeners"):
    package = importlib.import_module(root)
    for found in pkgutil.walk_packages(package.__path__, f"{root}."):
        if found.name.endswith("__main__") and found.name != "listeners.__main__":
            continue  # a command: importing it would run it
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] not in optional:
                raise
import openvino
from openvino.tools.ovc import telemetry
print("modules", len(sys.modules), "telemetry", type(telemetry).__module__)
print("seen", *seen, sep="\\n")
"""
)
LOOK_UP = (
    WATCH
    + """
import socket
from contextlib import suppress
with suppress(OSError):
    socket.getaddrinfo("192.0.2.1", 80)
print("seen", *seen, sep="\\n")
"""
)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_importing_everything_opens_no_connection():
    """No dependency looks up a name, sends or connects; telemetry is a stub."""
    text = run(IMPORT_ALL)
    assert "telemetry openvino.tools.ovc.telemetry_stub" in text
    assert text.partition("seen")[2].split() == []


def test_the_watch_sees_what_it_shall_see():
    """The test above would notice a look-up."""
    assert "socket.getaddrinfo" in run(LOOK_UP)
