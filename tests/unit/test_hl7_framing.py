"""MLLP frames out of any stream of bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hl7.framing import HEAD_BYTES, Decoder, frame

BODIES = st.lists(st.binary(max_size=40).map(lambda b: b.translate(None, b"\x0b\x1c")), max_size=6)


def fed(chunks, max_bytes=1 << 20):
    decoder = Decoder(max_bytes)
    messages = [message for chunk in chunks for message in decoder.feed(chunk)]
    decoder.finish()
    return messages, decoder


def cut(data: bytes, places) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(BODIES, st.lists(st.integers(min_value=0), max_size=8))
def test_frames_come_back_however_the_stream_is_cut(bodies, places):
    """Split, coalesced and pipelined frames all give the messages that were framed, in order."""
    messages, decoder = fed(cut(b"".join(map(frame, bodies)), places))
    assert messages == bodies
    assert not +decoder.oddities


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=8), st.integers(0, 60))
def test_any_bytes_give_the_same_however_they_are_cut(data, places, max_bytes):
    """No bytes raise, and neither messages nor what is reported depends on the cuts."""
    whole, one = fed([data], max_bytes)
    parts, many = fed(cut(data, places), max_bytes)
    assert whole == parts
    assert all(len(message) <= max_bytes for message in whole)
    assert bool(one.oversize) == bool(many.oversize)
    assert one.oddities == many.oddities or one.oversize


@given(st.binary(max_size=40).map(lambda b: b.translate(None, b"\x0b")), BODIES)
def test_noise_before_a_frame_is_counted_and_dropped(noise, bodies):
    """Bytes that belong to no frame do not disturb the frames behind them."""
    messages, decoder = fed([noise + b"".join(map(frame, bodies))])
    assert messages == bodies
    if bodies:
        assert decoder.oddities["noise"] == len(noise)


def test_a_frame_without_its_last_cr_is_taken_at_once():
    """A peer that forgets the CR behind 1C waits for its answer; it is not left waiting."""
    decoder = Decoder(100)
    assert decoder.feed(b"\x0bone\x1c") == [b"one"]
    assert decoder.feed(b"\x0btwo\x1c\r") == [b"two"]
    assert decoder.oddities["missing-cr"] == 1


def test_line_feeds_between_frames_are_noise():
    """Some senders end the frame with CR LF."""
    messages, decoder = fed([frame(b"one") + b"\n" + frame(b"two")])
    assert messages == [b"one", b"two"]
    assert +decoder.oddities == {"noise": 1}


def test_a_sender_that_starts_again_is_understood():
    """A frame cut by a restart of its sender is dropped and counted; the new one is taken."""
    messages, decoder = fed([b"\x0bMSH|half" + frame(b"MSH|whole")])
    assert messages == [b"MSH|whole"]
    assert decoder.oddities["cut"] == 1


def test_a_vertical_tab_in_a_note_is_text():
    """Text pasted from a word processor carries 0B; only `0B MSH` is a new start."""
    assert fed([b"\x0bMSH|a\x0bb\x1c\r"])[0] == [b"MSH|a\x0bb"]


def test_a_frame_that_never_ends_stops_at_the_cap():
    """Memory is bounded, the head is kept for an answer, nothing is decoded behind it."""
    decoder = Decoder(10_000)
    decoder.feed(b"\x0bMSH|")
    for _ in range(100):
        decoder.feed(b"x" * 1000)
    assert decoder.oversize == (b"MSH|" + b"x" * HEAD_BYTES)[:HEAD_BYTES]
    assert decoder.feed(frame(b"next")) == []


def test_frames_before_an_oversize_one_are_given():
    """What came whole before the long frame is not lost with it."""
    messages, decoder = fed([frame(b"good") + frame(b"x" * 11)], max_bytes=10)
    assert messages == [b"good"]
    assert decoder.oversize


def test_an_unfinished_frame_is_told():
    """`inside` drives the frame timeout."""
    decoder = Decoder(100)
    assert not decoder.inside
    decoder.feed(b"\x0bMSH")
    assert decoder.inside
    decoder.finish()
    assert decoder.oddities["cut"] == 1
    assert not decoder.inside


@pytest.mark.parametrize("bad", [b"a\x1cb", b"a\x0bb"])
def test_a_message_with_frame_bytes_is_not_framed(bad):
    """A frame byte inside would end the message early at the receiver."""
    with pytest.raises(ValueError, match="0B or 1C"):
        frame(bad)
