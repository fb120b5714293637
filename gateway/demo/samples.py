"""What the demo's cart plays: simulated ECGs in every wrapping, and one real recording.

Every patient but the real recording's is invented and named so; the ECGs come from
`inference.simulate` and are evidence of nothing.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

from gateway.demo import objects
from gateway.demo.objects import DicomFile, Taken
from gateway.ecg import Encounter, Patient
from inference.forms import Waveform
from inference.render import Style, page, page_pdf
from inference.simulate import simulate

AUTHORITY = "DEMO"


@dataclass(frozen=True, slots=True)
class Sample:
    """One ECG ready to be played.

    Attributes:
        shows: what the ECG is, in words.
        wrapping: how it travels, in words.
        pseudonym: what may be printed instead of the patient's name.
        dicom: the file, when it goes by C-STORE.
        message: the message, when it goes by MLLP; control_id is its MSH-10.
    """

    shows: str
    wrapping: str
    pseudonym: str
    dicom: DicomFile | None = None
    message: bytes = b""
    control_id: str = ""

    @property
    def identity(self) -> str:
        """What the gateway will call it (see `gateway.ecg.Arrival.identity`)."""
        if self.dicom is not None:
            return f"dicom:{self.dicom.sop_uid}"
        return f"hl7:{objects.APPLICATION}|{objects.FACILITY}|{self.control_id}|1"


@dataclass(frozen=True, slots=True)
class Visit:
    """An admission that the cart's hospital announces before the ECGs come."""

    control_id: str
    message: bytes


@dataclass(frozen=True, slots=True)
class _Plan:
    """One simulated patient: what the ECG shows, how it travels, who it is, how old it is."""

    kind: str
    shows: str
    wrapping: str
    name: tuple[str, str]
    born: str
    sex: str
    age_minutes: float = 3.0
    place: str = ""


_WAVEFORM, _SC, _SC_JPEG = "DICOM waveform", "DICOM picture", "DICOM JPEG picture"
_PDF, _HL7_PNG, _HL7_PDF = "DICOM PDF", "HL7 picture", "HL7 PDF"

_PLANS = (
    _Plan("normal", "normal", _WAVEFORM, ("Ahorn", "Ada"), "19610411", "F"),
    _Plan("stemi-anterior", "anterior STEMI", _WAVEFORM, ("Birke", "Bruno"), "19580923", "M", 2.0,
          "ED^4^1"),
    _Plan("stemi-inferior", "inferior STEMI", _SC, ("Cypress", "Clara"), "19490730", "F", 4.0,
          "ED^7^1"),
    _Plan("stemi-lateral", "lateral STEMI", _PDF, ("Douglas", "Dietmar"), "19550212", "M", 5.0,
          "CHESTPAIN^2^1"),
    _Plan("ischaemia", "ischaemia", _HL7_PNG, ("Eibe", "Élodie"), "19631105", "F", 6.0, "ED^1^2"),
    _Plan("hyperkalaemia", "hyperkalaemia", _HL7_PDF, ("Föhre", "Frieda"), "19370619", "F", 3.0,
          "DIALYSIS^3^1"),
    _Plan("lbbb", "left bundle branch block", _WAVEFORM, ("Ginkgo", "Georg"), "19441201", "M"),
    _Plan("rbbb", "right bundle branch block", _SC_JPEG, ("Hazel", "Henry"), "19520808", "M"),
    _Plan("af", "atrial fibrillation", _PDF, ("Ilex", "Ida"), "19400316", "F"),
    _Plan("paced", "paced rhythm", _HL7_PNG, ("Juniper", "Jonas"), "19330527", "M"),
    _Plan("normal", "normal", _SC, ("Kastanie", "Käthe"), "19720914", "F"),
    _Plan("normal", "normal", _HL7_PDF, ("Linde", "Leo"), "19890102", "M"),
    _Plan("stemi-anterior", "anterior STEMI of yesterday", _WAVEFORM, ("Magnolia", "Mia"),
          "19570418", "F", 26 * 60.0),
)  # fmt: skip


