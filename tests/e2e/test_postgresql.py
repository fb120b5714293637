"""The whole gateway, all four roles, on a PostgreSQL server instead of its own SQLite."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.cart import SUCCESS, Person, recording, send
from support.gateway import DATABASE_URL
from support.hospital import STYLE, Hospital, patient, taken
from support.servers import PostgresServer

from gateway.demo import objects
from gateway.ecg import DeliveryState, Encounter, Patient, State
from inference.decode import decode
from inference.render import page

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(600)]
VISIT = Encounter("V4711", "E", "ED^12^A")


def by_dicom(hospital: Hospital, person: Patient) -> None:
    """Send the real recording of pydicom's wheel as a cart does."""
    data = recording(Person(person.id, f"{person.family}^{person.given}"))
    data.PatientBirthDate, data.PatientSex = person.birth_date, person.sex
    data.AcquisitionDateTime = f"{datetime.now(UTC):%Y%m%d%H%M%S}+0000"
    assert send(hospital.gateway.ports["dicom"], [data]) == [SUCCESS]


def by_hl7(hospital: Hospital, person: Patient) -> None:
    """Send the same recording, printed, as a cart's server does."""
    file = io.BytesIO()
    recording(Person(person.id, "")).save_as(file)
    picture = objects.png(page(decode(file.getvalue(), "application/dicom"), STYLE))
    message = objects.result_message(picture, ("IM", "PNG"), taken(person), "ECG1")
    assert hospital.tell(message, "ECG1").accepted


def admit(hospital: Hospital, person: Patient) -> None:
    """Tell the gateway of a patient's visit, an hour before the ECG."""
    before = datetime.now(UTC) - timedelta(hours=1)
    control_id = f"ADT{person.id}"
    message = objects.admission_message(person, VISIT, before, control_id)
    assert hospital.tell(message, control_id).accepted


def test_real_ecgs_end_as_acknowledged_alerts(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """ECGs by DICOM and HL7 are scored, told with their visit, acknowledged, shown, and stay."""
    environment = {DATABASE_URL: postgres_server.new_database()}
    with Hospital(tmp_path, environment, threshold=1e-6) as hospital:
        ways = {patient(1).id: by_dicom, patient(2).id: by_hl7}
        for person in (patient(1), patient(2)):
            admit(hospital, person)
            ways[person.id](hospital, person)
        for person_id in ways:
            result = hospital.result(person_id)
            assert result.alert
            assert VISIT.visit_number.encode() in result.message
            ecg = hospital.outcome(person_id)
            assert (ecg.state, ecg.encounter) == (State.REPORTED, VISIT)
            (delivery,) = hospital.store.deliveries.of_ecg(ecg.id)
            assert delivery.state is DeliveryState.ACKNOWLEDGED
            assert b"MSA|AA" in hospital.store.blobs.get(delivery.ack_digest)
            assert "acknowledged" in hospital.page(f"/ecgs/{ecg.id}")
        assert hospital.gateway.stop(60) == 0
        assert not (hospital.gateway.data / "gateway.sqlite3").exists()
        hospital.gateway.start(environment)
        assert hospital.store.ecgs.count_by_state()[State.REPORTED] == len(ways)
        assert hospital.page("/health/ready")
