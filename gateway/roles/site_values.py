"""The site document in the words of the rooms that need a part of it."""

from __future__ import annotations

from datetime import tzinfo
from functools import partial
from zoneinfo import ZoneInfo

from config.site import Site
from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite
from gateway.dicom import admission
from gateway.dicom.admission import Peer as DicomPeer
from gateway.ecg import Source
from gateway.hl7 import peers
from gateway.hl7.oru import Sender
from gateway.hl7.peers import Peer as Hl7Peer
from gateway.policy import Mode, reaches


def dicom_peers(site: Site) -> tuple[DicomPeer, ...]:
    """Who may open associations."""
    return tuple(DicomPeer(peer.name, peer.ae_title, peer.addresses) for peer in site.dicom_peers)


def hl7_peers(site: Site) -> tuple[Hl7Peer, ...]:
    """Who may send HL7."""
    return tuple(Hl7Peer(**peer.model_dump(exclude={"mode"})) for peer in site.hl7_peers)


def destinations(site: Site) -> tuple[Destination, ...]:
    """Where results go."""
    return tuple(Destination(**item.model_dump(exclude={"kind"})) for item in site.destinations)


def reached(site: Site) -> tuple[Destination, ...]:
    """Where results go in the mode that the site is in."""
    mode = Mode(site.model.mode)
    return tuple(item for item in destinations(site) if reaches(mode, test=item.test))


def limit(site: Site, source: Source) -> Mode:
    """How far results of a source's ECGs go at most; one that has left has no limit of its own."""
    if source.protocol == "dicom":
        modes = {peer.name: peer.mode for peer in site.dicom_peers}
        cart = admission.sender(dicom_peers(site), source.address, source.peer)
        return Mode(modes[cart.name]) if cart else Mode.LIVE
    modes = {peer.name: peer.mode for peer in site.hl7_peers}
    engine = peers.sender(hl7_peers(site), source.address, source.peer)
    return Mode(modes[engine.name]) if engine else Mode.LIVE


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
        limit=partial(limit, site),
        console_url=site.console_url,
    )


def zone(site: Site) -> tzinfo | None:
    """The zone of times that come without one; None means this machine's."""
    return ZoneInfo(site.timezone) if site.timezone else None
