"""Promise 7: no patient's name or number in logs, errors, metrics, run/ or the broker.

Eight patients are taken through everything that can happen to an ECG, at the most talkative log
level, while a second connection to the broker watches every command that passes through it.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pydicom
import pytest
import redis
from support import dicom
from support.gateway import until
from support.hl7 import Client
from support.hospital import (
    Hospital,
    patient,
    pdf_file,
    png_message,
    taken,
    waveform_file,
)

from gateway.demo import objects
from gateway.demo.chart import Result
from gateway.demo.ehr import Manner
from gateway.demo.objects import DicomFile
from gateway.dicom import contexts
from gateway.ecg import DeliveryState, Encounter, Patient, State

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ENVIRONMENT = {"ECG_GATEWAY__LOGGING__LEVEL": "debug"}
(GOOD, VISITING, MOVED, UNREADABLE, UNLOVED, STRANGER, CLASHING, REFUSED) = map(patient, range(8))
VISIT, PLACE, DOCTOR = "VISITPHI77", "WARDPHI^12^B", "D99^Phidoctor^Ursula"
BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")


class BrokerWatch:
    """Everything that passes through the broker, and what it holds at the end."""

    def __init__(self, path: str) -> None:
        self._client = redis.Redis(unix_socket_path=path)
        self._monitor = self._client.monitor()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self.seen: list[bytes] = []

    def __enter__(self) -> Self:
        self._monitor.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._client.ping()  # a last line for the listening thread
        self._thread.join(30)
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            self.seen.append(repr(self._monitor.next_command()).encode())

    def held(self) -> bytes:
        """Everything in it, as its own dump format: strings are kept as they are."""
        parts = []
        for key in self._client.scan_iter("*"):
            parts += [key, self._client.dump(key) or b""]
        return b"\n".join(parts)


@dataclass
class Heard:
    """What the gateway told its peers for their mistakes."""

    answers: list[str] = field(default_factory=list)


def admit(hospital: Hospital, person: Patient, at_number: str) -> None:
    control_id = objects.new_control_id()
    encounter = Encounter(at_number, "E", PLACE, DOCTOR)
    message = objects.admission_message(person, encounter, taken(person).at, control_id)
    assert hospital.tell(message, control_id).accepted


def of(person: Patient, file: DicomFile) -> DicomFile:
    """The same object, of another patient."""
    data = pydicom.dcmread(io.BytesIO(file.content))
    data.PatientID, data.PatientName = person.id, f"{person.family}^{person.given}"
    out = io.BytesIO()
    data.save_as(out)
    return DicomFile(out.getvalue(), file.sop_class, file.sop_uid, file.transfer_syntax)


def broken(person: Patient) -> bytes:
    """A data set cut short behind its header, as DIMSE carries it."""
    file = waveform_file(person)
    return dicom.encoded(pydicom.dcmread(io.BytesIO(file.content)))[:1500]


def store_broken(hospital: Hospital, person: Patient, calling: str) -> bytes:
    """Store a damaged object by hand; give the answer's bytes."""
    with dicom.connected(hospital.gateway.ports["dicom"]) as sock:
        sock.sendall(dicom.associate_rq(calling=calling))
        kind, body = dicom.read_pdu(sock)
        if kind != 2:
            return body
        request = dicom.store_rq(contexts.TWELVE_LEAD_ECG, "1.2.3.4")
        sock.sendall(dicom.p_data(request, command=True, last=True))
        sock.sendall(dicom.p_data(broken(person), command=False, last=True))
        return dicom.read_pdu(sock)[1]


def ehr_manners(result: Result) -> Manner:
    return Manner.REJECT if result.patient_id == UNLOVED.id else Manner.ACCEPT


