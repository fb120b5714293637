"""The demo's cart: what it plays can be taken and read, in every wrapping."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.ehr import NOW, SCORE

from gateway.demo.folder import files, from_folder
from gateway.demo.outcomes import Outcome
from gateway.demo.samples import AUTHORITY, real_recording, samples, visits
from gateway.dicom.arrival import from_file
from gateway.ecg import DeliveryState, MediaType, Order, Patient, Source, State
from gateway.hl7.admissions import admissions_from
from gateway.hl7.arrivals import ecgs_from
from gateway.hl7.head import read_head
from gateway.hl7.reading import read
from gateway.store import DeliveryRow, EcgRow
from inference.decode import decode


@pytest.fixture(scope="module")
def played():
    return list(samples(NOW))


def arrival_of(sample):
    """Read a sample with the gateway's own readers."""
    if sample.dicom is not None:
        return from_file(sample.dicom.content, Source("dicom"))
    (arrival,) = ecgs_from(read(sample.message), read_head(sample.message), "127.0.0.1")
    return arrival


def test_twelve_or_more_ecgs_travel_in_every_wrapping(played):
    """DICOM waveforms, pictures and PDFs, HL7 pictures and PDFs, and one real recording."""
    kinds = Counter(sample.wrapping for sample in played)
    assert kinds.total() >= 12
    assert set(kinds) == {
        "DICOM waveform",
        "DICOM picture",
        "DICOM JPEG picture",
        "DICOM PDF",
        "HL7 picture",
        "HL7 PDF",
    }
    assert played[-1].shows == "real recording of 2013"


def test_every_sample_is_read_as_what_it_was_made_of(played):
    """Identity, patient and time survive the wrapping, and inference can decode the content."""
    for sample in played:
        arrival = arrival_of(sample)
        assert arrival.identity == sample.identity
        assert decode(arrival.content, arrival.media_type.value)
        if sample.pseudonym != "anonymous":
            assert (arrival.patient.id, arrival.patient.id_authority) == (
                sample.pseudonym,
                AUTHORITY,
            )
            assert "(simulated)" in (arrival.patient.middle, arrival.patient.given)
            assert NOW - arrival.acquired_at < timedelta(hours=27)
            assert arrival.acquired_at < NOW


def test_admissions_come_an_hour_before_their_ecgs(played):
    """ADT names the same patients, with a place, before the ECG was taken."""
    taken = {sample.pseudonym: arrival_of(sample).acquired_at for sample in played}
    announced = [
        admission
        for visit in visits(NOW)
        for admission in admissions_from(read(visit.message), lambda: NOW)
    ]
    assert len(announced) >= 3
    for admission in announced:
        assert admission.at == taken[admission.patient.id] - timedelta(hours=1)
        assert admission.encounter.location
        assert admission.encounter.visit_number


def test_a_folder_plays_dicom_as_it_is_and_the_rest_as_hl7(tmp_path, played):
    """DICOM keeps its bytes; pictures and documents become messages; other files are left."""
    picture = arrival_of(next(s for s in played if s.wrapping == "HL7 picture")).content
    (tmp_path / "a.bin").write_bytes(real_recording().dicom.content)
    (tmp_path / "b.PNG").write_bytes(picture)
    (tmp_path / "c.dcm").write_bytes(b"\0" * 128 + b"DICM and no more")
    (tmp_path / "notes.txt").write_text("no ECG")
    assert [path.name for path in files(tmp_path)] == ["a.bin", "b.PNG", "c.dcm"]
    dicom, message, damaged = from_folder(tmp_path, NOW)
    assert (damaged.dicom, damaged.message) == (None, b"")
    assert dicom.identity == real_recording().identity
    arrival = arrival_of(message)
    assert (arrival.content, arrival.media_type) == (picture, MediaType.PNG)
    assert arrival.identity == message.identity
    assert [s.identity for s in from_folder(tmp_path, NOW)][:2] == [
        dicom.identity,
        message.identity,
    ]


def ecg_row(**changes):
    values = {
        "id": "e",
        "identity": "dicom:1",
        "digest": "0" * 64,
        "media_type": MediaType.DICOM,
        "state": State.SCORED,
        "reason": "",
        "received_at": NOW,
        "state_at": NOW,
        "source": Source("dicom"),
        "patient": Patient(),
        "order": Order(),
        "score": SCORE,
    }
    return EcgRow(**(values | changes))


def delivery_row(state, acknowledged_at=None):
    return DeliveryRow(
        id=1,
        ecg_id="e",
        destination="ehr",
        kind="alert",
        control_id="C",
        filler="e",
        payload="0" * 64,
        alert=True,
        patient_key="",
        expires_at=None,
        state=state,
        attempts=1,
        next_attempt_at=NOW,
        last_error="",
        ack_digest="",
        created_at=NOW,
        sent_at=NOW,
        acknowledged_at=acknowledged_at,
    )


def outcome(row, *deliveries, accepted=True):
    begun_at = NOW - timedelta(milliseconds=250)
    return Outcome(real_recording(), begun_at, accepted, "status", row, deliveries)


def test_an_acknowledged_ecg_has_ended_and_its_time_counts_from_the_first_byte():
    """Arrival to ACK runs from the begin of sending to the committed acknowledgement."""
    one = outcome(ecg_row(), delivery_row(DeliveryState.ACKNOWLEDGED, NOW))
    assert (one.ended, one.acknowledged, one.scored, one.alert) == (True, True, True, True)
    assert one.milliseconds == 250.0
    assert one.category == "positive"


def test_what_is_on_its_way_has_not_ended():
    """Received, scoring and an open delivery are no outcomes."""
    assert not outcome(ecg_row(state=State.RECEIVED, score=None)).ended
    assert not outcome(ecg_row(), delivery_row(DeliveryState.SENT)).ended
    assert not outcome(None).ended
    assert outcome(None, accepted=False).ended


def test_held_is_an_end_that_nobody_acknowledged():
    """Quarantined and untold unscorable ECGs wait for a person and are no acknowledged result."""
    held = outcome(ecg_row(state=State.QUARANTINED, reason="conflict", score=None))
    assert (held.ended, held.held, held.acknowledged) == (True, True, False)
    assert held.category == "quarantined: conflict"
    told = outcome(
        ecg_row(state=State.UNSCORABLE, reason="no-grid", score=None),
        replace(delivery_row(DeliveryState.ACKNOWLEDGED, datetime.now(UTC)), alert=False),
    )
    assert (told.ended, told.held, told.acknowledged, told.alert) == (True, False, True, False)
