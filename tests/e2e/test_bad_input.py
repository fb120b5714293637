"""What nobody should send: refused or recorded with a reason, and the next ECG works.

After every test the same processes serve the next good ECG, and the listener has not grown.
"""

from __future__ import annotations

import base64
import io
import itertools
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from reportlab.pdfgen.canvas import Canvas
from support import dicom
from support.gateway import until
from support.hl7 import Client
from support.hospital import Hospital, patient, taken, waveform_file

from gateway.demo import objects
from gateway.demo.objects import DicomFile
from gateway.dicom import contexts
from gateway.ecg import Patient, State
from inference.simulate import simulate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ENVIRONMENT = {
    "ECG_GATEWAY__HL7__FRAME_TIMEOUT_S": "3",
    "ECG_GATEWAY__HL7__MAX_MESSAGE_MB": "4",
}
MAX_MESSAGE_BYTES = 4 << 20
GROWTH_KB = 96 * 1024
"""What the listener may grow over this file: less than any one of the absurd announcements."""
ROLES = ("listen", "work", "deliver", "console")
_numbers = itertools.count(1)
_good = itertools.count(5000)


def pids(hospital: Hospital) -> dict[str, list[int]]:
    return {role: hospital.gateway.pids(role) for role in ROLES}


def listener_kb(hospital: Hospital) -> int:
    """Resident memory of the listener, in kB."""
    (pid,) = hospital.gateway.pids("listen")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def a_good_ecg_works(hospital: Hospital) -> None:
    person = patient(next(_good))
    assert hospital.send(waveform_file(person)).accepted
    assert hospital.result(person.id).score is not None


@pytest.fixture(scope="module")
def at_first(hospital: Hospital) -> tuple[dict[str, list[int]], int]:
    """Who runs, and the listener's memory, once each has worked."""
    a_good_ecg_works(hospital)
    return pids(hospital), listener_kb(hospital)


@pytest.fixture(autouse=True)
def unharmed(hospital: Hospital, at_first: tuple[dict[str, list[int]], int]) -> Iterator[None]:
    """Whatever a test did: the same processes serve the next ECG."""
    yield
    a_good_ecg_works(hospital)
    processes, memory_kb = at_first
    assert pids(hospital) == processes
    assert listener_kb(hospital) < memory_kb + GROWTH_KB


@pytest.fixture
def person() -> Patient:
    """A patient that no other test has."""
    return patient(next(_numbers))


def changed(file: DicomFile, change: Callable[[Dataset], None]) -> DicomFile:
    """The same file with something wrong in its data set."""
    data = pydicom.dcmread(io.BytesIO(file.content))
    change(data)
    out = io.BytesIO()
    data.save_as(out)
    return DicomFile(out.getvalue(), file.sop_class, file.sop_uid, file.transfer_syntax)


def no_samples(data: Dataset) -> None:
    group = data.WaveformSequence[0]
    group.NumberOfWaveformSamples, group.WaveformData = 0, b""


def samples_missing(data: Dataset) -> None:
    group = data.WaveformSequence[0]
    group.WaveformData = group.WaveformData[: len(group.WaveformData) // 3]


def one_lead(data: Dataset) -> None:
    group = data.WaveformSequence[0]
    digits = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12)
    group.NumberOfWaveformChannels = 1
    group.ChannelDefinitionSequence = group.ChannelDefinitionSequence[:1]
    group.WaveformData = np.ascontiguousarray(digits[:, 0]).tobytes()


def dead_line(data: Dataset) -> None:
    group = data.WaveformSequence[0]
    group.WaveformData = bytes(len(group.WaveformData))


def exchanged_leads(data: Dataset) -> None:
    """I and II under each other's names."""
    group = data.WaveformSequence[0]
    digits = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12)
    group.WaveformData = digits[:, [1, 0, *range(2, 12)]].tobytes()


def two_seconds(person: Patient) -> DicomFile:
    return objects.waveform_file(simulate("normal", seed=1, seconds=2), taken(person))


def waveform(change: Callable[[Dataset], None]) -> Callable[[Patient], DicomFile]:
    return lambda person: changed(waveform_file(person), change)


