"""DICOM bytes become an arrival: header read, content untouched, damage noticed."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless
from support.dicom import as_file, encoded, header, picture, waveform

from gateway.dicom import arrival, contexts, part10
from gateway.dicom.header import parse_date_time
from gateway.ecg import Arrival, MediaType, Name, Source
from gateway.errors import BadInput, NotUnderstood, WrongContent

SOURCE = Source("dicom", "CART1", "192.0.2.1")
SYNTAXES = [contexts.EXPLICIT_LE, contexts.IMPLICIT_LE, contexts.DEFLATED_LE]


FIXED = waveform(samples=4)


def arrive(data_set: Dataset, transfer_syntax: str = contexts.EXPLICIT_LE, **more) -> Arrival:
    raw = more.pop("raw", None)
    return arrival.from_store(
        encoded(data_set, transfer_syntax) if raw is None else raw,
        sop_class=more.pop("sop_class", str(data_set.SOPClassUID)),
        sop_uid=more.pop("sop_uid", str(data_set.SOPInstanceUID)),
        transfer_syntax=transfer_syntax,
        source=SOURCE,
        **more,
    )


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_header_becomes_patient_order_and_time(syntax):
    """Every transfer syntax of a waveform gives the same values."""
    data_set = waveform()
    found = arrive(data_set, syntax)
    assert found.identity == f"dicom:{data_set.SOPInstanceUID}"
    assert found.media_type is MediaType.DICOM
    assert (found.patient.family, found.patient.given) == ("Müller", "Jürgen")
    assert (found.patient.middle, found.patient.id) == ("K", "P-0815")
    assert (found.patient.id_authority, found.patient.sex) == ("HOSP", "M")
    assert found.patient.birth_date == "19510204"
    assert found.order.accession == "ACC-1"
    zone = timezone(timedelta(hours=1))
    assert found.acquired_at == datetime(2024, 2, 29, 10, 30, 15, 250000, zone)
    assert found.study_uid == data_set.StudyInstanceUID
    assert found.sop_class == contexts.TWELVE_LEAD_ECG


def test_control_characters_in_the_header_are_marked_and_padding_is_not():
    """A NUL inside a value cannot be stored as text; dropped, it could make another patient's."""
    data_set = waveform()
    data_set.PatientID = "P-08\x0015\x00"
    data_set.PatientName = "M\x00ller^J\x07rgen"
    found = arrive(data_set).patient
    assert (found.id, found.family, found.given) == ("P-08\ufffd15", "M\ufffdller", "J\ufffdrgen")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_content_is_a_file_around_the_bytes_as_received(syntax):
    """The file is one for pydicom, and the data set part is what the cart sent, bit by bit."""
    data_set = waveform()
    raw = encoded(data_set, syntax)
    content = arrive(data_set, syntax, raw=raw).content
    assert content.endswith(raw)
    assert part10.split(content).data_set == raw
    read = dcmread(DicomBytesIO(content))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read == data_set


def test_the_same_object_again_has_the_same_bytes():
    """Nothing of the moment or the sender is in the kept file."""
    data_set = waveform()
    raw = encoded(data_set)
    first = arrive(data_set, raw=raw)
    second = arrival.from_store(
        raw,
        sop_class=contexts.TWELVE_LEAD_ECG,
        sop_uid=str(data_set.SOPInstanceUID),
        transfer_syntax=contexts.EXPLICIT_LE,
        source=Source("dicom", "OTHER", "192.0.2.9"),
    )
    assert first.content == second.content


def test_the_real_recording_of_pydicoms_wheel_arrives():
    """A Mortara 12-lead with hundreds of nested elements of undefined length."""
    content = Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()
    found = arrival.from_file(content, SOURCE)
    assert found.content is content
    assert found.patient.id == "642341"
    assert found.acquired_at == datetime(2013, 1, 25, 10, 59, 19)


def test_a_compressed_picture_arrives():
    """Encapsulated pixels are walked over, not decoded."""
    data_set = picture()
    as_file(data_set)
    data_set.compress(RLELossless, generate_instance_uid=False)
    found = arrive(data_set, str(RLELossless))
    assert found.sop_class == contexts.SECONDARY_CAPTURE


