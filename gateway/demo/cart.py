"""The simulated cart: one association per ECG as carts do, or one message over MLLP."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import pydicom
from pynetdicom import AE

from gateway.delivery.destination import Destination
from gateway.delivery.mllp_sender import MllpSender
from gateway.demo.objects import DicomFile
from gateway.errors import DeliveryError

AE_TITLE = "DEMO_CART"
GATEWAY_AE_TITLE = "ECG_GATEWAY"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Played:
    """How the gateway answered one ECG.

    Attributes:
        accepted: DICOM Success, or AA.
        answer: the status or error in words, no PHI.
    """

    accepted: bool
    answer: str


def store_dicom(port: int, file: DicomFile) -> Played:
    """Send one file by C-STORE (PS3.4 B) on an association of its own."""
    ae = AE(ae_title=AE_TITLE)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT_S
    ae.add_requested_context(file.sop_class, file.transfer_syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on real files' values
        association = ae.associate("127.0.0.1", port, ae_title=GATEWAY_AE_TITLE)
        if not association.is_established:
            return Played(accepted=False, answer="association refused")
        try:
            if not association.accepted_contexts:
                return Played(accepted=False, answer="SOP class or transfer syntax not taken")
            data = pydicom.dcmread(io.BytesIO(file.content))
            status = association.send_c_store(data)
        except Exception as error:  # whatever a strange file makes of pydicom
            return Played(accepted=False, answer=type(error).__name__)
        finally:
            association.release()
    if "Status" not in status:
        return Played(accepted=False, answer="no answer")
    code = int(status.Status)
    return Played(accepted=code == 0, answer=f"status {code:04X}")


class Hl7Line:
    """The cart's MLLP connection, one message at a time."""

    def __init__(self, port: int) -> None:
        self._sender = MllpSender(
            Destination("gateway", "127.0.0.1", port, ack_timeout_s=TIMEOUT_S)
        )

    def send(self, message: bytes, control_id: str) -> Played:
        """Send one message and wait for its acknowledgement."""
        try:
            self._sender.send(message, control_id)
        except DeliveryError as error:
            return Played(accepted=False, answer=str(error))
        return Played(accepted=True, answer="AA")

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()
