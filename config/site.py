"""Site configuration: what a hospital decides, kept as versioned documents in the database."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _ae_title(value: str) -> str:
    """Trim and check an AE title (DICOM PS3.5 6.2, VR AE: 1-16 characters, no backslash)."""
    value = value.strip()
    if not 1 <= len(value) <= 16 or "\\" in value or not value.isprintable():
        raise ValueError("an AE title has 1 to 16 printable characters and no backslash")
    return value


def _network(value: str) -> str:
    """Check an address or a network in CIDR form."""
    return str(ipaddress.ip_network(value, strict=False))


def _timezone(value: str) -> str:
    """Check the name of a time zone; empty means this machine's."""
    try:
        return value and ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        raise ValueError("allowed is a name of the IANA list such as Europe/Berlin") from None


def _web_address(value: str) -> str:
    """Check the address of the console; empty means that nobody else reaches it."""
    if value and not re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w./~-]*)?", value):
        raise ValueError("allowed is an address such as https://ecg.hospital.example")
    return value.rstrip("/")


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$")]


class Part(BaseModel):
    """A part of the document: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


CHARSETS = re.compile(
    r"ASCII|UNICODE( UTF-8)?|UTF-8|8859/([1-9]|1[013-6])|ISO IR(6|13|14|87|159|192)"
    r"|GB 18030-2000|KS X 1001|BIG-5|WINDOWS-1252"
)


def _charset(value: str) -> str:
    """Check a character set of HL7 table 0211; empty believes each message's MSH-18."""
    if value and not CHARSETS.fullmatch(value):
        raise ValueError(
            "allowed is a name of HL7 table 0211 such as UNICODE UTF-8, 8859/1 or WINDOWS-1252"
        )
    return value


Mode = Literal["off", "shadow", "canary", "live"]


class DicomPeer(Part):
    """A cart or system that may open associations; no addresses means any address."""

    name: Name
    ae_title: AeTitle
    addresses: tuple[Network, ...] = ()
    mode: Mode = "live"


class Hl7Peer(Part):
    """A system that may send HL7; empty strings and no addresses mean any."""

    name: Name
    sending_application: str = ""
    sending_facility: str = ""
    addresses: tuple[Network, ...] = ()
    charset: Annotated[str, AfterValidator(_charset)] = ""
    mode: Mode = "live"


class Destination(Part):
    """An EHR that results go to, over MLLP."""

    name: Name
    kind: Literal["mllp"] = "mllp"
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    test: bool = False
    receiving_application: str = "EHR"
    receiving_facility: str = "HOSPITAL"
    hl7_version: Literal["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"] = "2.5.1"
    connect_timeout_s: float = Field(default=5.0, gt=0)
    ack_timeout_s: float = Field(default=10.0, gt=0)
    retry_first_s: float = Field(default=1.0, gt=0)
    retry_max_s: float = Field(default=60.0, gt=0)
    max_busy_retries: int = Field(default=10, ge=0)
    pdf: Literal["none", "embed", "link"] = "none"
    pdf_max_kb: int = Field(default=1024, ge=1)


class Alert(Part):
    """When a score becomes an alert."""

    threshold: float | None = Field(default=None, gt=0, lt=1)
    deadline_s: float = Field(default=3600.0, gt=0)
    unscorable_results: bool = True
    require_admission: bool = True


class Model(Part):
    """The active bundle and how far its results go."""

    bundle: Name = "reference"
    mode: Mode = "shadow"


class Site(Part):
    """One version of the site configuration."""

    facility: str = "HOSPITAL"
    sending_application: str = "ECG-GATEWAY"
    ae_title: AeTitle = "ECG_GATEWAY"
    identifier_authority: str = ""
    timezone: Annotated[str, AfterValidator(_timezone)] = ""
    console_url: Annotated[str, AfterValidator(_web_address)] = ""
    dicom_peers: tuple[DicomPeer, ...] = ()
    hl7_peers: tuple[Hl7Peer, ...] = ()
    destinations: tuple[Destination, ...] = ()
    alert: Alert = Alert()
    model: Model = Model()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for key in ("dicom_peers", "hl7_peers", "destinations"):
            names = [item.name for item in getattr(self, key)]
            if len(set(names)) != len(names):
                raise ValueError(f"{key}: two entries have the same name")
        return self

    @model_validator(mode="after")
    def _links_lead_somewhere(self) -> Self:
        linked = [item.name for item in self.destinations if item.pdf == "link"]
        if linked and not self.console_url:
            raise ValueError(f'pdf = "link" of {linked[0]!r} needs console_url')
        return self

    @model_validator(mode="after")
    def _somebody_can_be_alerted(self) -> Self:
        if self.model.mode == "live" and self.alert.require_admission and not self.hl7_peers:
            raise ValueError(
                'model.mode = "live" would alert nobody: alert.require_admission wants to hear of '
                "each patient by ADT, and there are no [[hl7_peers]]"
            )
        return self
