"""ORU and ADT messages read into arrivals and admissions."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from support.hl7 import PDF, PNG, adt, at_noon, msh, obx, oru, pid, wire

from gateway.ecg import Encounter, MediaType, Name, Order
from gateway.errors import NotUnderstood, WrongContent
from gateway.hl7.admissions import Admission, admissions_from
from gateway.hl7.arrivals import ecgs_from, objection
from gateway.hl7.attachments import attachment_from
from gateway.hl7.head import read_head
from gateway.hl7.people import encounter_from, patient_from
from gateway.hl7.reading import read
from gateway.hl7.times import parse_time

FILES = {
    MediaType.PDF: PDF,
    MediaType.PNG: PNG,
    MediaType.JPEG: b"\xff\xd8\xff\xe0rest",
    MediaType.TIFF: b"II*\x00rest",
    MediaType.DICOM: b"\x00" * 128 + b"DICMrest",
    MediaType.XML: b'<?xml version="1.0"?><AnnotatedECG/>',
}


def ecgs(raw: bytes):
    return ecgs_from(read(raw), read_head(raw), "10.0.0.1")


def admission_from(message, *given) -> Admission:
    (admission,) = admissions_from(message, *given)
    return admission


def one_obx(five: str):
    return read(wire(msh(), f"OBX|1|ED|ECG||{five}||||||F")).first("OBX")


def test_an_oru_becomes_an_arrival():
    """Bytes, patient, order, time and source are those of the message."""
    (ecg,) = ecgs(oru("C9"))
    assert ecg.identity == "hl7:CART|WARD|C9|1"
    assert ecg.content == PNG
    assert ecg.media_type is MediaType.PNG
    assert (ecg.patient.id, ecg.patient.id_authority, ecg.patient.id_type) == ("P100", "HOSP", "MR")
    assert (ecg.patient.family, ecg.patient.given, ecg.patient.middle) == ("DOE", "JANE", "Q")
    assert (ecg.patient.birth_date, ecg.patient.sex) == ("19500102", "F")
    assert ecg.order == Order("PL1", "FI1")
    assert ecg.acquired_at == datetime(2026, 1, 1, 11, 55, tzinfo=UTC)
    assert (ecg.source.protocol, ecg.source.peer, ecg.source.address) == (
        "hl7",
        "CART^WARD",
        "10.0.0.1",
    )
    assert not ecg.source.test


@pytest.mark.parametrize(
    ("sent", "taken", "expected"),
    [
        ("20260101120000-0500", "20260101115500", datetime(2026, 1, 1, 16, 55, tzinfo=UTC)),
        ("20260101120000-0500", "20260101115500+0100", datetime(2026, 1, 1, 10, 55, tzinfo=UTC)),
        ("20260101120000", "20260101115500", datetime(2026, 1, 1, 11, 55)),
    ],
    ids=["MSH-7's zone", "its own zone", "no zone"],
)
def test_the_zone_of_msh_7_holds_for_the_whole_message(sent, taken, expected):
    """An OBR-7 without a zone is in the sender's, not in this machine's; an age depends on it."""
    raw = oru().replace(b"20260101120000+0000", sent.encode())
    (ecg,) = ecgs(raw.replace(b"20260101115500+0000", taken.encode()))
    assert ecg.acquired_at == expected
    assert (ecg.acquired_at.tzinfo is None) == (expected.tzinfo is None)


def test_the_zone_of_msh_7_holds_for_an_admission():
    """EVN-2 without a zone is in the sender's."""
    raw = adt().replace(b"120000+0000", b"120000-0500").replace(b"110000+0000", b"110000")
    assert admission_from(read(raw), at_noon).at == datetime(2026, 1, 1, 16, tzinfo=UTC)
    silent = raw.replace(b"120000-0500", b"120000")
    tokyo = timezone(timedelta(hours=9))
    assert admission_from(read(silent), at_noon, tokyo).at == datetime(2026, 1, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(("processing", "test"), [("P", False), ("T", True), ("D", True)])
def test_test_and_debug_messages_are_marked(processing, test):
    """MSH-11 `T` and `D` travel with the ECG, so that no live alert comes of it."""
    assert ecgs(oru(processing=processing))[0].source.test is test


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_is_told_by_its_bytes(kind):
    """Senders call the same file by many names; the bytes say what it is."""
    data = base64.b64encode(FILES[kind]).decode()
    for name in ("^application^octet-stream", "^AP^Octet-stream", "^^"):
        found = attachment_from(one_obx(f"{name}^Base64^{data}"))
        assert found is not None
        assert (found.content, found.media_type) == (FILES[kind], kind)


def test_other_encodings_of_table_0299_are_decoded():
    """Hex, plain text with escapes, wrapped base64, and base64 that is not labelled."""
    data = base64.b64encode(PDF).decode()
    xml = "<a>1 & 2</a>"
    assert attachment_from(one_obx(f"^^PDF^Hex^{PDF.hex()}")).content == PDF
    assert attachment_from(one_obx(r"^text^XML^A^<a>1 \T\ 2</a>")).content == xml.encode()
    assert attachment_from(one_obx(f"^^PDF^base64^{data[:8]}\n{data[8:]}")).content == PDF
    assert attachment_from(one_obx(f"^^PDF^^{data}")).content == PDF


@pytest.mark.parametrize(
    ("five", "error"),
    [
        ("^^PDF^Base64^%%%%", NotUnderstood),
        ("^^PDF^Base64^QUFB=Q", NotUnderstood),
        ("^^PDF^Hex^4Z", NotUnderstood),
        ("^^PDF^rot13^QUFB", NotUnderstood),
        ("^^PDF^Base64^QUFB", WrongContent),
        ("^IM^JPEG^Base64^QUFB", WrongContent),
    ],
)
def test_a_claimed_file_that_is_none_is_an_error(five, error):
    """What cannot be decoded, or is not what it says, is answered AE and never guessed."""
    with pytest.raises(error):
        attachment_from(one_obx(five))


@pytest.mark.parametrize("five", ["", "^^PDF^Base64^", "^^RTF^Base64^e1xydGY=", "^^HTML^A^<html>"])
def test_what_can_be_no_ecg_is_passed_over(five):
    """An empty OBX-5, a letter in RTF or HTML beside the ECG are not errors."""
    assert attachment_from(one_obx(five)) is None


def test_a_message_without_an_ecg_is_wrong_content():
    """A laboratory result that was routed here is not silently swallowed."""
    with pytest.raises(WrongContent, match="no OBX of type ED"):
        ecgs(wire(msh(), pid(), "OBR|1", "OBX|1|NM|718-7||13.2|g/dL"))


def test_each_ecg_belongs_to_the_patient_and_order_before_it():
    """One message with two patients: none gets the other's ECG or order."""
    raw = wire(
        msh(),
        pid("P1"),
        "ORC|RE|PL1",
        "OBR|1||FI1||||20260101100000",
        obx(PDF, "PDF"),
        "OBR|2|PL2|FI2||||20260101101500",
        obx(PDF, "PDF"),
        pid("P2"),
        obx(PNG),
    )
    first, second, third = ecgs(raw)
    assert [ecg.patient.id for ecg in (first, second, third)] == ["P1", "P1", "P2"]
    assert [ecg.order for ecg in (first, second, third)] == [
        Order("PL1", "FI1"),
        Order("PL2", "FI2"),
        Order(),
    ]
    assert [ecg.identity[-1] for ecg in (first, second, third)] == ["1", "2", "3"]
    assert first.acquired_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert third.acquired_at is None


def test_the_medical_record_number_is_preferred():
    """PID-3 lists several identifiers; `MR` counts, else the first; 2.1 senders use PID-2."""

    def number(line):
        return patient_from(read(wire(msh(), line)).first("PID")).id

    assert number("PID|1||A^^^X^AN~B^^^Y^MR~C") == "B"
    assert number("PID|1||~C^^^Z") == "C"
    assert number("PID|1|OLD") == "OLD"
    assert number('PID|1||""') == ""


@pytest.mark.parametrize(
    ("sent", "date", "sex"),
    [("19500102|||M", "", ""), ("|195001|M", "", "M"), ("|19500102103000|a", "19500102", "O")],
)
def test_odd_demographics_stay_empty(sent, date, sex):
    """A birth date that is no full date and a sex outside table 0001 are not passed on."""
    patient = patient_from(read(wire(msh(), f"PID|1||P1||DOE|{sent}")).first("PID"))
    assert (patient.birth_date, patient.sex) == (date, sex)


@pytest.mark.parametrize(
    ("sent", "shown", "others"),
    [
        ("王^小明^^^^^L^I~WANG^XIAOMING^M^^^^L^A", ("王", "小明", ""), [("WANG", "XIAOMING", "M")]),
        ("DOE^JANE~ROE^JANE^^^^^M", ("DOE", "JANE", ""), [("ROE", "JANE", "")]),
        ("DOE^JANE~^JANNY^^^^^N", ("DOE", "JANE", ""), []),
        ('""~王&&王^小明', ("王", "小明", ""), []),
        ("", ("", "", ""), []),
    ],
)
def test_every_name_in_pid_5_is_kept(sent, shown, others):
    """The first that is filled in is shown, others are compared; a nickname alone is no name."""
    patient = patient_from(read(wire(msh(), f"PID|1||P1||{sent}")).first("PID"))
    assert (patient.family, patient.given, patient.middle) == shown
    assert patient.also_named == tuple(Name(*name) for name in others)


def test_an_admission_says_who_is_where_since_when():
    """PV1-2, -3, -7 and -19; the time is that of the event."""
    admission = admission_from(read(adt()), at_noon)
    assert admission.patient.id == "P100"
    assert admission.encounter == Encounter("V9", "E", "ED^12^A", "77^HOUSE^GREGORY")
    assert admission.at == datetime(2026, 1, 1, 11, tzinfo=UTC)


def test_an_admission_without_event_time_takes_the_next_best():
    """EVN-6, EVN-2, MSH-7, and at last the clock."""
    late = read(wire(msh("ADT^A01"), "EVN|A01|20260101110000+0000||||20260101103000+0000", pid()))
    assert admission_from(late, at_noon).at == datetime(2026, 1, 1, 10, 30, tzinfo=UTC)
    assert admission_from(read(wire(msh("ADT^A01"), pid())), at_noon).at == at_noon()


def test_an_admission_of_nobody_is_wrong_content():
    """Without PID-3 there is nothing to find it by."""
    with pytest.raises(WrongContent, match="PID-3"):
        admission_from(read(wire(msh("ADT^A01"), "PID|1||", "PV1|1|E")), at_noon)


def test_locations_are_plain_text_whatever_the_delimiters():
    """PV1-3 is kept joined by `^`, escapes undone."""
    raw = b"MSH#@%*!#A#B#C#D#2026##ADT@A01#1#P#2.5\rPV1#1#I#CCU@*F*7@B\r"
    assert encounter_from(read(raw).first("PV1")).location == "CCU^#7^B"


@pytest.mark.parametrize(
    ("head", "code", "condition"),
    [
        ({"control_id": ""}, "AE", 101),
        ({"version": "3.0"}, "AR", 203),
        ({"version": ""}, "AR", 203),
        ({"processing": "X"}, "AR", 202),
        ({"processing": ""}, "AR", 202),
        ({"kind": "SIU^S12"}, "AR", 200),
        ({"kind": "ORU^R30"}, "AR", 201),
        ({"kind": "ADT^A05"}, "AR", 201),
    ],
)
def test_what_the_head_rules_out_is_refused_with_its_code(head, code, condition):
    """MSH-9, -11 and -12 that we cannot take are AR; a missing MSH-10 is AE."""
    verdict = objection(read_head(wire(msh(**head))))
    assert (verdict.code, verdict.condition) == (code, condition)


@pytest.mark.parametrize(
    "version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"]
)
@pytest.mark.parametrize("kind", ["ORU^R01", "ORU^R01^ORU_R01", "ADT^A01", "ADT^A04", "ADT^A08"])
def test_versions_and_types_that_we_take(version, kind):
    """2.1 to 2.8, ORU^R01 and three kinds of ADT; MSH-12 may have components (VID)."""
    assert objection(read_head(wire(msh(kind, version=version)))) is None
    assert objection(read_head(wire(msh(kind, version=f"{version}^USA")))) is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20260102030405", datetime(2026, 1, 2, 3, 4, 5)),
        ("2026010203", datetime(2026, 1, 2, 3)),
        ("20260102030405.1234+0130", None),
        ("20260102030405.12-0500", None),
    ],
)
def test_times_are_read_with_their_precision(text, time):
    """Naive without a zone, aware with one."""
    if time is None:
        hours = timedelta(hours=1.5) if "+" in text else timedelta(hours=-5)
        micro = 123400 if "+" in text else 120000
        time = datetime(2026, 1, 2, 3, 4, 5, micro, timezone(hours))
    assert parse_time(text) == time
    assert parse_time(text).utcoffset() == time.utcoffset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20260102",
        "2026",
        "20261302030405",
        "now",
        "20260102030405Z",
        "00010101000000",
        "00010101000000+0100",
        "99991231235959-1200",
    ],
)
def test_what_is_no_time_is_none(text):
    """A date alone is no time of acquisition (the ECG may be hours old), nor is a filler."""
    assert parse_time(text) is None
