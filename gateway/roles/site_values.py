"""The site document in the words of the rooms that need a part of it."""

from __future__ import annotations

from datetime import tzinfo
from zoneinfo import ZoneInfo

from config.site import Site
from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite
from gateway.dicom.admission import Peer as DicomPeer
from gateway.hl7.oru import Sender
from gateway.hl7.peers import Peer as Hl7Peer
from gateway.policy import Mode, interrupts, reaches


def dicom_peers(site: Site) -> tuple[DicomPeer, ...]:
    """Who may open associations."""
    return tuple(DicomPeer(peer.name, peer.ae_title, peer.addresses) for peer in site.dicom_peers)


def hl7_peers(site: Site) -> tuple[Hl7Peer, ...]:
    """Who may send HL7."""
    return tuple(Hl7Peer(**peer.model_dump()) for peer in site.hl7_peers)


def destinations(site: Site) -> tuple[Destination, ...]:
    """Where results go."""
    return tuple(Destination(**item.model_dump(exclude={"kind"})) for item in site.destinations)


def reached(site: Site) -> tuple[Destination, ...]:
    """Where results go in the mode that the site is in."""
    mode = Mode(site.model.mode)
    return tuple(item for item in destinations(site) if reaches(mode, test=item.test))


def alerts(site: Site, destination: Destination) -> bool:
    """Whether alerts go there as alerts in the mode that the site is in."""
    return interrupts(Mode(site.model.mode), test=destination.test)


def result_site(site: Site, version: int) -> ResultSite:
    """What decides whom to tell, and what messages say of this site."""
    return ResultSite(
        version=version,
        mode=Mode(site.model.mode),
        sender=Sender(site.sending_application, site.facility),
        destinations=destinations(site),
        deadline_s=site.alert.deadline_s,
        unscorable_results=site.alert.unscorable_results,
        require_admission=site.alert.require_admission,
        authority=site.identifier_authority,
        zone=zone(site),
    )


def zone(site: Site) -> tzinfo | None:
    """The zone of times that come without one; None means this machine's."""
    return ZoneInfo(site.timezone) if site.timezone else None