def picture(pixels: np.ndarray, modality: str = "OT") -> Callable[[Patient], DicomFile]:
    """A Secondary Capture of something else."""

    def make(person: Patient) -> DicomFile:
        file = objects.picture_file(pixels, taken(person), jpeg=False)
        return changed(file, lambda data: setattr(data, "Modality", modality))

    return make


def chest() -> np.ndarray:
    """Something like a chest X-ray: lungs, heart, spine, ribs; grey on black."""
    y, x = np.mgrid[-1:1:900j, -1:1:800j]
    body = 150 * np.exp(-((x / 0.9) ** 8) - (y / 1.1) ** 8)
    for side in (-0.42, 0.42):
        body -= 95 * np.exp(-(((x - side) / 0.3) ** 4) - ((y + 0.05) / 0.65) ** 4)
    body += 80 * np.exp(-((x / 0.07) ** 2)) + 60 * np.exp(
        -(((x - 0.15) / 0.28) ** 2) - ((y - 0.3) / 0.3) ** 2
    )
    body += 22 * np.cos(22 * (y - 0.35 * np.abs(x) ** 1.5)) * (np.abs(x) < 0.8)
    noise = np.random.default_rng(1).normal(0, 6, body.shape)
    grey = np.clip(body + noise, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def letter() -> bytes:
    """A PDF that is a letter."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595, 842), invariant=True)
    for line in range(40):
        canvas.drawString(
            60, 780 - 18 * line, "Thank you for the referral of this pleasant person."
        )
    canvas.save()
    return out.getvalue()


def letter_file(person: Patient) -> DicomFile:
    return objects.pdf_file(letter(), taken(person))


def broken_pdf_file(person: Patient) -> DicomFile:
    return objects.pdf_file(b"%PDF-1.7\n" + bytes(range(256)) * 40, taken(person))


NO_ECG = {"no-grid", "not-an-ecg", "too-few-leads"}
BLANK = np.full((1190, 1684, 3), 255, np.uint8)
UNSCORABLE: dict[str, tuple[Callable[[Patient], DicomFile], set[str]]] = {
    "zero-length waveform": (waveform(no_samples), {"too-short"}),
    "waveform data cut short": (waveform(samples_missing), {"undecodable", "too-short"}),
    "two seconds": (two_seconds, {"too-short"}),
    "one lead": (waveform(one_lead), {"too-few-leads"}),
    "leads without signal": (waveform(dead_line), {"flat-line"}),
    "leads under other names": (waveform(exchanged_leads), {"contradictory-leads"}),
    "chest X-ray": (picture(chest(), "DX"), {"not-an-ecg"}),
    "chest X-ray that calls itself other": (picture(chest()), NO_ECG),
    "blank page": (picture(BLANK), {"blank"}),
    "black page": (picture(255 - BLANK), {"blank", "not-an-ecg"}),
    "PDF of a letter": (letter_file, NO_ECG),
    "broken PDF": (broken_pdf_file, {"undecodable"}),
}


@pytest.mark.parametrize("name", UNSCORABLE)
def test_what_is_no_ecg_is_recorded_with_its_reason(
    hospital: Hospital, person: Patient, name: str
) -> None:
    """It is kept, it is unscorable for a reason, and the EHR is told that instead of a score."""
    make, reasons = UNSCORABLE[name]
    played = hospital.send(make(person))
    assert played.accepted, played.answer
    row = hospital.outcome(person.id)
    assert row.state is State.UNSCORABLE
    assert row.reason in reasons
    told = hospital.result(person.id)
    assert (told.category, told.score) == ("unscorable", None)
    assert told.reason.startswith(row.reason)
    assert row.reason in hospital.page("/?state=unscorable")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb() -> bytes:
    """A PNG of 60000 x 60000 pixels in less than 4 MB."""
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    squeeze = zlib.compressobj(9)
    row = bytes(60001)
    body = b"".join(squeeze.compress(row) for _ in range(2000)) + squeeze.flush()
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


XML_BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;">]><a>&c;</a>"""
ATTACHED: dict[str, tuple[bytes, tuple[str, str], set[str]]] = {
    "letter": (letter(), ("AP", "PDF"), NO_ECG),
    "PNG bomb": (png_bomb(), ("IM", "PNG"), {"undecodable", "too-large"}),
    "cut PNG": (objects.png(BLANK)[:900], ("IM", "PNG"), {"undecodable"}),
    "blank PNG": (objects.png(BLANK), ("IM", "PNG"), {"blank"}),
    "XML of something else": (b"<?xml version='1.0'?><a>b</a>", ("TEXT", "XML"), {"undecodable"}),
    "XML bomb": (XML_BOMB, ("TEXT", "XML"), {"undecodable"}),
}


@pytest.mark.parametrize("name", ATTACHED)
def test_hl7_files_that_are_no_ecg(hospital: Hospital, person: Patient, name: str) -> None:
    """The message is taken, its file is unscorable for a reason."""
    content, kind, reasons = ATTACHED[name]
    control_id = objects.new_control_id()
    message = objects.result_message(content, kind, taken(person), control_id)
    played = hospital.tell(message, control_id)
    assert played.accepted, played.answer
    row = hospital.outcome(person.id)
    assert (row.state, row.reason in reasons) == (State.UNSCORABLE, True), row.reason
    assert hospital.result(person.id).category == "unscorable"


@pytest.mark.parametrize(
    "content",
    [b"neither PDF nor PNG", b"", base64.b64encode(b"%PDF") + b"!"],
    ids=["text", "nothing", "no base64"],
)
def test_hl7_without_a_file_is_refused(hospital: Hospital, person: Patient, content: bytes) -> None:
    """AE in a connection that stays: what claims to be a PDF and is none is not taken."""
    good = objects.result_message(b"%PDF-1", ("AP", "PDF"), taken(person), "BAD")
    message = good.replace(base64.b64encode(b"%PDF-1"), content)
    with Client(hospital.gateway.ports["hl7"]) as client:
        for _ in range(2):
            assert client.ask(message).get("MSA-1") == "AE"
    assert person.id not in [row.patient.id for row in hospital.store.ecgs.recent(500)]


def status_of(body: bytes) -> Dataset:
    """The command set of a C-STORE-RSP in one fragment."""
    return read_dataset(io.BytesIO(body[6:]), is_implicit_VR=True, is_little_endian=True)


def open_association(sock: socket.socket) -> None:
    sock.sendall(dicom.associate_rq(calling="DCMTK"))
    assert dicom.read_pdu(sock)[0] == 2


def c_store(hospital: Hospital, sop_uid: str, data: bytes) -> Dataset:
    """Send a data set of any bytes; give the response."""
    with dicom.connected(hospital.gateway.ports["dicom"]) as sock:
        open_association(sock)
        sock.sendall(
            dicom.p_data(dicom.store_rq(contexts.TWELVE_LEAD_ECG, sop_uid), command=True, last=True)
        )
        parts = [data[start : start + 16000] for start in range(0, len(data), 16000)] or [b""]
        for number, part in enumerate(parts, 1):
            sock.sendall(dicom.p_data(part, command=False, last=number == len(parts)))
        kind, body = dicom.read_pdu(sock)
        assert kind == 4
        return status_of(body)


def data_set_of(file: DicomFile) -> bytes:
    """The data set alone, as it travels in a C-STORE."""
    return dicom.encoded(pydicom.dcmread(io.BytesIO(file.content)))


def refused(hospital: Hospital, reason: str) -> bool:
    return any(reason in row.reason for row in hospital.store.refusals.recent(50))


@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_a_truncated_dicom_object_is_refused(
    hospital: Hospital, person: Patient, part: float
) -> None:
    """Cut in the header, in the samples, at the last bytes: a failure status, recorded."""
    file = waveform_file(person)
    data = data_set_of(file)
    answer = c_store(hospital, file.sop_uid, data[: int(len(data) * part)])
    assert answer.Status in {0xC000, 0xA900}
    assert "cut off" in answer.ErrorComment or "damaged" in answer.ErrorComment
    assert person.id not in str(answer)
    assert refused(hospital, answer.ErrorComment)


def test_an_element_that_announces_2_gb_is_refused(hospital: Hospital, person: Patient) -> None:
    """The length field of an element is no reason to reserve memory."""
    file = waveform_file(person)
    head = struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 0x7FFFFFFE)
    answer = c_store(hospital, file.sop_uid, data_set_of(file) + head + bytes(1000))
    assert answer.Status in {0xC000, 0xA900}


