"""The error tree of the gateway, and what a peer is told for each error.

    GatewayError
    ├── Refused                   the peer may not do this
    │   ├── UnknownPeer           AE title, HL7 peer or address is not configured
    │   └── NotAccepting          the gateway is draining or at its limit
    ├── BadInput                  the content cannot be taken
    │   ├── NotUnderstood         bytes that are not the declared format
    │   ├── WrongContent          well formed, but not what its class or type says
    │   ├── Conflict              a known identity with other content
    │   └── NotStorable           values that the database refuses, now and later
    ├── OutOfResources            disk reserve reached
    ├── StoreUnavailable          database or blob directory cannot be used now
    │   └── BlobLost              kept bytes are gone or changed; later is no better
    └── DeliveryError             a result could not be handed over
        ├── PeerUnreachable       no connection, or it was lost: outcome unknown, retry
        ├── NoAcknowledgement     timed out or answered something else: unknown, retry
        ├── Rejected              the peer answered AE/CE: it will never take this message
        └── PeerBusy              the peer answered AR/CR: it may take it later

No message of these errors carries a patient's name, identifier or any text of the ECG
(promise 7): they name keys, positions, sizes and classes only.
"""

from __future__ import annotations

from dataclasses import dataclass


class GatewayError(Exception):
    """Root of every error the gateway raises on purpose."""


class Refused(GatewayError):
    """The peer may not do what it asked for."""


class UnknownPeer(Refused):
    """An AE title, HL7 sender or network address that the site has not configured."""


class NotAccepting(Refused):
    """The gateway is draining or at a configured limit."""


class BadInput(GatewayError):
    """The content cannot be taken; asking again with the same bytes will not help."""


class NotUnderstood(BadInput):
    """Bytes that are not the format they claim to be."""


class WrongContent(BadInput):
    """A well-formed object whose content does not match its class or message type."""


class Conflict(BadInput):
    """An identity that is already known with other content."""


class NotStorable(BadInput):
    """Values that the database refuses: trying again with the same ones will not help."""


class OutOfResources(GatewayError):
    """The disk reserve is reached; the peer should try again later."""


class StoreUnavailable(GatewayError):
    """The database or the blob directory cannot be written."""


class BlobLost(StoreUnavailable):
    """Bytes that were kept are gone, or are not what they were: trying again will not help."""


class DeliveryError(GatewayError):
    """A result could not be handed over.

    Attributes:
        answer: the peer's whole answer where there was one; it may carry PHI, so it is kept as a
            blob and never becomes part of the error's text.
    """

    def __init__(self, message: str, answer: bytes = b"") -> None:
        super().__init__(message)
        self.answer = answer


class PeerUnreachable(DeliveryError):
    """No connection, or it was lost before an answer: the outcome is unknown."""


class NoAcknowledgement(DeliveryError):
    """No matching acknowledgement in time: the outcome is unknown."""


class Rejected(DeliveryError):
    """The peer answered AE or CE: it will never take this message."""


class PeerBusy(DeliveryError):
    """The peer answered AR or CR: it may take the message later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer is told for an error, on each of the three wires.

    Attributes:
        dicom_status: DIMSE-C-STORE status (DICOM PS3.4 Table B.2-1, PS3.7 Annex C).
        ack_code: HL7 original-mode acknowledgement code (HL7 v2.5.1 table 0008).
        http_status: HTTP status code.
    """

    dicom_status: int
    ack_code: str
    http_status: int


ANSWERS: dict[type[GatewayError], Answer] = {
    GatewayError: Answer(0xC000, "AR", 500),
    Refused: Answer(0x0124, "AR", 403),
    UnknownPeer: Answer(0x0124, "AR", 403),
    NotAccepting: Answer(0xA700, "AR", 503),
    BadInput: Answer(0xC000, "AE", 400),
    NotUnderstood: Answer(0xC000, "AE", 400),
    WrongContent: Answer(0xA900, "AE", 422),
    Conflict: Answer(0x0111, "AE", 409),
    NotStorable: Answer(0xC000, "AE", 422),
    OutOfResources: Answer(0xA700, "AR", 507),
    StoreUnavailable: Answer(0xA700, "AR", 503),
    BlobLost: Answer(0xA700, "AR", 503),
    DeliveryError: Answer(0xC000, "AR", 502),
    PeerUnreachable: Answer(0xC000, "AR", 502),
    NoAcknowledgement: Answer(0xC000, "AR", 504),
    Rejected: Answer(0xC000, "AR", 502),
    PeerBusy: Answer(0xC000, "AR", 503),
}


def answer_for(error: BaseException) -> Answer:
    """Give the answer for an error; anything unforeseen is answered like `GatewayError`."""
    for kind in type(error).__mro__:
        if kind in ANSWERS:
            return ANSWERS[kind]
    return ANSWERS[GatewayError]
