"""`ecg-gateway demo` as a newcomer runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from support.gateway import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DEMO_S = 540
SUMMARY = re.compile(r"^demo: (\d+) received, (\d+) scored, (\d+) acknowledged$", re.MULTILINE)
KINDS = {
    "DICOM waveform",
    "DICOM picture",
    "DICOM JPEG picture",
    "DICOM PDF",
    "HL7 picture",
    "HL7 PDF",
}
UNSHARE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
# Only loopback, and how often the kernel found no route: a connection or name look-up that was
# tried. The first number is after one that we try ourselves, the second after the demo.
ALONE = r"""
set -e
ip link set lo up
routeless() {
    awk '/^Ip: [0-9]/ {n = $13} /Ip6OutNoRoutes/ {m = $2} END {print "routeless", n + m}' \
        /proc/net/snmp /proc/net/snmp6
}
"$2" -c 'import socket
try: socket.create_connection(("192.0.2.1", 80), 5)
except OSError: pass'
routeless
set +e
"$1" demo --exit
status=$?
routeless
exit $status
"""


def run(*line: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in line],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_S,
        env={**os.environ, **environment},
    )


def played(text: str) -> Counter[str]:
    """Count the lines of the ECGs by their kind."""
    begins = (re.match(r"((?:DICOM|HL7)(?: \w+)+?)  ", line) for line in text.splitlines())
    return Counter(found[1] for found in begins if found)


def acknowledged(text: str) -> int:
    """Read the summary line; everything received is scored and acknowledged."""
    found = SUMMARY.search(text)
    assert found, text
    received, scored, told = map(int, found.groups())
    assert received == scored == told, text
    return told


def test_the_demo_brings_every_kind_of_ecg_to_the_ehr_without_torch(tmp_path: Path) -> None:
    """Exit status 0, a line per ECG, the summary, two URLs; nothing imports torch."""
    noticed = tmp_path / "torch-was-imported"
    trap = tmp_path / "trap" / "torch"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text(
        f"open({str(noticed)!r}, 'w').close()\nraise ImportError('there is no torch here')\n"
    )
    done = run(COMMAND, "demo", "--exit", PYTHONPATH=str(trap.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = played(done.stdout)
    assert set(kinds) == KINDS
    assert acknowledged(done.stdout) == kinds.total() >= 12
    urls = re.findall(r"(console|page): http://127\.0\.0\.1:\d+/", done.stdout)
    assert urls == ["console", "page"]
    assert not noticed.exists()


@pytest.mark.peer
def test_the_demo_runs_where_only_loopback_exists(tmp_path: Path) -> None:
    """In a network namespace of its own it passes, and not one packet is meant for elsewhere."""
    if shutil.which("unshare") is None or run(*UNSHARE, "true").returncode:
        pytest.skip("no network namespace can be made here (needs root or user namespaces)")
    python = COMMAND.with_name("python")
    done = run(*UNSHARE, "sh", "-c", ALONE, "sh", COMMAND, python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert acknowledged(done.stdout) >= 12
    before, after = map(int, re.findall(r"^routeless (\d+)$", done.stdout, re.MULTILINE))
    assert before > 0, "the kernel counts what has nowhere to go"
    assert after == before


@pytest.mark.shared
def test_the_demo_plays_a_folder_of_real_files(shared: Path, tmp_path: Path) -> None:
    """A DICOM recording, a PDF, a MUSE export and a photographed page: all scored and told."""
    real = [
        "vendor/dicom/ecgtoolkit_Example.dcm",
        "vendor/pdf/00075_hr.pdf",
        "vendor/musexml/guangxi_teaching_sinus_rhythm.xml",
        "mendeley/pages_full/normal_2a211ed1ed.jpg",
    ]
    folder = tmp_path / "real"
    folder.mkdir()
    for name in real:
        shutil.copy(shared / name, folder)
    done = run(COMMAND, "demo", "--exit", "--data", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert played(done.stdout) == {"DICOM file": 1, "HL7 PDF": 1, "HL7 XML": 1, "HL7 JPEG": 1}
    assert acknowledged(done.stdout) == len(real)