def samples(now: datetime) -> Iterator[Sample]:
    """Make the demo's ECGs, each as it is asked for; the real recording comes last.

    Args:
        now: the present, aware; acquisition times are a few minutes before it.
    """
    for number, plan in enumerate(_PLANS, start=1):
        taken = Taken(_patient(number, plan), now - timedelta(minutes=plan.age_minutes))
        waveform = simulate(plan.kind, seed=number)
        yield _wrap(plan, waveform, taken)
    yield real_recording()


def visits(now: datetime) -> list[Visit]:
    """Announce the patients that have a place, as admitted an hour before their ECG."""
    found = []
    for number, plan in enumerate(_PLANS, start=1):
        if not plan.place:
            continue
        at = now - timedelta(minutes=plan.age_minutes + 60)
        encounter = Encounter(f"V{2600 + number}", "E", plan.place, "D17^Quince^Quentin")
        control_id = objects.new_control_id()
        message = objects.admission_message(_patient(number, plan), encounter, at, control_id)
        found.append(Visit(control_id, message))
    return found


def real_recording() -> Sample:
    """Give the anonymised 12-lead recording of 2013 that pydicom's wheel carries, untouched."""
    path = get_testdata_file("waveform_ecg.dcm", download=False)
    if path is None:
        raise FileNotFoundError("pydicom is installed without its test recording")
    content = Path(str(path)).read_bytes()
    return Sample("real recording of 2013", _WAVEFORM, "anonymous", dicom=described(content))


def described(content: bytes) -> DicomFile:
    """Read what a sender must know of a DICOM file.

    Raises:
        ValueError: it is none, or its meta information (PS3.10 7.1) lacks what is needed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on real files' values
            meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).file_meta
            return DicomFile(
                content,
                str(meta.MediaStorageSOPClassUID),
                str(meta.MediaStorageSOPInstanceUID),
                str(meta.TransferSyntaxUID),
            )
    except Exception as error:
        raise ValueError(f"no readable DICOM file: {type(error).__name__}") from None


def _patient(number: int, plan: _Plan) -> Patient:
    family, given = plan.name
    return Patient(
        id=f"SIM-{number:02d}",
        id_authority=AUTHORITY,
        id_type="MR",
        family=family,
        given=given,
        middle="(simulated)",
        birth_date=plan.born,
        sex=plan.sex,
    )


def _wrap(plan: _Plan, waveform: Waveform, taken: Taken) -> Sample:
    patient = taken.patient
    style = Style(
        header=(
            f"{patient.family}, {patient.given}   {patient.id}   SIMULATED ECG",
            f"{taken.at:%Y-%m-%d %H:%M}   25 mm/s   10 mm/mV",
        ),
        px_per_mm=6,
    )
    if plan.wrapping in {_WAVEFORM, _SC, _SC_JPEG, _PDF}:
        return Sample(plan.shows, plan.wrapping, patient.id, _dicom(plan, waveform, style, taken))
    control_id = objects.new_control_id()
    if plan.wrapping == _HL7_PNG:
        kind, content = ("IM", "PNG"), objects.png(page(waveform, style))
    else:
        kind, content = ("AP", "PDF"), page_pdf(waveform, style)
    message = objects.result_message(content, kind, taken, control_id)
    return Sample(plan.shows, plan.wrapping, patient.id, message=message, control_id=control_id)


def _dicom(plan: _Plan, waveform: Waveform, style: Style, taken: Taken) -> DicomFile:
    if plan.wrapping == _WAVEFORM:
        return objects.waveform_file(waveform, taken)
    if plan.wrapping == _PDF:
        return objects.pdf_file(page_pdf(waveform, style), taken)
    return objects.picture_file(page(waveform, style), taken, jpeg=plan.wrapping == _SC_JPEG)
