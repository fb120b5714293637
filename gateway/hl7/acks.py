"""Acknowledgements of what we received, in original and enhanced mode.

Source: HL7 v2.5.1 chapter 2.9; tables 0008 (codes), 0155 (when to answer), 0357 (conditions).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from gateway.hl7.head import Head

CONDITIONS = {
    0: "Message accepted",
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    104: "Value too long",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application internal error",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a message.

    Attributes:
        code: `AA` taken, `AE` its content or format cannot be taken, `AR` not taken for another
            reason (type, processing id, version, sender, or our own trouble).
        condition: HL7 table 0357. text: one sentence without PHI.
        location: `segment^sequence^field`, e.g. `PID^1^3`; empty when there is none to name.
    """

    code: str = "AA"
    condition: int = 0
    text: str = ""
    location: str = ""


ACCEPTED = Verdict()


def answers(head: Head, verdict: Verdict, now: datetime) -> tuple[bytes, ...]:
    """Build what the sender is told, in the order to be sent.

    Original mode: one `AA`, `AE` or `AR`. Enhanced mode, as MSH-15 and MSH-16 ask: first the accept
    acknowledgement `CA`, `CE` or `CR`, then the application acknowledgement. A message that is not
    taken for an `AR` reason has been refused at the door: `CR`, and no application acknowledgement
    unless only that was asked for. A content error is told once: by the application
    acknowledgement when one was asked for, else as `CE`.

    Args:
        head: of the message.
        verdict: what came of it.
        now: for MSH-7, with its zone.
    """
    if not head.enhanced:
        return (_build(head, verdict, verdict.code, now),)
    application = _wanted(head.acknowledge, verdict)
    if verdict.code == "AR":
        accept_code = "CR"
        application = application and head.accept in {"", "NE", "SU"}
    else:
        accept_code = "CA" if application or verdict.code == "AA" else "CE"
    built = []
    if _wanted(head.accept, Verdict("AA") if accept_code == "CA" else verdict):
        told = ACCEPTED if accept_code == "CA" else verdict
        built.append(_build(head, told, accept_code, now))
    if application:
        built.append(_build(head, verdict, verdict.code, now))
    return tuple(built)


def _wanted(condition: str, verdict: Verdict) -> bool:
    """Tell whether MSH-15 or MSH-16 asks for this answer (table 0155); empty means never."""
    good = verdict.code == "AA"
    return condition == "AL" or (condition == "SU" and good) or (condition == "ER" and not good)


def _build(head: Head, verdict: Verdict, code: str, now: datetime) -> bytes:
    segments = [_msh(head, now), _msa(head, verdict, code)]
    if verdict.code != "AA":
        segments.append(_err(head, verdict))
    text = "".join(f"{segment}\r" for segment in segments)
    return text.encode(head.codec, "replace")


def _msh(head: Head, now: datetime) -> str:
    marks = head.delimiters
    fields = [""] * 19
    fields[2:7] = [
        marks.msh_2,
        head.to_application,
        head.to_facility,
        head.application,
        head.facility,
    ]
    fields[7] = now.strftime("%Y%m%d%H%M%S%z")
    fields[9] = _message_type(head)
    fields[10] = uuid.uuid4().hex[:20].upper()
    fields[11] = head.processing or "P"
    fields[12] = head.version or "2.5.1"
    fields[18] = head.charset
    return f"MSH{marks.field}" + marks.field.join(fields[2:]).rstrip(marks.field)


def _message_type(head: Head) -> str:
    """MSH-9: a trigger from 2.3, a structure from 2.3.1 (HL7 v2.3.1 2.24.1.9)."""
    join = head.delimiters.component
    if not head.trigger or not join or head.version in {"2.1", "2.2"}:
        return "ACK"
    parts = ["ACK", head.trigger] + ([] if head.version == "2.3" else ["ACK"])
    return join.join(parts)


def _msa(head: Head, verdict: Verdict, code: str) -> str:
    """MSA-2 repeats MSH-10 as sent; MSA-3 was withdrawn in 2.7."""
    fields = ["MSA", code, head.control_id]
    if verdict.text and _before(head.version, (2, 7)):
        fields.append(head.delimiters.quote(verdict.text))
    return head.delimiters.field.join(fields)


def _err(head: Head, verdict: Verdict) -> str:
    """ERR-1 until 2.4 (ELD), ERR-2, -3, -4, -7 and -8 from 2.5."""
    marks = head.delimiters
    name = CONDITIONS[verdict.condition]
    if _before(head.version, (2, 5)):
        where = verdict.location.split("^") if verdict.location else []
        places = [*where, "", "", ""][:3]
        code = (marks.subcomponent or " ").join((str(verdict.condition), name, "HL70357"))
        return marks.field.join(("ERR", marks.component.join((*places, code))))
    location = verdict.location.replace("^", marks.component)
    code = marks.component.join((str(verdict.condition), name, "HL70357"))
    text = marks.quote(verdict.text)
    return marks.field.join(("ERR", "", location, code, "E", "", "", text, text))


def _before(version: str, limit: tuple[int, int]) -> bool:
    """Compare an HL7 version; an unreadable one counts as 2.5.1, in which we then answer."""
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
        return limit > (2, 5)
    return (int(parts[0]), int(parts[1])) < limit
