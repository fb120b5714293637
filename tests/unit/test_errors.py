"""The error tree: drawn, mapped to every wire, and complete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import errors


def tree(root: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    """Give a class and everything below it."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


KINDS = list(tree(errors.GatewayError))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_an_answer_and_a_place_in_the_drawing(kind: type[errors.GatewayError]):
    """Each class says itself what a peer is told, and stands in the tree above the module."""
    assert kind in errors.ANSWERS
    assert kind.__name__ in (errors.__doc__ or "")


def test_answers_are_codes_of_their_wires():
    """Nothing but known DIMSE statuses, acknowledgement codes and HTTP errors is answered."""
    for answer in errors.ANSWERS.values():
        assert answer.dicom_status in {0x0111, 0x0124, 0xA700, 0xA900, 0xC000}
        assert answer.ack_code in {"AE", "AR"}
        assert 400 <= answer.http_status < 600


def test_what_nobody_foresaw_is_answered_like_the_root():
    """A foreign exception never counts as a success nor as the sender's fault."""
    assert errors.answer_for(KeyError("x")) == errors.ANSWERS[errors.GatewayError]
