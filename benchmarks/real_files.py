"""Arrival to acknowledgement of other people's real ECG files, one after another, by kind.

Plays a folder of them through `ecg-gateway demo --data`; needs the data folder `../shared/data`.
What cannot be scored is told as unscorable, and counts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
COMMAND = Path(sys.executable).with_name("ecg-gateway")
PATTERNS = ("vendor/dicom/*.dcm", "vendor/musexml/*.xml", "vendor/pdf/*.pdf")
PAGES = ("mendeley/pages_full/*.jpg", "mendeley/pages_half/*.jpg")
PAGES_OF_EACH = 8
LINE = re.compile(r"((?:DICOM|HL7)(?: \w+)+?)  .*  (?P<said>\S+) +(?:yes|no) +(?P<ms>\d+) ms$")


def chosen() -> list[Path]:
    """Every vendor file, and the first pages of each size."""
    files = [file for pattern in PATTERNS for file in sorted(SHARED.glob(pattern))]
    return files + [f for pattern in PAGES for f in sorted(SHARED.glob(pattern))[:PAGES_OF_EACH]]


def main() -> int:
    """Print the table."""
    files = chosen()
    if not files:
        print(f"no data folder {SHARED}: nothing measured")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            shutil.copy(file, Path(folder, f"{number:03d}{file.suffix}"))
        line = [COMMAND, "demo", "--exit", "--data", folder]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for text in done.stdout.splitlines():
        if match := LINE.match(text):
            found[match[1]].append((match["said"], int(match["ms"])))
    print("| real files | ECGs | unscorable | arrival to ACK, median ms | p95 ms |")
    print("|---|---|---|---|---|")
    for kind, told in sorted(found.items()):
        ms = [each for _, each in told]
        refused = sum(said not in ("positive", "negative") for said, _ in told)
        high = np.percentile(ms, 95)
        print(f"| {kind} | {len(told)} | {refused} | {median(ms):.0f} | {high:.0f} |")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