ABSURD = {
    "garbage": os.urandom(4096),
    "HTTP": b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "P-DATA of 2 GB": struct.pack(">BxI", 4, 0x7FFFFFFF) + bytes(1 << 16),
    "association of 2 GB": struct.pack(">BxI", 1, 0x7FFFFFFF) + bytes(1 << 16),
    "association of zeros": struct.pack(">BxI", 1, 200) + bytes(200),
    "P-DATA before association": dicom.p_data(b"x" * 100, command=True, last=True),
}


def ends(sock: socket.socket) -> bool:
    """Read until the gateway closes; it may answer an A-ABORT before."""
    with suppress(ConnectionError):
        while sock.recv(1 << 16):
            pass
    return True


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_bytes_on_the_dicom_port(hospital: Hospital, name: str) -> None:
    """Twenty at a time: each connection is closed, nothing is kept."""
    with ExitStack() as open_now:
        port = hospital.gateway.ports["dicom"]
        socks = [open_now.enter_context(dicom.connected(port)) for _ in range(20)]
        for sock in socks:
            with suppress(ConnectionError):
                sock.sendall(ABSURD[name])
        assert all(ends(sock) for sock in socks)


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFF, 1])
def test_a_fragment_that_does_not_fit_its_pdu(hospital: Hospital, length: int) -> None:
    """Inside an association, a fragment that announces 2 GB ends it."""
    with dicom.connected(hospital.gateway.ports["dicom"]) as sock:
        open_association(sock)
        sock.sendall(struct.pack(">BxIIBB", 4, 6, length, 1, 3))
        assert ends(sock)


