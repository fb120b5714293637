"""The result PDF on its whole way: from a cart's ECG into the chart of an EHR that wants it."""

from __future__ import annotations

import base64
import urllib.request

import hl7
import pytest
from support import pdf
from support.hospital import Hospital, patient, png_message, taken, waveform_file

from gateway.demo import objects
from gateway.demo.chart import Result
from gateway.demo.ehr import Manner
from gateway.demo.objects import new_control_id
from gateway.ecg import Encounter
from gateway.hl7.oru import UNVALIDATED
from inference.thresholds import written

DESTINATION = 'pdf = "embed"\n'
THRESHOLD = 1e-6
pytestmark = pytest.mark.slow
BUSY_ONCE, MESSAGED = patient(1), patient(2)


def attached(result: Result) -> bytes:
    """Give the PDF that a result carries, as another HL7 library reads it."""
    obx = hl7.parse(result.message.decode())["OBX"][-1]
    assert (str(obx[2]), str(obx[5][0][1]), str(obx[5][0][2])) == ("ED", "application", "pdf")
    return base64.b64decode(str(obx[5][0][4]), validate=True)


def test_an_alert_brings_the_ecg_its_score_and_where_the_model_looked(hospital: Hospital) -> None:
    """Put off once, it comes again with the same bytes; the console gives the same PDF."""
    seen: list[Result] = []

    def manner(result: Result) -> Manner:
        seen.append(result)
        return Manner.BUSY if len(seen) == 1 else Manner.ACCEPT

    hospital.ehr.manners = manner
    control_id = new_control_id()
    visit = Encounter("V77", "E", "ED^4^1", "D17^Quince^Quentin")
    admitted = objects.admission_message(BUSY_ONCE, visit, taken(BUSY_ONCE).at, control_id)
    assert hospital.tell(admitted, control_id).accepted
    assert hospital.send(waveform_file(BUSY_ONCE, "stemi-anterior")).accepted
    result = hospital.result(BUSY_ONCE.id)
    assert result.alert
    assert [each.message for each in seen] == [result.message] * 2
    content = attached(result)
    first, second = pdf.texts(content)
    for text in (first, second):
        assert UNVALIDATED in text
        assert f"{BUSY_ONCE.family}, {BUSY_ONCE.given} · id {BUSY_ONCE.id} (HOSP)" in text
        assert "visit V77 · ED 4 1" in text
        assert f"Score {written(result.score, THRESHOLD)}, at or above" in text
    assert "Grad-CAM after layer 4" in first
    assert "Attention after layer 3" in second
    assert f"ECG {result.filler}" in second
    url = f"http://127.0.0.1:{hospital.gateway.ports['console']}/ecgs/{result.filler}/result.pdf"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == content
    assert BUSY_ONCE.family.encode() not in b"".join(text for _, text in hospital.gateway.logs())


def test_a_picture_s_result_shows_what_was_read_of_it(hospital: Hospital) -> None:
    """An ECG that came as PNG has no recording: its PDF says what the traces are."""
    hospital.ehr.manners = lambda _result: Manner.ACCEPT
    control_id = new_control_id()
    assert hospital.tell(png_message(MESSAGED, control_id), control_id).accepted
    first, _ = pdf.texts(attached(hospital.result(MESSAGED.id)))
    assert "as software read them from the page that came" in first
