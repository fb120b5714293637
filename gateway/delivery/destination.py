"""A destination as the courier knows it: an EHR that takes results over MLLP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pdf = Literal["none", "embed", "link"]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go, and how patiently. Times are in seconds.

    Attributes:
        name: its name in the site configuration.
        host, port: where it listens.
        test: a test system, the only kind that results of an unvalidated bundle may reach.
        receiving_application, receiving_facility: MSH-5 and MSH-6.
        hl7_version: MSH-12.
        connect_timeout_s: for the TCP connection.
        ack_timeout_s: from the first byte sent to the acknowledgement.
        retry_first_s, retry_max_s: the first pause after a failure, doubled up to the last.
        max_busy_retries: how often AR/CR is answered before the message is a dead letter.
        pdf: whether results bring the result PDF, or where it is.
        pdf_max_kb: the largest PDF in kB that is embedded; as base64 it takes a third more.
    """

    name: str
    host: str
    port: int
    test: bool = False
    receiving_application: str = "EHR"
    receiving_facility: str = "HOSPITAL"
    hl7_version: str = "2.5.1"
    connect_timeout_s: float = 5.0
    ack_timeout_s: float = 10.0
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    max_busy_retries: int = 10
    pdf: Pdf = "none"
    pdf_max_kb: int = 1024

    @property
    def attempt_s(self) -> float:
        """The longest that one attempt may take."""
        return self.connect_timeout_s + self.ack_timeout_s

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row; 0 for none."""
        if failures < 1:
            return 0.0
        doublings = min(failures - 1, 30)  # 2**30 s is past any cap, and no float overflows
        return min(self.retry_first_s * 2.0**doublings, self.retry_max_s)
