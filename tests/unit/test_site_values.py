"""The site document in the words of the rooms: how far results of a source go."""

from __future__ import annotations

import pytest

from config.documents import parse_site
from gateway.ecg import Source
from gateway.policy import Mode
from gateway.roles.site_values import limit, result_site

SITE = parse_site(
    """
[[dicom_peers]]
name = "New cart"
ae_title = "CART"
addresses = ["10.1.0.0/16"]
mode = "shadow"
[[dicom_peers]]
name = "Other carts"
ae_title = "CART"
[[hl7_peers]]
name = "Engine"
[[hl7_peers]]
name = "Old engine"
sending_application = "OLD"
mode = "off"
[model]
mode = "canary"
""",
    "test",
)


@pytest.mark.parametrize(
    ("source", "mode"),
    [
        (Source("dicom", "CART", "10.1.2.3"), Mode.SHADOW),
        (Source("dicom", "CART", "10.2.2.3"), Mode.LIVE),
        (Source("dicom", "GONE", "10.1.2.3"), Mode.LIVE),
        (Source("hl7", "OLD^WARD", "10.1.2.3"), Mode.OFF),
        (Source("hl7", "NEW^WARD", "10.1.2.3"), Mode.LIVE),
    ],
)
def test_a_source_is_limited_as_its_peer_is(source: Source, mode: Mode):
    """It is found as it was let in: by name and address, the most specific entry."""
    assert limit(SITE, source) is mode


def test_a_source_never_goes_further_than_the_site():
    """The lesser of the two holds."""
    site = result_site(SITE, 1)
    assert site.mode_of(Source("dicom", "CART", "10.1.2.3")) is Mode.SHADOW
    assert site.mode_of(Source("dicom", "CART", "10.2.2.3")) is Mode.CANARY
