"""A whole hospital for end-to-end tests: a running gateway, the EHR it reports to, and its carts.

Every ECG here is simulated, every patient invented, with names that are easy to find in a log.
"""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.demo import objects
from gateway.demo.cart import Hl7Line, Played, store_dicom
from gateway.demo.chart import Result
from gateway.demo.ehr import Ehr
from gateway.demo.objects import DicomFile, Taken
from gateway.ecg import Patient, State
from gateway.store import EcgRow
from inference.render import Style, page, page_pdf
from inference.simulate import simulate
from support.gateway import SITE, RunningGateway, until

AE_TITLES = ("DEMO_CART", "DCMTK", "ORTHANC", "DCMJS")
PEERS = "".join(f'[[dicom_peers]]\nname = "{name}"\nae_title = "{name}"\n' for name in AE_TITLES)
_OPEN = {State.RECEIVED, State.SCORING, State.SCORED}
STYLE = Style(px_per_mm=6)


def patient(number: int) -> Patient:
    """Invent a patient."""
    return Patient(
        id=f"PHI{number:04d}ID",
        id_authority="HOSP",
        id_type="MR",
        family=f"Zzyzxname{number:03d}",
        given=f"Quuxgiven{number:03d}",
        birth_date=f"1931{number % 12 + 1:02d}17",
        sex="F" if number % 2 else "M",
    )


def taken(person: Patient) -> Taken:
    """Say that an ECG was taken of this patient just now."""
    return Taken(person, datetime.now(UTC).replace(microsecond=0))


def waveform_file(person: Patient, kind: str = "normal") -> DicomFile:
    """A 12-lead ECG as DICOM waveform."""
    return objects.waveform_file(simulate(kind, seed=1), taken(person))


def picture_file(person: Patient, *, jpeg: bool = False) -> DicomFile:
    """A printed ECG as Secondary Capture."""
    return objects.picture_file(page(simulate("normal", seed=2), STYLE), taken(person), jpeg=jpeg)


def pdf_file(person: Patient) -> DicomFile:
    """A printed ECG as Encapsulated PDF."""
    return objects.pdf_file(page_pdf(simulate("normal", seed=3), STYLE), taken(person))


def png_message(person: Patient, control_id: str) -> bytes:
    """A printed ECG as PNG in an ORU^R01."""
    content = objects.png(page(simulate("normal", seed=4), STYLE))
    return objects.result_message(content, ("IM", "PNG"), taken(person), control_id)


def pdf_message(person: Patient, control_id: str) -> bytes:
    """A printed ECG as PDF in an ORU^R01."""
    content = page_pdf(simulate("normal", seed=5), STYLE)
    return objects.result_message(content, ("AP", "PDF"), taken(person), control_id)


class Hospital:
    """`with Hospital(folder) as hospital` runs gateway and EHR until the block ends."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str] | None = None,
        threshold: float | None = None,
        destination: str = "",
    ) -> None:
        self._environment = environment or {}
        self.ehr = Ehr(folder / "ehr")
        alert = "" if threshold is None else f"threshold = {threshold}\n"
        site = SITE.replace("[alert]", f"{destination}[alert]") + alert + PEERS
        self.gateway = RunningGateway(folder, self.ehr.port, site=site)

    def __enter__(self) -> Self:
        self.ehr.start()
        try:
            self.gateway.start(self._environment)
            self.store = self.gateway.store()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.store.close()
        self._end()

    def _end(self) -> None:
        try:
            self.gateway.stop()
        finally:
            self.gateway.kill_all()
            self.ehr.stop()

    def send(self, file: DicomFile) -> Played:
        """C-STORE one file on an association of its own."""
        return store_dicom(self.gateway.ports["dicom"], file)

    def tell(self, message: bytes, control_id: str) -> Played:
        """Send one HL7 message on a connection of its own."""
        line = Hl7Line(self.gateway.ports["hl7"])
        try:
            return line.send(message, control_id)
        finally:
            line.close()

    def result(self, patient_id: str) -> Result:
        """Wait for the first result that the EHR files for a patient."""
        return until(
            lambda: next((r for r in self.ehr.filing.results if r.patient_id == patient_id), None),
            f"a result for {patient_id} at the EHR",
        )

    def outcome(self, patient_id: str) -> EcgRow:
        """Wait until the newest ECG of a patient has come to its end; give its row."""

        def ended() -> EcgRow | None:
            rows = self.store.ecgs.recent(500)
            row = next((row for row in rows if row.patient.id == patient_id), None)
            return row if row and row.state not in _OPEN else None

        return until(ended, f"the end of the ECG of {patient_id}")

    def page(self, path: str) -> str:
        """Get one page of the console."""
        url = f"http://127.0.0.1:{self.gateway.ports['console']}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()