@pytest.mark.parametrize(
    ("terms", "raw", "family", "given"),
    [
        ("ISO_IR 192", "Γιώργος^Αλέξανδρος".encode(), "Γιώργος", "Αλέξανδρος"),
        ("ISO_IR 100", "Buc^Jérôme".encode("latin-1"), "Buc", "Jérôme"),
        ("ISO_IR 144", "Люкceмдy".encode("iso8859_5"), "Люкceмдy", ""),
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            "Yamada",
            "Tarou",
        ),
        ("\\ISO 2022 IR 87", b"=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田", "太郎"),
        ("\\ISO 2022 IR 149", b"=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "洪", "吉洞"),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", b"M\xfcller^\x1b-F\xc4", "Müller", "Δ"),
        ("GB18030", "王^小东".encode("gb18030"), "王", "小东"),
        ("ISO_IR 999", b"M\xfcller^J", "M�ller", "J"),
        ("", b"M\xfcller^J", "M�ller", "J"),
        ("ISO_IR 192", b"M\xfcller^J", "M�ller", "J"),
    ],
)
def test_names_survive_in_every_character_set(terms, raw, family, given):
    """ISO_IR 100, 192 and the ISO 2022 forms; what cannot be read shows as unreadable."""
    found = arrive_named(terms, raw)
    assert (found.patient.family, found.patient.given) == (family, given)


@pytest.mark.parametrize(
    ("terms", "raw", "others"),
    [
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            [("山田", "太郎"), ("やまだ", "たろう")],
        ),
        (
            "\\ISO 2022 IR 149",
            (
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="
                b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
            ),
            [("洪", "吉洞"), ("홍", "길동")],
        ),
        ("GB18030", "Wang^XiaoDong=王^小东=".encode("gb18030"), [("王", "小东")]),
        ("ISO_IR 192", "Wang^XiaoDong^=王^小東^=ㄨㄤˊ".encode(), [("王", "小東"), ("ㄨㄤˊ", "")]),
        ("ISO_IR 192", "^^^Dr=王^小東=^小東".encode(), []),
        ("ISO_IR 100", b"Buc^J=Adams^J=Baker^J=Clark^J", [("Adams", "J"), ("Baker", "J")]),
    ],
)
def test_every_component_group_of_a_name_is_kept(terms, raw, others):
    """The examples of PS3.5 annexes H, I and J: alphabetic, ideographic and phonetic."""
    found = arrive_named(terms, raw)
    assert found.patient.also_named == tuple(Name(*name) for name in others)


def arrive_named(terms: str, raw: bytes) -> Arrival:
    """Let an ECG arrive whose Specific Character Set and Patient's Name are these bytes."""
    data_set = header()
    del data_set.SpecificCharacterSet
    del data_set.PatientName
    plain = encoded(data_set)
    value = terms.encode() + b" " * (len(terms) % 2)
    raw += b" " * (len(raw) % 2)
    charset = b"\x08\0\x05\0CS" + len(value).to_bytes(2, "little") + value
    name = b"\x10\0\x10\0PN" + len(raw).to_bytes(2, "little") + raw
    cut = plain.index(b"\x10\0\x20\0LO")
    return arrive(data_set, raw=charset + plain[:cut] + name + plain[cut:])


def test_order_numbers_are_also_found_in_the_request_sequence():
    """Request Attributes Sequence counts where the top level says nothing."""
    data_set = header()
    del data_set.AccessionNumber
    item = Dataset()
    item.AccessionNumber = "ACC-2"
    item.PlacerOrderNumberImagingServiceRequest = "PL-7"
    data_set.RequestAttributesSequence = Sequence([item])
    qualifiers = Dataset()
    qualifiers.IdentifierTypeCode = "MR"
    data_set.IssuerOfPatientIDQualifiersSequence = Sequence([qualifiers])
    found = arrive(data_set)
    assert (found.order.accession, found.order.placer) == ("ACC-2", "PL-7")
    assert found.patient.id_type == "MR"


def test_a_header_with_nothing_in_it_is_still_taken():
    """IOD strictness never rejects: unknown stays empty."""
    data_set = Dataset()
    data_set.SOPClassUID = contexts.TWELVE_LEAD_ECG
    data_set.SOPInstanceUID = "1.2.3"
    found = arrive(data_set)
    assert found.patient.id == found.study_uid == ""
    assert found.acquired_at is None


