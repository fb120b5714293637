"""A cart for tests: sends real recordings with pynetdicom and tries again as carts do."""

from __future__ import annotations

import copy
import socket
import threading
import time
import warnings
from dataclasses import dataclass

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import TwelveLeadECGWaveformStorage

SUCCESS = 0x0000


@dataclass(frozen=True)
class Person:
    """An invented patient."""

    id: str
    name: str


def people(count: int) -> list[Person]:
    """Invented patients whose names and ids are easy to find in a log that should not hold them."""
    return [Person(f"PHI{n:05d}ID", f"Zzyzxname{n:03d}^Quuxgiven{n:03d}") for n in range(count)]


def recording(person: Person, acquired: str = "20260102030405") -> FileDataset:
    """The real 12-lead recording from pydicom's wheel, as a new instance of this person."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    data = copy.deepcopy(source)
    data.SOPInstanceUID = generate_uid()
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PatientID, data.PatientName = person.id, person.name
    data.AcquisitionDateTime = acquired
    return data


def send(port: int, data: list[FileDataset], *, ae_title: str = "CART") -> list[int]:
    """Send all on one association; a status per object, 0xFFFF where no answer came.

    Raises:
        OSError: nobody listens; pynetdicom would leave a socket open for each such try.
    """
    socket.create_connection(("127.0.0.1", port), 20).close()
    ae = AE(ae_title=ae_title)
    syntax = data[0].file_meta.TransferSyntaxUID
    ae.add_requested_context(TwelveLeadECGWaveformStorage, syntax)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    association = ae.associate("127.0.0.1", port, ae_title="ECG_GATEWAY")
    if not association.is_established:
        return [0xFFFF] * len(data)
    statuses = []
    try:
        for item in data:
            try:
                status = association.send_c_store(item)
            except (RuntimeError, ValueError):  # the association is gone
                statuses.append(0xFFFF)
                continue
            statuses.append(int(status.Status) if "Status" in status else 0xFFFF)
    finally:
        if association.is_established:
            association.release()
        _close(association)
    return statuses


def _close(association) -> None:
    """Close the socket that pynetdicom leaves open when the peer closed first."""
    association.kill()
    connection = getattr(association.dul, "socket", None)
    if connection is not None and connection.socket is not None:
        connection.close()


def send_until_accepted(
    port, data: list[FileDataset], *, ae_title: str = "CART", deadline_s: float = 90.0
) -> None:
    """Send what is not yet accepted, again and again, as a cart's queue does.

    Args:
        port: a function that gives the current port (a restarted listener may have another one).
        data: what to send.
        ae_title: the cart's own.
        deadline_s: how long to go on, in seconds.
    """
    waiting, end = list(data), time.monotonic() + deadline_s
    while waiting:
        assert time.monotonic() < end, f"{len(waiting)} objects were not accepted in {deadline_s} s"
        try:
            statuses = send(port(), waiting, ae_title=ae_title)
        except (OSError, ValueError, KeyError):
            statuses = [0xFFFF] * len(waiting)
        waiting = [item for item, got in zip(waiting, statuses, strict=True) if got != SUCCESS]
        if waiting:
            threading.Event().wait(0.2)
