"""Who may associate, and the reason told to whom may not."""

import pytest
from support.dicom import associate_rq

from gateway.dicom import admission, pdu
from gateway.dicom.admission import Peer, judge

CART = Peer("cart", "CART1 ")
WARD = Peer("ward", "WARD", ("10.1.0.0/16", "192.0.2.7"))


def verdict(address: str = "10.1.2.3", **names: object) -> Peer | pdu.Rejection:
    body = associate_rq(**names)[6:]
    return judge(pdu.parse_associate_rq(body), address, (CART, WARD), " ECG_GATEWAY")


def test_a_configured_peer_is_found_whatever_the_padding():
    """AE titles are compared without leading and trailing spaces."""
    assert verdict(calling="CART1") == CART


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"calling": "OTHER"}, admission.CALLING_AE),
        ({"calling": "cart1"}, admission.CALLING_AE),
        ({"called": "OTHER"}, admission.CALLED_AE),
        ({"calling": "OTHER", "called": "OTHER"}, admission.CALLING_AE),
        ({"version": 2}, admission.PROTOCOL_VERSION),
        ({"application": "1.2.3"}, admission.APPLICATION_CONTEXT_NAME),
    ],
)
def test_each_mismatch_has_its_own_reason(names, expected):
    """A refused cart can tell which of the two titles is wrong."""
    assert verdict(**names) == expected


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("10.1.2.3", True),
        ("192.0.2.7", True),
        ("::ffff:10.1.2.3", True),
        ("10.2.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_an_ae_title_counts_only_from_its_addresses(address, taken):
    """Title and address are bound together."""
    expected = WARD if taken else admission.CALLING_ADDRESS
    assert verdict(address, calling="WARD") == expected
