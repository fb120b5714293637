"""The DICOM listener against DCMTK: another implementation, as carts have it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from support import dicom as support
from support.dicom import DEADLINE_S, FakeIntake, listening, picture, waveform

from gateway.errors import OutOfResources

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not shutil.which("storescu"), reason="DCMTK is not installed"),
]


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


def dcmtk(tool: str, port: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool, "-v", "-aet", support.CALLING, "-aec", support.CALLED]
    return subprocess.run(
        [*command, "127.0.0.1", str(port), *map(str, arguments)],
        env=dict(os.environ, TCP_NODELAY="1"),
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )


def test_echoscu_is_answered(intake):
    """C-ECHO by DCMTK."""
    with listening(intake) as port:
        done = dcmtk("echoscu", port)
    assert done.returncode == 0, done.stderr


def test_storescu_stores_a_real_recording_unchanged(intake, tmp_path):
    """With all of its proposed contexts; every element is what it was."""
    file = Path(str(get_testdata_file("waveform_ecg.dcm")))
    with listening(intake) as port:
        done = dcmtk("storescu", port, file)
        intake.wait("woken")
    assert done.returncode == 0, done.stderr
    (arrival,) = intake.arrivals
    (tmp_path / "kept.dcm").write_bytes(arrival.content)
    assert dcmread(tmp_path / "kept.dcm") == dcmread(file)
    assert arrival.patient.id == "642341"


@pytest.mark.parametrize("option", ["--propose-implicit", "--propose-little", "--propose-deflated"])
def test_storescu_stores_in_every_waveform_syntax(intake, tmp_path, option):
    """DCMTK converts, pydicom reads back what we kept."""
    data_set = waveform()
    (tmp_path / "ecg.dcm").write_bytes(support.as_file(data_set))
    with listening(intake) as port:
        done = dcmtk("storescu", port, option, tmp_path / "ecg.dcm")
    assert done.returncode == 0, done.stderr
    (tmp_path / "kept.dcm").write_bytes(intake.arrivals[0].content)
    kept = dcmread(tmp_path / "kept.dcm")
    assert kept.WaveformSequence == data_set.WaveformSequence


def test_storescu_repeats_in_one_association(intake, tmp_path):
    """Ten objects, ten answers."""
    (tmp_path / "sc.dcm").write_bytes(support.as_file(picture()))
    with listening(intake) as port:
        done = dcmtk("storescu", port, "--repeat", "10", tmp_path / "sc.dcm")
    assert done.returncode == 0, done.stderr
    assert len(intake.arrivals) == 10


def test_storescu_with_the_smallest_pdu(intake):
    """A response and 72 fragments of 4 kB."""
    file = str(get_testdata_file("waveform_ecg.dcm"))
    with listening(intake, max_pdu_bytes=4096) as port:
        done = dcmtk("storescu", port, "--max-pdu", "4096", file)
    assert done.returncode == 0, done.stderr


def test_storescu_that_aborts_leaves_its_ecg_stored(intake, tmp_path):
    """An A-ABORT instead of a release, and the next association works."""
    (tmp_path / "ecg.dcm").write_bytes(support.as_file(waveform()))
    with listening(intake) as port:
        dcmtk("storescu", port, "--abort", tmp_path / "ecg.dcm")
        intake.wait("woken")
        assert dcmtk("echoscu", port).returncode == 0
    assert len(intake.arrivals) == 1


def test_storescu_hears_why_it_is_refused(intake, tmp_path):
    """DCMTK prints the reason that we sent."""
    (tmp_path / "ecg.dcm").write_bytes(support.as_file(waveform()))
    with listening(intake, ae_title="OTHER") as port:
        done = dcmtk("storescu", port, tmp_path / "ecg.dcm")
    assert done.returncode != 0
    assert "Called AE Title Not Recognized" in done.stderr


def test_storescu_hears_the_status(intake, tmp_path):
    """A full disk is told as A700 with its comment."""
    (tmp_path / "ecg.dcm").write_bytes(support.as_file(waveform()))
    intake.error = OutOfResources("the disk reserve is reached")
    with listening(intake) as port:
        done = dcmtk("storescu", port, tmp_path / "ecg.dcm")
    assert "Refused: OutOfResources" in done.stderr, done.stderr
    assert not intake.arrivals
