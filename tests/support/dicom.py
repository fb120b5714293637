"""Small DICOM objects, a listener on port 0, and clients that are not our own code."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

from gateway.dicom import contexts
from gateway.ecg import Arrival, Receipt, State
from listeners.dicom import DicomListener, DicomOptions, Peer

DEADLINE_S = 30.0
CALLING, CALLED = "CART1", "ECG_GATEWAY"


def header(sop_class: str = contexts.TWELVE_LEAD_ECG) -> Dataset:
    """Patient, study and instance of an invented ECG; no waveform yet."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.SOPClassUID = sop_class
    data_set.SOPInstanceUID = generate_uid()
    data_set.StudyInstanceUID = generate_uid()
    data_set.SeriesInstanceUID = generate_uid()
    data_set.AcquisitionDateTime = "20240229103015.250000+0100"
    data_set.AccessionNumber = "ACC-1"
    data_set.PatientName = "Müller^Jürgen^K"
    data_set.PatientID = "P-0815"
    data_set.IssuerOfPatientID = "HOSP"
    data_set.PatientBirthDate = "19510204"
    data_set.PatientSex = "M"
    return data_set


def waveform(samples: int = 500, sop_class: str = contexts.TWELVE_LEAD_ECG) -> Dataset:
    """A 12-channel recording whose samples are all zero."""
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = 12
    group.NumberOfWaveformSamples = samples
    group.SamplingFrequency = 500
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.add_new(0x54001010, "OW", b"\0" * (2 * 12 * samples))
    data_set = header(sop_class)
    data_set.WaveformSequence = Sequence([group])
    return data_set


def picture(rows: int = 8, columns: int = 8) -> Dataset:
    """A grey Secondary Capture."""
    data_set = header(contexts.SECONDARY_CAPTURE)
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.Rows, data_set.Columns = rows, columns
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit = 7
    data_set.PixelRepresentation = 0
    data_set.add_new(0x7FE00010, "OB", b"\x7f" * (rows * columns))
    return data_set


def as_file(data_set: Dataset, transfer_syntax: str = contexts.EXPLICIT_LE) -> bytes:
    """A whole DICOM file."""
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    buffer = BytesIO()
    dcmwrite(buffer, data_set, enforce_file_format=True)
    return buffer.getvalue()


def encoded(data_set: Dataset, transfer_syntax: str = contexts.EXPLICIT_LE) -> bytes:
    """The data set alone, as it travels in a C-STORE."""
    content = as_file(data_set, transfer_syntax)
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


@dataclass
class FakeIntake:
    """Accepts in memory, and tells what it was given; `answer` may raise instead."""

    arrivals: list[Arrival] = field(default_factory=list)
    woken: list[Receipt] = field(default_factory=list)
    refusals: list[tuple[str, str, str, str]] = field(default_factory=list)
    error: Exception | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def accept(self, arrival: Arrival) -> Receipt:
        if self.error:
            raise self.error
        with self.changed:
            self.arrivals.append(arrival)
            self.changed.notify_all()
            return Receipt(f"id{len(self.arrivals)}", new=True, state=State.RECEIVED)

    def wake(self, receipt: Receipt) -> None:
        with self.changed:
            self.woken.append(receipt)
            self.changed.notify_all()

    def refused(self, protocol: str, peer: str, address: str, reason: str) -> None:
        with self.changed:
            self.refusals.append((protocol, peer, address, reason))
            self.changed.notify_all()

    def wait(self, what: str, count: int = 1) -> None:
        """Wait until a list has at least so many entries."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(getattr(self, what)) >= count, DEADLINE_S)


@contextmanager
def listening(
    intake: FakeIntake,
    *,
    peers: tuple[Peer, ...] = (Peer("cart", CALLING),),
    ae_title: str = CALLED,
    **options: float,
) -> Iterator[int]:
    """A listener on a free port of the loopback."""
    listener = DicomListener(
        DicomOptions(**options),  # type: ignore[arg-type]
        peers=lambda: peers,
        ae_title=lambda: ae_title,
        accept=intake.accept,
        wake=intake.wake,
        refused=intake.refused,
    )
    port = listener.start()
    try:
        yield port
    finally:
        listener.stop(DEADLINE_S)


@contextmanager
def associated(
    port: int, *data_sets: Dataset, transfer_syntax: str = contexts.EXPLICIT_LE, **names: str
) -> Iterator[Association]:
    """An association by pynetdicom, released at the end."""
    ae = AE(ae_title=names.get("calling", CALLING))
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = DEADLINE_S
    ae.add_requested_context(contexts.VERIFICATION)
    for sop_class in {data_set.SOPClassUID for data_set in data_sets}:
        ae.add_requested_context(sop_class, transfer_syntax)
    association = ae.associate("127.0.0.1", port, ae_title=names.get("called", CALLED))
    try:
        yield association
    finally:
        association.release()
        association.join(DEADLINE_S)


def store(port: int, data_set: Dataset, transfer_syntax: str = contexts.EXPLICIT_LE) -> Dataset:
    """C-STORE one object in an association of its own; give the status data set."""
    as_file(data_set, transfer_syntax)
    with associated(port, data_set, transfer_syntax=transfer_syntax) as association:
        assert association.is_established
        return association.send_c_store(data_set)


def associate_rq(
    sop_class: str = contexts.TWELVE_LEAD_ECG,
    *,
    calling: str = CALLING,
    called: str = CALLED,
    version: int = 1,
    application: str = "1.2.840.10008.3.1.1.1",
    transfer_syntax: str = contexts.EXPLICIT_LE,
) -> bytes:
    """An A-ASSOCIATE-RQ by hand, with context 1."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    context = struct.pack(">Bxxx", 1) + item(0x30, sop_class.encode())
    context += item(0x40, transfer_syntax.encode())
    body = struct.pack(">Hxx", version) + called.encode().ljust(16) + calling.encode().ljust(16)
    body += b"\0" * 32 + item(0x10, application.encode()) + item(0x20, context)
    body += item(0x50, item(0x51, struct.pack(">I", 16384)))
    return struct.pack(">BxI", 1, len(body)) + body


def store_rq(sop_class: str, sop_uid: str) -> bytes:
    """A C-STORE-RQ command set by hand."""

    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = element(0x0002, sop_class.encode()) + element(0x0100, b"\x01\0")
    body += element(0x0110, b"\x07\0") + element(0x0700, b"\0\0") + element(0x0800, b"\x01\0")
    body += element(0x1000, sop_uid.encode())
    return element(0x0000, struct.pack("<I", len(body))) + body


def p_data(part: bytes, *, command: bool, last: bool, context: int = 1) -> bytes:
    """One P-DATA-TF with one fragment."""
    control = (1 if command else 0) | (2 if last else 0)
    return struct.pack(">BxIIBB", 4, len(part) + 6, len(part) + 2, context, control) + part


def read_pdu(sock: socket.socket) -> tuple[int, bytes]:
    """One PDU, or `(0, b"")` when the peer closed."""
    head = sock.recv(6, socket.MSG_WAITALL)
    if len(head) < 6:
        return 0, b""
    kind, length = struct.unpack(">BxI", head)
    return kind, sock.recv(length, socket.MSG_WAITALL) if length else b""


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A plain TCP connection with a deadline."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock:
        yield sock
