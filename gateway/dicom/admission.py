"""Who may associate: calling AE, called AE and address judged together (PS3.8 9.3.4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.dicom.contexts import choose
from gateway.dicom.pdu import APPLICATION_CONTEXT, AssociateRequest, ContextAnswer, Rejection


@dataclass(frozen=True, slots=True)
class Peer:
    """A configured system.

    Attributes:
        name: what the site calls it.
        ae_title: its calling AE title.
        addresses: addresses or networks in CIDR form that it may come from; none means any.
    """

    name: str
    ae_title: str
    addresses: tuple[str, ...] = ()


PROTOCOL_VERSION = Rejection(1, 2, 2, "protocol version not supported")
APPLICATION_CONTEXT_NAME = Rejection(1, 1, 2, "application context name not supported")
CALLING_AE = Rejection(1, 1, 3, "calling AE title not recognized")
CALLING_ADDRESS = Rejection(1, 1, 3, "calling AE title not recognized at this address")
CALLED_AE = Rejection(1, 1, 7, "called AE title not recognized")
LOCAL_LIMIT = Rejection(2, 3, 2, "local limit exceeded")


def judge(
    request: AssociateRequest, address: str, peers: Sequence[Peer], ae_title: str
) -> Peer | Rejection:
    """Find the peer that asks, or the reason for which it is turned away.

    Args:
        request: its A-ASSOCIATE-RQ.
        address: where it comes from.
        peers: who is configured.
        ae_title: our own AE title.
    """
    if not request.version & 1:
        return PROTOCOL_VERSION
    if request.application != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NAME
    named = [peer for peer in peers if peer.ae_title.strip() == request.calling]
    if not named:
        return CALLING_AE
    if request.called != ae_title.strip():
        return CALLED_AE
    return sender(named, address, request.calling) or CALLING_ADDRESS


def sender(peers: Sequence[Peer], address: str, calling: str) -> Peer | None:
    """Give the configured peer that has a calling AE title and may come from an address."""
    named = (peer for peer in peers if peer.ae_title.strip() == calling)
    return next((peer for peer in named if _comes_from(peer, address)), None)


def _comes_from(peer: Peer, address: str) -> bool:
    if not peer.addresses:
        return True
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip in ipaddress.ip_network(network, strict=False) for network in peer.addresses)


def answer_contexts(request: AssociateRequest) -> tuple[ContextAnswer, ...]:
    """Answer every proposed context by itself (PS3.8 9.3.3.2)."""
    return tuple(
        ContextAnswer(context.id, context.abstract, *choose(context.abstract, context.transfers))
        for context in request.contexts
    )