@pytest.mark.parametrize("field", ["sop_class", "sop_uid"])
def test_a_data_set_of_another_class_or_instance_is_wrong_content(field):
    """The request and the data set must name the same object (A900)."""
    with pytest.raises(WrongContent):
        arrive(waveform(), **{field: "1.2.840.10008.5.1.4.1.1.9.1.2"})


@pytest.mark.parametrize("uid", ["", "1" * 65, "1.2/../3", "\uff11.2"])
def test_an_instance_uid_that_is_none_is_not_understood(uid):
    """It would become an identity and part of messages."""
    with pytest.raises(NotUnderstood):
        arrive(waveform(), sop_uid=uid)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_truncated_object_is_not_understood(syntax):
    """Wherever inside its waveform it was cut."""
    data_set = waveform()
    raw = encoded(data_set, syntax)
    for keep in (0, 1, 7, len(raw) // 2, len(raw) - 3):
        with pytest.raises(NotUnderstood):
            arrive(data_set, syntax, raw=raw[:keep])


def test_an_empty_data_set_is_not_understood():
    """Zero bytes are no object."""
    with pytest.raises(NotUnderstood):
        arrival.from_store(
            b"", sop_class="1.2", sop_uid="1.2", transfer_syntax="1.2", source=SOURCE
        )


def test_a_deflate_bomb_is_stopped_at_the_limit():
    """A small stream may not become a large object in memory."""
    data_set = waveform(samples=200_000)
    assert len(encoded(data_set, contexts.DEFLATED_LE)) < 50_000
    with pytest.raises(BadInput):
        arrive(data_set, contexts.DEFLATED_LE, max_bytes=1_000_000)


def test_endless_nesting_is_refused():
    """No recursion, no crash: deeper than any real object is damage."""
    opened = b"\0\x54\0\x01SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    with pytest.raises(NotUnderstood):
        arrive(waveform(), raw=opened * 10_000)


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(SYNTAXES))
def test_garbage_is_refused_and_nothing_else_happens(raw, syntax):
    """Any bytes give a BadInput error, never another one."""
    with pytest.raises(BadInput):
        arrive(header(), syntax, raw=raw)


@settings(max_examples=200)
@given(st.data())
def test_a_flipped_byte_is_read_or_refused(data):
    """Damage anywhere in a real object never raises anything but BadInput."""
    raw = bytearray(encoded(FIXED))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        arrive(FIXED, raw=bytes(raw))
    except BadInput:
        return


@pytest.mark.parametrize("content", [b"", b"x" * 500, b"\0" * 128 + b"DICM" + b"x" * 100])
def test_what_is_no_dicom_file_is_not_understood(content):
    """No prefix, or damaged meta information."""
    with pytest.raises(NotUnderstood):
        arrival.from_file(content, SOURCE)


def test_a_file_of_another_class_is_wrong_content():
    """A CT image in a folder is no ECG."""
    with pytest.raises(WrongContent):
        arrival.from_file(as_file(header("1.2.840.10008.5.1.4.1.1.2")), SOURCE)


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        ("20240102030405", "", datetime(2024, 1, 2, 3, 4, 5)),
        ("202401020304", "", datetime(2024, 1, 2, 3, 4)),
        ("20240102030405.5", "+0000", datetime(2024, 1, 2, 3, 4, 5, 500000, UTC)),
        ("20240102030405-0530", "", datetime(2024, 1, 2, 8, 34, 5).replace(tzinfo=UTC)),
        ("20240102", "", None),
        ("20241302030405", "", None),
        ("", "+0100", None),
        ("garbage", "", None),
        ("00010101000000", "", None),
        ("99991231235959", "-1200", None),
        ("20240102030405", "+99", None),
        ("²0240102030405", "", None),
    ],
)
def test_dates_and_times(text, offset, expected):
    """VR DT with and without zone; a bare date is not midnight, a filler is no time."""
    assert parse_date_time(text, offset) == expected


@pytest.mark.shared
def test_every_vendors_recording_arrives(shared):
    """Real files of several makers are taken, one with a UID that is none by the letter too."""
    files = sorted((shared / "vendor" / "dicom").rglob("*.dcm"))
    assert files
    for file in files:
        content = file.read_bytes()
        found = arrival.from_file(content, SOURCE)
        assert found.sop_class in contexts.WAVEFORMS, file.name
        assert found.sop_uid == part10.split(content).sop_uid
