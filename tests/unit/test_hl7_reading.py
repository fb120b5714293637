"""HL7 v2 text read into values."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hl7 import msh, wire

from gateway.errors import NotUnderstood
from gateway.hl7.delimiters import STANDARD, Delimiters
from gateway.hl7.reading import Message, read

PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
MARKS = st.permutations("|^~\\&!@$%*+/:;?").map(lambda marks: Delimiters(*marks[:5]))


def line_of(message: bytes, name: str = "NTE"):
    return read(message).first(name)


def test_positions_count_as_in_the_standard():
    """MSH-1 is the separator itself, MSH-2 the rest of the delimiters; others count plainly."""
    message = read(wire(msh(), "PID|1||P1^^^HOSP&1.2.3&ISO^MR~X2||DOE^JANE"))
    assert message.get("MSH-1") == "|"
    assert message.get("MSH-2") == "^~\\&"
    assert message.get("MSH-9.2") == "R01"
    assert message.get("PID-3.1") == "P1"
    assert message.get("PID-3.4.2") == "1.2.3"
    assert message.get("PID-3.1", 1) == "X2"
    assert message.get("PID-5.1.1") == "DOE"
    assert message.first("PID").count(3) == 2


@pytest.mark.parametrize("path", ["PID-9", "PID-3.9", "PID-3.1.9", "ZZZ-1", "PID-99.1"])
def test_what_is_not_there_is_empty(path):
    """Absent segments, fields, components and subcomponents are empty text, never an error."""
    assert read(wire(msh(), "PID|1||P1")).get(path) == ""


def test_a_wrong_position_is_a_programming_error():
    """A path that is none does not silently read as empty."""
    with pytest.raises(ValueError, match="not an HL7 position"):
        read(wire(msh())).get("MSH-x")


@pytest.mark.parametrize("marks", ["|^~\\&", "#@%*!", "!^~\\&", "|~^\\&#"])
def test_a_sender_chooses_its_delimiters(marks):
    """MSH-1 and MSH-2 decide, not custom."""
    field, component, repetition = marks[:3]
    text = f"MSH{marks}{field}APP\rPID{field}1{field}{field}A{component}B{repetition}C\r"
    message = read(text.encode())
    assert message.get("MSH-3") == "APP"
    assert message.get("PID-3.2") == "B"
    assert message.get("PID-3.1", 1) == "C"


def test_fewer_delimiters_mean_fewer_levels():
    """A sender without an escape and a subcomponent mark sends `&` and a backslash as text."""
    message = read(b"MSH|^~|APP\rNTE|1||a & b \\F\\\r")
    assert message.get("NTE-3") == "a & b \\F\\"


@pytest.mark.parametrize(
    "head",
    [
        b"MSH|^~\\\\&|A\r",
        b"MSH|^^\\&|A\r",
        b"MSH||A\r",
        b"MSHAB~\\&A\r",
        b"MSH|^~ &|A\r",
        "MSH|^�\\&|A\r".encode(),
        b"MSH|",
        b"",
        b"PID|1\r",
        b"FHS|^~\\&|A\rMSH|^~\\&|A\r",
    ],
)
def test_a_message_without_usable_delimiters_is_not_understood(head):
    """Guessing delimiters could mix fields up, so these are refused."""
    with pytest.raises(NotUnderstood):
        read(head)


def test_two_messages_in_one_frame_are_not_understood():
    """They could be two patients."""
    with pytest.raises(NotUnderstood, match="more than one MSH"):
        read(wire(msh(), "PID|1", msh(), "PID|2"))


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"one\.br\two\.sp2\three\.sp\four", "one\ntwo\n\nthree\nfour"),
        (r"\H\bold\N\ \.in+4\in\.ti-2\ \.fi\fill\.nf\ \.ce\mid", "bold in fill \nmid"),
        (r"\X41C3A4\!", "Aä!"),
        (r"\XFF\ \Zlocal\ \C2842\ \server\share", r"\XFF\ \Zlocal\ \C2842\ \server\share"),
        (r"100 \ a", r"100 \ a"),
        (r"\X00\a\X0D0A09\b", "\ufffda\r\n\tb"),
        ("a\x07b\x7f", "a\ufffdb\ufffd"),
    ],
)
def test_escapes_become_what_they_mean(sent, meant):
    """Known sequences are replaced; unknown ones stay, so nothing a sender wrote is lost."""
    assert line_of(wire(msh(), f"NTE|1||{sent}")).get("3") == meant


def test_the_null_is_told_from_nothing():
    """`""` means delete, an empty field means no word on it."""
    pid = line_of(wire(msh(), 'PID|1||P1||""||'), "PID")
    assert pid.get("5") == ""
    assert pid.is_null("5")
    assert not pid.is_null("7")


@given(PLAIN, MARKS)
def test_quoted_text_comes_back(text, marks):
    """Whatever the delimiters and the text, quoting and reading give the text again."""
    assert marks.unquote(marks.quote(text)) == text
    if text:
        wired = f"MSH{marks.field}{marks.msh_2}{marks.field}\rNTE{marks.field}{marks.quote(text)}\r"
        assert read(wired.encode()).get("NTE-1.1.1") == text


@given(
    st.lists(st.lists(st.lists(PLAIN, min_size=1, max_size=3), min_size=1, max_size=3), max_size=4)
)
def test_fields_repetitions_and_components_come_back(fields):
    """A built segment is read back part by part."""
    raw = "|".join("~".join("^".join(map(STANDARD.quote, r)) for r in field) for field in fields)
    segment = read(wire(msh(), f"ZZZ|{raw}")).first("ZZZ")
    for number, field in enumerate(fields, 1):
        for repeat, components in enumerate(field):
            for part, text in enumerate(components, 1):
                wanted = "" if text == '""' else text
                assert segment.get(f"{number}.{part}", repeat) == wanted


@given(st.binary(max_size=300), st.sampled_from([b"", b"MSH", b"MSH|^~\\&|", b"MSH|^~\\&|\r"]))
def test_any_bytes_are_read_or_not_understood(data, start):
    """A parser that meets the open network raises one error only."""
    with contextlib.suppress(NotUnderstood):
        assert isinstance(read(start + data), Message)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_any_line_end_ends_a_segment(end):
    """CR is the standard; LF and CRLF are read alike and noted."""
    message = read(end.join((msh(), "PID|1||P1", "PV1|1|I", "")).encode())
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1"]
    assert message.get("PV1-2") == "I"
    assert bool(message.notes) == (end != "\r")


def test_a_missing_last_cr_is_noted():
    """The last segment counts without its CR."""
    message = read(wire(msh(), "PID|1||P1")[:-1])
    assert message.get("PID-3") == "P1"
    assert message.notes == ("no CR after the last segment",)


def test_a_wrapped_field_is_one_field():
    """Senders wrap base64; the lines behind the first belong to the field before them."""
    message = read(wire(msh(), "OBX|1|ED|||^^PDF^Base64^AAAA", "BBBB", "CC==||||||F"))
    assert message.get("OBX-5.5") == "AAAA\nBBBB\nCC=="
    assert message.get("OBX-11") == "F"
    assert "a line end inside a field" in message.notes


def test_unknown_segments_and_trailing_fields_are_kept():
    """Z segments and fields of a later version are data."""
    message = read(wire(msh(version="2.3"), "ZEG|lead II|5^mm", "PID|" + "|" * 50 + "new"))
    assert message.get("ZEG-2.2") == "mm"
    assert message.get("PID-51") == "new"


def test_leading_line_ends_and_a_byte_order_mark_are_skipped():
    """Editors leave them in test files and in some senders."""
    assert read(b"\xef\xbb\xbf\r\n" + wire(msh())).get("MSH-3") == "CART"


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("", "utf-8", "Müller"),
        ("UNICODE UTF-8", "utf-8", "Ὀδυσσεύς"),
        ("8859/1", "latin-1", "Müller"),
        ("8859/2", "iso8859-2", "Łukasz"),
        ("8859/5", "iso8859-5", "Иванов"),
        ("8859/15", "iso8859-15", "Œuvre €"),
        ("~ISO IR87", "iso2022_jp_ext", "山田"),
        ("ISO IR13", "shift_jis", "ﾔﾏﾀﾞ"),
        ("GB 18030-2000", "gb18030", "張"),
        ("KS X 1001", "euc_kr", "김희중"),
        ("BIG-5", "big5", "王功"),
    ],
)
def test_names_survive_in_the_declared_character_set(charset, codec, name):
    """MSH-18 (table 0211) decides how bytes are read, also where a second byte looks like `|`."""
    message = read(wire(msh(charset=charset), f"PID|1||P1||{name}^X").decode().encode(codec))
    assert message.get("PID-5.1") == name
    assert message.get("PID-5.2") == "X"


@pytest.mark.parametrize(
    ("charset", "data"), [("", b"\xe4"), ("ASCII", b"\xc3\xa4"), ("odd", b"\xe4")]
)
def test_bytes_outside_the_character_set_are_not_understood(charset, data):
    """A name with a replaced letter would be another patient's."""
    with pytest.raises(NotUnderstood, match="outside the character set"):
        read(wire(msh(charset=charset), "PID|1||P1||") + data)


def test_a_site_may_override_a_wrong_character_set():
    """Some senders declare nothing, or the wrong set, and send Latin-1."""
    raw = wire(msh(), "PID|1||P1||M")[:-1] + b"\xfcller\r"
    assert read(raw, "8859/1").get("PID-5.1") == "Müller"


def test_an_unknown_character_set_with_ascii_text_is_noted():
    """Every set agrees on ASCII, so it is read, and told."""
    assert any("unknown character set" in note for note in read(wire(msh(charset="odd"))).notes)


def test_a_message_of_endless_lines_is_not_understood():
    """Millions of empty lines are no message; memory is bounded."""
    with pytest.raises(NotUnderstood, match="lines in one message"):
        read(wire(msh()) + b"\r" * 1_000_001)


@pytest.mark.parametrize("text", ["a|b\r\nc\rd\ne", "\\F\\"])
def test_quoting_without_an_escape_mark_keeps_the_message_whole(text):
    """Where a sender declared no escape, its delimiters in our text become spaces."""
    marks = Delimiters("|", "^", "~", "", "")
    assert not set(marks.quote(text)) & set("|^~\r\n")
