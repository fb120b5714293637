"""Who may send HL7 to us."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A system that may send HL7; empty text and no addresses mean any.

    Attributes:
        name: what the site calls it.
        sending_application, sending_facility: MSH-3.1 and MSH-4.1.
        addresses: CIDR networks that it connects from.
        charset: HL7 table 0211 name that overrides its MSH-18; empty believes MSH-18.
    """

    name: str
    sending_application: str = ""
    sending_facility: str = ""
    addresses: tuple[str, ...] = ()
    charset: str = ""

    def connects_from(self, address: str) -> bool:
        """Tell whether an IP address is in one of the networks of `addresses`."""
        if not self.addresses:
            return True
        try:
            place = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(place, "ipv4_mapped", None)
        return any((mapped or place) in ipaddress.ip_network(net) for net in self.addresses)

    def sends_as(self, peer: str) -> bool:
        """Tell whether `MSH-3.1^MSH-4.1` is this system."""
        application, _, facility = peer.partition("^")
        fits_application = self.sending_application in {"", application}
        return fits_application and self.sending_facility in {"", facility}


def from_address(peers: Iterable[Peer], address: str) -> tuple[Peer, ...]:
    """Give the peers that may connect from an address."""
    return tuple(peer for peer in peers if peer.connects_from(address))


def sender(peers: Iterable[Peer], address: str, peer: str) -> Peer | None:
    """Give the configured peer that a message is from; the most specific one when several fit."""
    fits = [one for one in from_address(peers, address) if one.sends_as(peer)]
    return max(fits, key=_named, default=None)


def _named(peer: Peer) -> int:
    return bool(peer.sending_application) + bool(peer.sending_facility)
