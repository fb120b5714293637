"""A cart that writes Latin letters in a hospital whose ADT writes Chinese: from peer to peer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.hospital import Hospital, patient, taken, waveform_file

from gateway.demo import objects
from gateway.demo.objects import new_control_id
from gateway.ecg import Encounter, Patient, State

THRESHOLD = 1e-6
pytestmark = pytest.mark.slow


def admit(hospital: Hospital, person: Patient) -> None:
    """Let ADT tell of a patient."""
    control_id, visit = new_control_id(), Encounter("V1", "E", "ED")
    message = objects.admission_message(person, visit, taken(person).at, control_id)
    assert hospital.tell(message, control_id).accepted


def test_the_alert_goes_out_if_the_birth_date_agrees(hospital: Hospital) -> None:
    """Same identifier and birth date: alerted. Another birth date: held, and nobody is told."""
    same, other = (replace(patient(n), family="Wang", given="XiaoMing") for n in (1, 2))
    admit(hospital, replace(same, family="王", given="小明"))
    admit(hospital, replace(other, family="王", given="小明", birth_date="19310218"))
    assert hospital.send(waveform_file(other)).accepted
    assert hospital.send(waveform_file(same)).accepted

    result = hospital.result(same.id)
    assert result.alert
    assert f"{same.id}^^^HOSP^PI||Wang^XiaoMing||{same.birth_date}|F".encode() in result.message
    held = hospital.outcome(other.id)
    assert (held.state, held.reason) == (State.QUARANTINED, "patient-mismatch-birth-date")
    assert other.id not in {told.patient_id for told in hospital.ehr.filing.results}
    timeline = hospital.page(f"/ecgs/{result.filler}")
    assert "the names share no script" in timeline