def test_garbage_on_the_hl7_port(hospital: Hospital) -> None:
    """Bytes that never begin a frame: closed once there are enough of them, and recorded."""
    noise = bytes(byte for byte in os.urandom(1 << 18) if byte != 0x0B)
    with Client(hospital.gateway.ports["hl7"]) as client:
        with suppress(ConnectionError):
            client.socket.sendall(noise)
        assert ends(client.socket)
    until(lambda: refused(hospital, "not-mllp"), "the refusal to be recorded")


def test_a_frame_of_garbage_is_answered_ar_or_ae(hospital: Hospital) -> None:
    """A whole frame that is no HL7 is negatively acknowledged, and the connection stays."""
    with Client(hospital.gateway.ports["hl7"]) as client:
        for body in (os.urandom(100).hex().encode(), b"MSH", b"MSH|^~\\&|", b"PID|1||x"):
            assert client.ask(body).get("MSA-1") in {"AE", "AR"}


def test_a_frame_that_never_ends_and_is_slow(hospital: Hospital) -> None:
    """It ends when its time is up."""
    with Client(hospital.gateway.ports["hl7"]) as client:
        client.socket.sendall(b"\x0bMSH|^~\\&|DEMO-CART|DEMO|")
        assert client.closed()
    until(lambda: refused(hospital, "frame-timeout"), "the refusal to be recorded")


def test_a_frame_that_never_ends_and_is_fast(hospital: Hospital) -> None:
    """It ends at the largest message that is taken, whatever more comes; five times."""
    for _ in range(5):
        with Client(hospital.gateway.ports["hl7"]) as client:
            with suppress(ConnectionError):
                client.socket.sendall(b"\x0bMSH|^~\\&|DEMO-CART|DEMO|\r")
                for _ in range(3 * MAX_MESSAGE_BYTES >> 16):
                    client.socket.sendall(b"OBX|1|ED|" * (65536 // 9))
            assert ends(client.socket)
    until(lambda: refused(hospital, "oversize"), "the refusal to be recorded")
