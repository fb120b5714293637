"""What an acknowledgement means for the message it answers (HL7 v2.5.1 chapter 2.9, table 0008)."""

from __future__ import annotations

import re

from gateway.errors import NoAcknowledgement, NotUnderstood, PeerBusy, Rejected
from gateway.hl7.reading import Message, read

_CODE = re.compile(r"[A-Za-z0-9.]{1,12}")
_TAKEN = {"AA", "CA"}
_REFUSED = {"AE", "CE"}
_BUSY = {"AR", "CR"}
_ANY_BYTE = "8859/1"  # what we read is ASCII; free text in another set must not hide an AA


def judge(answer: bytes, control_id: str) -> None:
    """Return if the answer accepts the message with this MSH-10, raise otherwise.

    Args:
        answer: the peer's message, without its MLLP frame.
        control_id: MSH-10 of the message in flight.

    Raises:
        NoAcknowledgement: it is no acknowledgement, or one of another message (MSA-2 differs).
        Rejected: MSA-1 is AE or CE. PeerBusy: MSA-1 is AR or CR.
    """
    try:
        message = read(answer, _ANY_BYTE)
    except NotUnderstood:
        raise NoAcknowledgement("the answer is not HL7", answer) from None
    if message.first("MSA") is None:
        raise NoAcknowledgement("the answer has no MSA", answer)
    if message.get("MSA-2") != control_id:
        raise NoAcknowledgement("MSA-2 names another message", answer)
    code = message.get("MSA-1").upper()
    if code in _REFUSED:
        raise Rejected(_describe(code, message), answer)
    if code in _BUSY:
        raise PeerBusy(_describe(code, message), answer)
    if code not in _TAKEN:
        raise NoAcknowledgement("MSA-1 is no acknowledgement code", answer)


def _describe(code: str, message: Message) -> str:
    """Name the codes only: free text (MSA-3, ERR-8) of a peer may quote the patient."""
    error = message.get("ERR-3.1")
    return f"{code}, ERR-3 {error}" if _CODE.fullmatch(error) else code
