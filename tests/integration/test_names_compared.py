"""Whose ECG it is, from the bytes of cart and ADT in their own character sets to what is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.dicom import as_file, waveform
from support.hl7 import inbox_on, msh, wire
from support.scorers import FakeScorer, Scored

from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite
from gateway.dicom.arrival import from_file
from gateway.ecg import Source, State
from gateway.hl7.oru import Sender
from gateway.policy import Mode
from gateway.scoring import NAME_NOT_COMPARED, Terms, score_one
from gateway.store import EcgRow, Store

NOW = datetime.now(UTC)
BORN = "19510204"
EHR = Destination("ehr", "127.0.0.1", 1)
LIVE = ResultSite(1, Mode.LIVE, Sender("ECG-GATEWAY", "HOSPITAL"), (EHR,), 3600.0)
POSITIVE = Scored(probability=0.9, validated=True)
WANG, CHINESE = "Wang^XiaoMing", "王^小明^^^^^L^I"
BOTH = f"{CHINESE}~WANG^XIAO-MING^^^^^L^A"
IN_UTF_8 = ("UNICODE UTF-8", "utf-8")


def admit(store: Store, name: str, charset: tuple[str, str] = IN_UTF_8, born: str = BORN) -> None:
    """Let ADT tell of the patient, in a character set of HL7 table 0211 and its codec."""
    told, codec = charset
    pid = f"PID|1||P-0815^^^HOSP^MR||{name}||{born}|M"
    message = wire(msh("ADT^A01", "A1", charset=told), "EVN|A01|20260101", pid, "PV1|1|E|ED")
    assert inbox_on(store).handle(message.decode().encode(codec), "127.0.0.1").code == "AA"


def scored(
    store: Store,
    name: str,
    charset: str = "ISO_IR 192",
    answer: Scored | Exception = POSITIVE,
) -> EcgRow:
    """Score an ECG, positive if not said otherwise, whose DICOM header names the patient so."""
    data_set = waveform(samples=4)
    data_set.SpecificCharacterSet = charset.split("\\")
    data_set.AcquisitionDateTime = NOW.strftime("%Y%m%d%H%M%S+0000")
    data_set.PatientName = name
    arrival = from_file(as_file(data_set), Source("dicom", "CART1"))
    ecg_id = store.ecgs.add(arrival, store.blobs.put(arrival.content)).ecg_id
    score_one(
        ecg_id,
        store=store,
        scorer=FakeScorer(answer),
        site=Terms(LIVE, validated=True),
        owner="w",
        lease_s=60,
        max_attempts=1,
        now=lambda: NOW,
    )
    return store.ecgs.get(ecg_id)


def alerts(store: Store, row: EcgRow) -> list[bytes]:
    told = store.deliveries.of_ecg(row.id)
    return [store.blobs.get(delivery.payload) for delivery in told if delivery.alert]


def compared(store: Store, row: EcgRow) -> list[str]:
    """Give what the timeline says of the comparison."""
    return [event.detail for event in store.ecgs.events(row.id) if event.what == "patient compared"]


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (IN_UTF_8, CHINESE),
        (("BIG-5", "big5"), CHINESE),
        (("BIG-5", "big5"), "許^功蓋"),
        (("GB 18030-2000", "gb18030"), CHINESE),
        (("KS X 1001", "euc_kr"), "왕^소명"),
        (("8859/5", "iso8859_5"), "Ван^Сяомин"),
    ],
)
def test_a_romanised_name_is_vouched_for_by_the_birth_date(store: Store, charset, name):
    """ADT writes another script: the alert goes out, as the cart names the patient."""
    admit(store, name, charset)
    row = scored(store, WANG)
    assert (row.state, row.reason) == (State.SCORED, "")
    (alert,) = alerts(store, row)
    assert b"|P-0815^^^HOSP^PI||Wang^XiaoMing||19510204|M\r" in alert
    assert compared(store, row) == [NAME_NOT_COMPARED]


@pytest.mark.parametrize(
    ("born", "reason"),
    [("19510205", "patient-mismatch-birth-date"), ("", "patient-mismatch-family")],
)
def test_without_that_nobody_is_told(store: Store, born: str, reason: str):
    """Another birth date, or none: neither name nor date says that it is the same patient."""
    admit(store, CHINESE, born=born)
    row = scored(store, WANG)
    assert (row.state, row.reason) == (State.QUARANTINED, reason)
    assert alerts(store, row) == []
    assert compared(store, row) == [NAME_NOT_COMPARED]


def test_it_is_also_said_of_an_ecg_that_is_given_up(store: Store):
    """A failure is told in the patient's name as well."""
    admit(store, CHINESE)
    row = scored(store, WANG, answer=RuntimeError())
    assert row.state is State.FAILED
    assert compared(store, row) == [NAME_NOT_COMPARED]


@pytest.mark.parametrize(
    ("charset", "header", "adt"),
    [
        ("ISO_IR 192", "Wang^XiaoMing=王^小明", CHINESE),
        ("GB18030", "Wang^XiaoMing=王^小明", CHINESE),
        ("ISO_IR 192", WANG, BOTH),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう", "ﾔﾏﾀﾞ^ﾀﾛｳ^^^^^L^P"),
        ("ISO_IR 101", "Żółć^Łukasz", "ZOLC^LUKASZ"),
    ],
)
def test_a_script_in_common_is_compared(store: Store, charset: str, header: str, adt: str):
    """Any component group with any repetition; the birth date need not be known."""
    admit(store, adt, born="")
    row = scored(store, header, charset)
    assert row.state is State.SCORED
    assert len(alerts(store, row)) == 1
    assert compared(store, row) == []


@pytest.mark.parametrize(
    ("header", "adt"),
    [("Wang^XiaoMing=王^小華", CHINESE), ("Li^XiaoMing", BOTH), ("Wang^DaHua", BOTH)],
)
def test_a_script_in_common_that_differs_is_another_patient(store: Store, header: str, adt: str):
    """The same birth date does not make up for another name."""
    admit(store, adt)
    row = scored(store, header)
    assert (row.state, row.reason[:17]) == (State.QUARANTINED, "patient-mismatch-")
    assert alerts(store, row) == []
