"""ORU^R01 read back with our own reader: hl7apy builds it, it does not vouch for it."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import hl7
import pytest
from hl7apy.parser import parse_segment
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ehr import SCORE

from gateway.ecg import Encounter, Order, Patient
from gateway.hl7 import layout, oru
from gateway.hl7.oru import Receiver, Report, Sender, build, control_id
from gateway.hl7.reading import read
from gateway.hl7.writing import timestamp

VERSIONS = ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"]
REPORT = Report(
    control_id="EG0123456789ABCDEF01",
    filler="0190abcd",
    sender=Sender("ECG-GATEWAY", "HOSPITAL"),
    receiver=Receiver("EHR", "WARDS"),
    made_at=datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC),
    live=False,
    notice="alert",
    patient=Patient("4711", "HOSP&1.2.3&ISO", "MR", "Müller", "Änne", "Q", "19500102", "F"),
    encounter=Encounter("V99", "E", "ED^12^1", "77^Curie^Marie"),
    order=Order(placer="PL1", accession="ACC9"),
    acquired_at=datetime(2026, 3, 1, 12, 58, tzinfo=timezone(timedelta(hours=1))),
    score=SCORE,
    policy_version=12,
    study_uid="1.2.840.1",
    sop_uid="1.2.840.1.2",
)


def observed(message):
    return {obx.get("3.1"): obx for obx in message.all("OBX")}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_is_at_its_position(version):
    """MSH, PID, PV1, ORC, OBR hold what they must, in each version a destination may ask for."""
    message = read(build(replace(REPORT, receiver=Receiver("EHR", "WARDS", version))))
    expected = {
        "MSH-3": "ECG-GATEWAY",
        "MSH-4": "HOSPITAL",
        "MSH-5": "EHR",
        "MSH-6": "WARDS",
        "MSH-7": "20260301120005+0000",
        "MSH-9.1": "ORU",
        "MSH-9.2": "R01",
        "MSH-9.3": "" if version == "2.3" else "ORU_R01",
        "MSH-10": "EG0123456789ABCDEF01",
        "MSH-11": "T",
        "MSH-12": version,
        "MSH-18": "UNICODE UTF-8",
        "PID-3.1": "4711",
        "PID-3.4.1": "HOSP",
        "PID-3.4.2": "1.2.3",
        "PID-3.5": "MR",
        "PID-5.1": "Müller",
        "PID-5.2": "Änne",
        "PID-5.3": "Q",
        "PID-7": "19500102",
        "PID-8": "F",
        "PV1-2": "E",
        "PV1-3.1": "ED",
        "PV1-3.2": "12",
        "PV1-7.2": "Curie",
        "PV1-19": "V99",
        "ORC-1": "RE",
        "OBR-2": "PL1",
        "OBR-3.1": "0190abcd",
        "OBR-3.2": "ECG-GATEWAY",
        "OBR-4.1": "11524-6",
        "OBR-4.2": "EKG study",
        "OBR-4.3": "LN",
        "OBR-7": "20260301125800+0100",
        "OBR-18": "ACC9",
        "OBR-22": "20260301120005+0000",
        "OBR-25": "F",
    }
    assert {path: message.get(path) for path in expected} == expected
    order = [segment.name for segment in message.segments]
    assert order[:6] == ["MSH", "PID", "PV1", "ORC", "OBR", "NTE"]
    assert set(order[6:]) <= {"OBX", "PRT"}


@pytest.mark.parametrize("version", VERSIONS)
def test_renaming_the_patient_changes_the_identifier_and_nothing_else(version):
    """The same bytes as a message that was built for the other identifier."""
    report = replace(REPORT, receiver=Receiver("EHR", "WARDS", version))
    other = replace(REPORT.patient, id="M|9", id_authority="NORTH&9.9&ISO", id_type="")
    anew = oru.renamed(build(report), other)
    assert anew == build(replace(report, patient=other))
    assert oru.renamed(anew, other) == anew
    assert oru.renamed(anew, REPORT.patient) == build(report)


@pytest.mark.parametrize("version", VERSIONS)
def test_score_and_category_name_the_device_that_made_them(version):
    """The bundle, in OBX-18 where the version has it, in PRT from 2.7 on; none without a score."""
    receiver = Receiver("EHR", "WARDS", version)
    device = f"{'ab' * 32}^99ECGAI"
    text = build(replace(REPORT, receiver=receiver)).decode()
    lines = [line.split("|") for line in text.split("\r") if line.startswith(("OBX", "PRT"))]
    made = [line for line in lines if device in line]
    if version in {"2.3", "2.3.1"}:
        assert made == []
    elif version in {"2.7", "2.8"}:
        assert [(line[0], line[2], line[4].split("^")[0], line[10]) for line in made] == [
            ("PRT", "AD", "EQUIP", device)
        ] * 2
        assert [line[0] for line in lines[:5]] == ["OBX", "PRT", "OBX", "PRT", "OBX"]
    else:
        assert [line[3].split("^")[0] for line in made] == ["ECGAI-SCORE", "ECGAI-CATEGORY"]
        assert all(line[18] == device for line in made)
    silent = build(replace(REPORT, receiver=receiver, score=None, reason="blank")).decode()
    assert "PRT" not in silent
    assert "ab" * 32 not in silent


def test_the_score_has_unit_range_and_flag():
    """NM, unit 1, the threshold as upper limit of the normal range, H above it and N below."""
    high = observed(read(build(REPORT)))["ECGAI-SCORE"]
    assert [high.get(str(n)) for n in (2, 4, 5, 6, 7, 8, 11)] == [
        "NM", "1", "0.910000", "1", "<0.57", "H", "F",
    ]  # fmt: skip
    assert high.get("14") == "20260301125800+0100"
    low = replace(REPORT, notice="file", score=replace(SCORE, probability=0.2, positive=False))
    assert observed(read(build(low)))["ECGAI-SCORE"].get("8") == "N"


def test_category_notice_and_provenance_are_observations():
    """What was found, what to do, and which model and policy said so."""
    seen = observed(read(build(REPORT)))
    assert (seen["ECGAI-CATEGORY"].get("2"), seen["ECGAI-CATEGORY"].get("5.1")) == (
        "CWE",
        "positive",
    )
    assert seen["ECGAI-NOTICE"].get("5.1") == "alert"
    assert seen["ECGAI-MODEL"].get("5") == "EIANet"
    assert seen["ECGAI-VERSION"].get("5") == "0.1.0"
    assert seen["ECGAI-BUNDLE"].get("5") == "ab" * 32
    assert seen["ECGAI-POLICY"].get("5") == "12"
    assert seen["113014"].get("5") == "1.2.840.1"
    assert seen["ECGAI-SOP"].get("5") == "1.2.840.1.2"


def test_unscorable_has_a_reason_and_neither_score_nor_negative():
    """Unscorable is not negative: the score is `X` and empty, and the reason is its own OBX."""
    seen = observed(read(build(replace(REPORT, notice="file", score=None, reason="no-grid: none"))))
    assert [seen["ECGAI-SCORE"].get(str(n)) for n in (2, 5, 6, 7, 8, 11)] == [
        "NM", "", "1", "", "", "X",
    ]  # fmt: skip
    assert seen["ECGAI-UNSCORABLE"].get("11") == "F"
    assert seen["ECGAI-UNSCORABLE"].get("5") == "no-grid: none"
    assert seen["ECGAI-CATEGORY"].get("5.1") == "unscorable"
    assert not any(obx.get("8") for obx in seen.values())


PDF = b"%PDF-1.4\n" + bytes(range(256)) * 8


@pytest.mark.parametrize("version", VERSIONS)
def test_the_result_pdf_is_encapsulated_in_the_last_obx(version):
    """hl7apy and python-hl7 find one ED, each of the other OBX as before, and the same bytes."""
    receiver = Receiver("EHR", "WARDS", version)
    plain = build(replace(REPORT, receiver=receiver))
    data = build(replace(REPORT, receiver=receiver, pdf=PDF))
    assert data.startswith(plain)
    segment = parse_segment(data[len(plain) :].decode().rstrip("\r"), version=version)
    segment.validate()
    assert segment.obx_2.to_er7() == "ED"
    *head, content = [part.to_er7() for part in segment.obx_5.children]
    assert head == ["", "application", "pdf", "Base64"]
    assert base64.b64decode(content, validate=True) == PDF
    last = hl7.parse(data.decode())["OBX"][-1]
    assert base64.b64decode(str(last[5][0][4]), validate=True) == PDF
    message = read(data)
    number = len(message.all("OBX"))
    obx = message.all("OBX")[-1]
    assert [obx.get(path) for path in ("1", "2", "3.1", "3.3", "4", "5.1", "11")] == [
        str(number), "ED", "ECGAI-PDF", "99ECGAI", "1", "", "F",
    ]  # fmt: skip
    assert obx.get("14") == "20260301125800+0100"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_link_is_a_reference_pointer(version):
    """RP: the address, escaped, our name, and what is there."""
    url = "https://ecg.example/x/ecgs/0190abcd/result.pdf?a=1&b=2"
    report = replace(REPORT, receiver=Receiver("EHR", "WARDS", version), pdf_url=url)
    text = build(report).decode().rstrip("\r").split("\r")[-1]
    assert "?a=1\\T\\b=2^ECG-GATEWAY^application^pdf" in text
    segment = parse_segment(text, version=version)
    segment.validate()
    assert segment.obx_2.to_er7() == "RP"
    assert [part.to_er7() for part in segment.obx_5.children][1:] == [
        "ECG-GATEWAY", "application", "pdf",
    ]  # fmt: skip
    obx = read(build(report)).all("OBX")[-1]
    assert [obx.get(path) for path in ("2", "3.1", "5.1", "5.2", "5.3", "5.4")] == [
        "RP", "ECGAI-PDF", url, "ECG-GATEWAY", "application", "pdf",
    ]  # fmt: skip


def test_a_report_without_score_and_reason_is_refused():
    """Silence about an ECG cannot be built."""
    with pytest.raises(ValueError, match="needs a reason"):
        build(replace(REPORT, score=None))


def test_research_software_says_so_and_only_a_live_result_is_p():
    """MSH-11 and the NTE tell whether the model is validated at this site."""
    trial = read(build(REPORT))
    assert "not validated" in trial.get("NTE-3")
    live = read(build(replace(REPORT, live=True)))
    assert live.get("MSH-11") == "P"
    assert "not validated" not in live.get("NTE-3")


def test_no_encounter_no_pv1_and_no_identifier_no_pid_3():
    """What is unknown is left out, not invented."""
    message = read(build(replace(REPORT, encounter=None, patient=Patient(), acquired_at=None)))
    assert message.first("PV1") is None
    assert message.get("PID-3") == ""
    assert message.get("OBR-7") == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_no_version_declares_truncation(version):
    """A value that ends in `#` is whole: no fifth character in MSH-2 says that it was cut."""
    message = build(replace(REPORT, receiver=replace(REPORT.receiver, version=version)))
    assert message.startswith(b"MSH|^~\\&|")


def test_a_time_without_zone_gets_none():
    """A naive acquisition time is passed on as it is known."""
    assert timestamp(datetime(2026, 3, 1, 9, 5, 7)) == "20260301090507"


def test_the_same_report_gives_the_same_bytes():
    """Nothing is drawn at random or read from a clock."""
    assert build(REPORT) == build(REPORT)


def test_control_ids_are_stable_short_and_distinct():
    """MSH-10 is derived from ECG, destination and kind, and fits in 20 characters."""
    one = control_id("a", "ehr", "alert")
    assert one == control_id("a", "ehr", "alert")
    others = {control_id("b", "ehr", "alert"), control_id("a", "x", "alert")}
    assert one not in others | {control_id("a", "ehr", "result")}
    assert len(one) == 20


NASTY = st.text(
    st.one_of(st.sampled_from("|^~\\&#{}EFSTRHNX.\r\n\x0b\x1c\t "), st.characters(codec="utf-8")),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(family=NASTY, given_name=NASTY, number=NASTY, version=st.sampled_from(VERSIONS))
def test_no_text_can_start_a_field_or_a_segment(family, given_name, number, version):
    """Names come back as they went in, control characters as blanks, nothing else moves."""
    patient = Patient(id=number, family=family, given=given_name)
    plain = replace(REPORT, receiver=Receiver("EHR", "W", version))
    data = build(replace(plain, patient=patient))
    assert b"\x0b" not in data
    assert b"\x1c" not in data
    message = read(data)
    assert len(message.segments) == len(read(build(plain)).segments)
    assert message.get("PID-5.1.1") == cleaned(family)
    assert message.get("PID-5.2") == cleaned(given_name)
    assert message.get("PID-3.1") == cleaned(number)
    assert message.get("PID-8") == ""
    assert message.get("OBR-25") == "F"


@settings(deadline=None, max_examples=40)
@given(
    texts=st.lists(NASTY, min_size=12, max_size=12),
    version=st.sampled_from(VERSIONS),
    scored=st.booleans(),
    visiting=st.booleans(),
)
def test_a_layout_filled_is_what_hl7apy_makes_of_the_values(texts, version, scored, visiting):
    """Byte for byte, whichever fields are known and whatever they say, braces among it."""
    report = replace(
        REPORT,
        receiver=Receiver("EHR{}", texts[0], version),
        patient=Patient(*texts[1:6]),
        encounter=Encounter(*texts[6:10]) if visiting else None,
        order=Order(placer=texts[10], accession=texts[11]),
        score=SCORE if scored else None,
        reason="" if scored else f"no-grid: {texts[0]}",
        study_uid="1.2" if visiting else "",
        pdf=PDF if scored else b"",
        pdf_url="https://a/b&c" if visiting else "",
    )
    by_hl7apy = layout.lay_out(version, oru._segments(report))
    # From 2.7 on it escapes a truncation character, which our MSH-2 does not declare.
    assert build(report) == by_hl7apy.replace("\\L\\", "#").encode()


def cleaned(text):
    return "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else " " for c in text).strip()
