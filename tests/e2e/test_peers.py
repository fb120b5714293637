"""Carts and engines that others wrote, through a running gateway, to the EHR."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import node_peer
from support.gateway import until
from support.hospital import (
    Hospital,
    patient,
    pdf_file,
    pdf_message,
    picture_file,
    png_message,
    waveform_file,
)
from support.servers import free_port

from gateway.demo.objects import DicomFile, new_control_id
from gateway.ecg import DeliveryState, Patient, State

pytestmark = [pytest.mark.slow, pytest.mark.peer]
PEER_S = 120.0


def dcmtk(tool: str, hospital: Hospital, *arguments: str | Path) -> str:
    """Run one of DCMTK's tools against the gateway; give what it said."""
    if shutil.which(tool) is None:
        pytest.skip("DCMTK is not installed here")
    port = str(hospital.gateway.ports["dicom"])
    line = [tool, "-v", "-aet", "DCMTK", "-aec", "ECG_GATEWAY", "127.0.0.1", port]
    done = subprocess.run(
        [*line, *map(str, arguments)],
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
        text=True,
        timeout=PEER_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def save(file: DicomFile, folder: Path) -> Path:
    path = folder / f"{file.sop_uid}.dcm"
    path.write_bytes(file.content)
    return path


def arrives(hospital: Hospital, person: Patient, peer: str) -> None:
    """The EHR has the ECG under this patient's name, and the gateway knows that it has."""
    result = hospital.result(person.id)
    assert (result.birth_date, result.sex) == (person.birth_date, person.sex)
    assert result.patient.startswith(f"{person.family}, {person.given}")
    assert result.score is not None
    ecg = hospital.outcome(person.id)
    assert (ecg.state, ecg.source.peer) == (State.REPORTED, peer)
    (delivery,) = hospital.store.deliveries.of_ecg(ecg.id)
    assert delivery.state is DeliveryState.ACKNOWLEDGED
    assert delivery.control_id == result.control_id


def test_dcmtk_echoscu(hospital: Hospital) -> None:
    """C-ECHO."""
    assert "Success" in dcmtk("echoscu", hospital)


@pytest.mark.parametrize(("number", "make"), [(1, waveform_file), (2, picture_file), (3, pdf_file)])
def test_dcmtk_storescu(
    hospital: Hospital, tmp_path: Path, number: int, make: Callable[[Patient], DicomFile]
) -> None:
    """Each kind of object, one association each."""
    dcmtk("storescu", hospital, save(make(patient(number)), tmp_path))
    arrives(hospital, patient(number), "DCMTK")


def test_dcmtk_dcmsend(hospital: Hospital, tmp_path: Path) -> None:
    """Several objects in one association, one of them JPEG."""
    save(waveform_file(patient(4)), tmp_path)
    save(picture_file(patient(5), jpeg=True), tmp_path)
    said = dcmtk("dcmsend", hospital, "--scan-directories", tmp_path)
    assert re.search(r"with status SUCCESS +: 2\n", said), said
    arrives(hospital, patient(4), "DCMTK")
    arrives(hospital, patient(5), "DCMTK")


class Orthanc:
    """An Orthanc on a free port that knows the gateway as a modality."""

    def __init__(self, folder: Path, gateway_port: int) -> None:
        program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
        if program is None:
            pytest.skip("Orthanc is not installed here")
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        settings = {
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": port,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "DicomAet": "ORTHANC",
            "DicomModalities": {"gateway": ["ECG_GATEWAY", "127.0.0.1", gateway_port]},
            "Plugins": [],
        }
        config = folder / "orthanc.json"
        config.write_text(json.dumps(settings))
        with (folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen([program, str(config)], stdout=log, stderr=log)

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """GET, or POST a body."""
        with urllib.request.urlopen(f"{self._url}{path}", body, PEER_S) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PEER_S)


@pytest.fixture
def orthanc(hospital: Hospital, tmp_path: Path) -> Iterator[Orthanc]:
    running = Orthanc(tmp_path, hospital.gateway.ports["dicom"])
    try:
        until(lambda: running.ask("/system"), "Orthanc to answer")
        yield running
    finally:
        running.stop()


def test_orthanc_is_a_cart(hospital: Hospital, orthanc: Orthanc) -> None:
    """Orthanc echoes us and sends a waveform, a picture and a PDF that were uploaded to it."""
    orthanc.ask("/modalities/gateway/echo", b"{}")
    makers = {6: waveform_file, 7: picture_file, 8: pdf_file}
    files = [make(patient(number)) for number, make in makers.items()]
    ids = [orthanc.ask("/instances", file.content)["ID"] for file in files]
    told = orthanc.ask("/modalities/gateway/store", json.dumps(ids).encode())
    assert (told["InstancesCount"], told["FailedInstancesCount"]) == (3, 0)
    for number in makers:
        arrives(hospital, patient(number), "ORTHANC")


def test_dcmjs_dimse(hospital: Hospital, tmp_path: Path) -> None:
    """The JavaScript DICOM stack echoes and stores two objects on one association."""
    files = [save(waveform_file(patient(9)), tmp_path), save(pdf_file(patient(10)), tmp_path)]
    port = str(hospital.gateway.ports["dicom"])
    told = node_peer.run("store.cjs", port, "DCMJS", "ECG_GATEWAY", *map(str, files))
    assert told.split("\n")[:-1] == ["echo 0000", "store 0000", "store 0000"]
    arrives(hospital, patient(9), "DCMJS")
    arrives(hospital, patient(10), "DCMJS")


def test_node_hl7_client(hospital: Hospital, tmp_path: Path) -> None:
    """ECGs as PNG and PDF in ORU^R01 by the JavaScript HL7 client."""
    control_ids = [new_control_id(), new_control_id()]
    messages = [png_message(patient(11), control_ids[0]), pdf_message(patient(12), control_ids[1])]
    file = tmp_path / "messages.json"
    file.write_text(json.dumps([message.decode() for message in messages]))
    told = node_peer.run("send.cjs", str(hospital.gateway.ports["hl7"]), str(file))
    assert told.split("\n")[:-1] == [f"AA {control_id}" for control_id in control_ids]
    arrives(hospital, patient(11), "DEMO-CART^DEMO")
    arrives(hospital, patient(12), "DEMO-CART^DEMO")


def test_python_hl7_mllp_send(hospital: Hospital, tmp_path: Path) -> None:
    """The same by the command line tool of python-hl7."""
    file = tmp_path / "messages.hl7"
    file.write_bytes(
        png_message(patient(13), new_control_id())
        + b"\n"
        + pdf_message(patient(14), new_control_id())
    )
    port = str(hospital.gateway.ports["hl7"])
    command = Path(sys.executable).with_name("mllp_send")
    done = subprocess.run(
        [command, "--loose", "--port", port, "--file", file, "127.0.0.1"],
        check=True,
        capture_output=True,
        timeout=PEER_S,
    )
    assert done.stdout.count(b"MSA|AA|") == 2
    arrives(hospital, patient(13), "DEMO-CART^DEMO")
    arrives(hospital, patient(14), "DEMO-CART^DEMO")
