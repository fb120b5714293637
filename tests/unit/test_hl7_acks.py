"""What a sender is told, in original and enhanced mode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hl7 import at_noon, msh, wire

from gateway.hl7.acks import ACCEPTED, Verdict, answers
from gateway.hl7.framing import Decoder, frame
from gateway.hl7.head import Head, read_head
from gateway.hl7.reading import read

BAD = Verdict("AE", 101, "PID-3 has no patient identifier", "PID^1^3")
REFUSED = Verdict("AR", 207, "the disk is full")


def told(verdict=ACCEPTED, **head):
    return [read(answer) for answer in answers(read_head(wire(msh(**head))), verdict, at_noon())]


def codes(verdict, accept, application):
    return [ack.get("MSA-1") for ack in told(verdict, accept=accept, application=application)]


def test_an_acknowledgement_goes_back_where_the_message_came_from():
    """MSH-3 to -6 are swapped, MSA-2 repeats MSH-10, the answer has a control id of its own."""
    (ack,) = told(control_id="C-77", sender="CART|WARD")
    assert [ack.get(f"MSH-{n}") for n in (3, 4, 5, 6)] == ["GATEWAY", "HOSP", "CART", "WARD"]
    assert ack.get("MSA-1") == "AA"
    assert ack.get("MSA-2") == "C-77"
    assert ack.get("MSH-10") not in {"", "C-77"}
    assert ack.get("MSH-7") == "20260101120000+0000"
    assert ack.first("ERR") is None


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("2.1", "ACK"),
        ("2.2", "ACK"),
        ("2.3", "ACK^R01"),
        ("2.3.1", "ACK^R01^ACK"),
        ("2.5.1", "ACK^R01^ACK"),
        ("2.8", "ACK^R01^ACK"),
    ],
)
def test_the_answer_is_of_the_version_of_the_message(version, kind):
    """MSH-9 grew a trigger in 2.3 and a structure in 2.3.1; MSH-12 is the sender's."""
    (ack,) = told(version=version)
    assert ack.get("MSH-9") == kind
    assert ack.get("MSH-12") == version


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.6", "2.7", "2.8"])
def test_an_error_names_its_place_code_and_reason(version):
    """ERR-2, -3, -4 and -8 from version 2.5 on."""
    (ack,) = told(BAD, version=version)
    assert ack.get("MSA-1") == "AE"
    assert ack.get("ERR-2") == "PID^1^3"
    assert ack.get("ERR-3.1") == "101"
    assert ack.get("ERR-3.3") == "HL70357"
    assert ack.get("ERR-4") == "E"
    assert ack.get("ERR-8") == BAD.text
    assert ack.get("MSA-3") == ("" if version >= "2.7" else BAD.text)


@pytest.mark.parametrize("version", ["2.1", "2.3.1", "2.4"])
def test_an_error_before_2_5_stands_in_err_1(version):
    """ERR-1 was segment, sequence, field and code; MSA-3 carries the reason."""
    (ack,) = told(BAD, version=version)
    assert [ack.get(f"ERR-1.{part}") for part in (1, 2, 3)] == ["PID", "1", "3"]
    assert ack.get("ERR-1.4.1") == "101"
    assert ack.get("MSA-3") == BAD.text


@pytest.mark.parametrize(
    ("accept", "application", "good", "bad", "refused"),
    [
        ("", "", ["AA"], ["AE"], ["AR"]),
        ("AL", "NE", ["CA"], ["CE"], ["CR"]),
        ("AL", "", ["CA"], ["CE"], ["CR"]),
        ("NE", "AL", ["AA"], ["AE"], ["AR"]),
        ("", "AL", ["AA"], ["AE"], ["AR"]),
        ("AL", "AL", ["CA", "AA"], ["CA", "AE"], ["CR"]),
        ("AL", "ER", ["CA"], ["CA", "AE"], ["CR"]),
        ("AL", "SU", ["CA", "AA"], ["CE"], ["CR"]),
        ("ER", "AL", ["AA"], ["AE"], ["CR"]),
        ("ER", "NE", [], ["CE"], ["CR"]),
        ("SU", "ER", ["CA"], ["CA", "AE"], ["AR"]),
        ("NE", "NE", [], [], []),
    ],
)
def test_enhanced_mode_answers_what_was_asked_for(accept, application, good, bad, refused):
    """MSH-15 and -16 (table 0155): the accept answer first; a refusal at the door is one `CR`."""
    assert codes(ACCEPTED, accept, application) == good
    assert codes(BAD, accept, application) == bad
    assert codes(REFUSED, accept, application) == refused


def test_an_accept_answer_before_an_error_tells_no_error():
    """`CA` says that the message is safe; the error stands in the application answer."""
    accept, application = told(BAD, accept="AL", application="AL")
    assert accept.first("ERR") is None
    assert application.get("ERR-3.1") == "101"
    assert accept.get("MSH-10") != application.get("MSH-10")


def test_the_answer_uses_the_delimiters_and_character_set_of_the_message():
    """A sender with its own delimiters and Latin-1 can read its answer."""
    raw = "MSH#@%*!#KÄRT#W#G#H#2026##ORU@R01#1*F*2#P#2.4######8859/1\r".encode("latin-1")
    (answer,) = answers(read_head(raw), Verdict("AE", 102, "a#b"), at_noon())
    assert answer.startswith(b"MSH#@%*!#G#H#K\xc4RT#W#")
    assert b"\rMSA#AE#1*F*2#a*F*b\r" in answer
    assert read(answer).get("MSH-18") == "8859/1"


@pytest.mark.parametrize("raw", [b"", b"garbage", b"\x00\xff" * 50, b"MSH", b"MSH|", b"GET / HTTP"])
def test_garbage_still_gets_an_answer(raw):
    """A sender that waits for an answer gets one, with an empty MSA-2."""
    (answer,) = answers(read_head(raw), Verdict("AE", 102, "no MSH"), at_noon())
    assert read(answer).get("MSA-1") == "AE"
    assert read(answer).get("MSA-2") == ""


@given(st.binary(max_size=200), st.sampled_from([b"", b"MSH", b"MSH|^~\\&|", b"MSH#@%*!#A"]))
def test_any_head_is_read_and_answered(data, start):
    """Nothing that arrives makes an answer fail, and every answer can be framed and read."""
    head = read_head(start + data)
    assert isinstance(head, Head)
    for answer in answers(head, BAD, at_noon()):
        (bare,) = Decoder(1 << 20).feed(frame(answer))
        assert read(bare, "8859/1" if head.codec == "latin-1" else "").get("MSA-1")