def live(hospital: Hospital, heard: Heard) -> None:
    """Everything that can happen."""
    hospital.ehr.manners = ehr_manners
    admit(hospital, VISITING, VISIT)
    first = waveform_file(GOOD)
    assert hospital.send(first).accepted
    assert hospital.send(first).accepted, "again, the same"
    control_id = objects.new_control_id()
    assert hospital.tell(png_message(VISITING, control_id), control_id).accepted
    assert hospital.send(pdf_file(UNLOVED)).accepted
    blank = objects.pdf_file(b"%PDF-1.7 of nothing", taken(UNREADABLE))
    assert hospital.send(blank).accepted
    assert hospital.send(of(CLASHING, first)).accepted, "held for a person"
    admit(hospital, MOVED, VISIT)
    same_number = Patient(**{**{n: getattr(MOVED, n) for n in FIELDS}, "birth_date": "19990101"})
    assert hospital.send(waveform_file(same_number)).accepted
    heard.answers.append(str(store_broken(hospital, STRANGER, "STRANGER")))
    heard.answers.append(str(store_broken(hospital, REFUSED, "DCMTK")))
    bad = objects.result_message(b"no file", ("AP", "PDF"), taken(REFUSED), "BAD1")
    with Client(hospital.gateway.ports["hl7"]) as client:
        for body in (bad, bad.replace(b"Base64", b"Base65"), bad.replace(b"|2.5.1|", b"|9.9|")):
            answer = client.ask(body)
            assert answer.get("MSA-1") != "AA"
            heard.answers.append("\r".join(str(segment) for segment in answer.segments))
    for path in ("/ecgs/nothing", "/nothing", "/?state=nothing"):
        with pytest.raises(urllib.error.HTTPError) as error:
            hospital.page(path)
        heard.answers.append(error.value.read().decode())
        error.value.close()


FIELDS = ("id", "id_authority", "id_type", "family", "given", "birth_date", "sex")


def all_ended(hospital: Hospital) -> bool:
    """Each patient's ECG came to the end that was meant for it."""
    wanted = {
        GOOD: State.REPORTED,
        VISITING: State.REPORTED,
        UNREADABLE: State.UNSCORABLE,
        CLASHING: State.QUARANTINED,
        MOVED: State.QUARANTINED,
    }
    ends = {person.id: hospital.outcome(person.id).state for person in wanted}
    assert ends == {person.id: state for person, state in wanted.items()}
    return hospital.store.deliveries.counts().get(("EHR", DeliveryState.REJECTED)) == 1


@pytest.fixture(scope="module")
def written(hospital: Hospital) -> dict[str, bytes]:
    """Live through everything, stop, and give all that was written, by where it was."""
    heard = Heard()
    with BrokerWatch(str(hospital.gateway.data / "run" / "broker.sock")) as watch:
        live(hospital, heard)
        until(lambda: all_ended(hospital), "every ECG's end")
        held = watch.held()
    run = hospital.gateway.data / "run"
    found = {str(path): path.read_bytes() for path in run.iterdir() if path.is_file()}
    found["metrics"] = hospital.page("/metrics").encode()
    found["health"] = hospital.page("/health/ready").encode()
    found["refusals"] = hospital.page("/refusals").encode()
    found["queues"] = hospital.page("/queues").encode()
    found["list"] = hospital.page("/").encode()
    found["answers"] = "\n".join(heard.answers).encode()
    found["broker, held"] = held
    found["broker, passed"] = b"\n".join(watch.seen)
    assert hospital.gateway.stop(60) == 0
    for path, content in hospital.gateway.logs():
        found[str(path)] = content
    return found


def unpacked(content: bytes) -> bytes:
    """The content and whatever base64 in it says; task messages wrap their body so."""
    parts = [content]
    for text in BASE64.findall(content):
        with_padding = text + b"=" * (-len(text) % 4)
        try:
            parts.append(base64.b64decode(with_padding))
        except binascii.Error:
            continue
    return b"\n".join(parts).lower()


def test_nothing_that_was_written_names_a_patient(written: dict[str, bytes]) -> None:
    """Names, numbers, birth dates, visit, ward and doctor are in none of it."""
    people = (GOOD, VISITING, MOVED, UNREADABLE, UNLOVED, STRANGER, CLASHING, REFUSED)
    needles = {VISIT, "WARDPHI", "Phidoctor", "19990101"}
    for person in people:
        needles |= {person.id, person.family, person.given, person.birth_date}
    for place, content in written.items():
        text = unpacked(content)
        for needle in needles:
            assert needle.lower().encode() not in text, f"{needle} is in {place}"


def test_the_search_had_something_to_search(written: dict[str, bytes]) -> None:
    """Logs of every role, its failures among them, and task messages were really there."""
    names = {place.rpartition("/")[2] for place in written}
    assert {"serve.out", "listen.log", "work-1.log", "deliver.log", "console.log"} <= names
    assert b"ecg.score" in written["broker, passed"]
    assert b"callbacks" not in written["broker, passed"], "a body is not in clear"
    assert b"callbacks" in unpacked(written["broker, passed"]), "and is read all the same"
    listen = next(text for place, text in written.items() if place.endswith("listen.log"))
    assert b"hl7 message not taken" in listen
    assert b"dicom refused" in listen
    work = next(text for place, text in written.items() if place.endswith("work-1.log"))
    assert work.count(b"scored") >= 4
    assert b"ecg_gateway_ecgs" in written["metrics"]
