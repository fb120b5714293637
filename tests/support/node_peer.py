"""Peers written in JavaScript: installed once from npm, run with node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

HOME = Path(__file__).with_name("node")
INSTALL_S, RUN_S = 180.0, 60.0


def installed() -> Path:
    """Give the folder with the peers of tests/support/node/package.json, installing them once."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed here")
    modules = HOME / "node_modules"
    modules.mkdir(exist_ok=True)
    stamp = modules / ".installed"
    wanted = (HOME / "package.json").read_text()
    with FileLock(modules / ".lock", timeout=INSTALL_S):
        if not stamp.exists() or stamp.read_text() != wanted:
            npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
            subprocess.run(npm, cwd=HOME, check=True, timeout=INSTALL_S, capture_output=True)
            stamp.write_text(wanted)
    return HOME


def run(script: str, *args: str) -> str:
    """Run one of the scripts beside package.json; give what it printed.

    Raises:
        subprocess.CalledProcessError: it ended with another status than 0.
    """
    home = installed()
    done = subprocess.run(
        ["node", script, *args], cwd=home, check=True, timeout=RUN_S, capture_output=True, text=True
    )
    return done.stdout
