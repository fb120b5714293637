"""Runs every benchmark and prints its Markdown table: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """The benchmarks, by file name."""
    return sorted(file.stem for file in HERE.glob("*.py") if not file.stem.startswith("_"))


def main(wanted: list[str]) -> int:
    """Run those named, or all; the exit status is the number that failed."""
    unknown = set(wanted) - set(names())
    if unknown or "--help" in wanted:
        print(f"usage: python -m benchmarks [{' | '.join(names())}] ...")
        return 2
    failed = 0
    for number, name in enumerate(wanted or names(), 1):
        print(f"\n## {name} ({number} of {len(wanted or names())})\n", flush=True)
        begun = time.monotonic()
        failed += subprocess.run([sys.executable, HERE / f"{name}.py"], check=False).returncode != 0
        print(f"\n_{name}: {time.monotonic() - begun:.0f} s_", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
