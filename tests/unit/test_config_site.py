"""Site documents: reading, messages, secrets, differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.documents import difference, document_of, first_site, parse_site, site_of, toml_of
from config.errors import ConfigError
from config.loader import default_text
from config.masking import MASK, masked, unmasked
from config.site import Site
from gateway.hl7.charsets import codec_for

PEERS = """
facility = "GENERAL"
[[dicom_peers]]
name = "Cart 1"
ae_title = "CART1"
[[dicom_peers]]
name = "Cart 2"
ae_title = "CART2"
addresses = ["10.1.0.0/16"]
[[destinations]]
name = "EHR"
host = "ehr"
port = 2575
"""


def test_the_shipped_document_is_the_defaults():
    """The commented file and the schema cannot drift apart, commented examples included."""
    text = default_text("site.toml")
    assert parse_site(text, "site.toml") == Site()
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    first = lines.index('facility = "HOSPITAL"')
    wanted = [line for line in lines[first:] if line.startswith("[") or " = " in line]
    site = parse_site("\n".join(wanted), "site.toml")
    assert [peer.ae_title for peer in site.dicom_peers] == ["CART3"]
    written = "\n".join(wanted)
    for model in (site.dicom_peers[0], site.hl7_peers[0], site.destinations[0], site.alert):
        assert all(f"{name} = " in written for name in type(model).model_fields)


def test_live_without_word_of_any_patient_is_refused():
    """A site that would quarantine every live alert hears so before it goes live."""
    live = '[model]\nmode = "live"\n'
    with pytest.raises(ConfigError, match=r"alert\.require_admission"):
        parse_site(live, "site.toml")
    assert parse_site(f"[alert]\nrequire_admission = false\n{live}", "x").model.mode == "live"
    assert parse_site(f'[[hl7_peers]]\nname = "ADT"\n{live}', "x").alert.require_admission


def test_a_link_needs_an_address_to_lead_to():
    """Results that point at the result PDF say where the receiver reaches it."""
    linked = PEERS + 'pdf = "link"\n'
    with pytest.raises(ConfigError, match=r"'EHR' needs console_url"):
        parse_site(linked, "site.toml")
    site = parse_site(f'console_url = "https://ecg.example:8443/gw/"\n{linked}', "site.toml")
    assert site.console_url == "https://ecg.example:8443/gw"
    assert parse_site(PEERS + 'pdf = "embed"\n', "site.toml").destinations[0].pdf_max_kb == 1024
    for address in ("ecg.example", "ftp://ecg.example", "https://ecg example", "https://a/b?c=d"):
        with pytest.raises(ConfigError, match=r"line 1: console_url = .*https://ecg"):
            parse_site(f'console_url = "{address}"\n', "site.toml")


def test_toml_and_document_round_trip():
    """Export and import give the same configuration."""
    site = parse_site(PEERS, "site.toml")
    document = document_of(site)
    assert site_of(document) == site
    assert parse_site(toml_of(document), "exported") == site


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("port = 2575", "port = 0", ("line 13", "destinations[0].port = 0", "at least 1")),
        ('"CART2"', '"THIS_TITLE_IS_TOO_LONG"', ("line 8", "dicom_peers[1].ae_title", "16")),
        ('"10.1.0.0/16"', '"10.1.0.0/99"', ("line 9", "dicom_peers[1].addresses[0]", "/99")),
        ('"GENERAL"', '"G"\ntimezone = "Berlin"', ("line 3", "timezone = 'Berlin'", "Europe/")),
        ('"Cart 2"', '"Cart 1"', ("dicom_peers: two entries have the same name",)),
        ("host =", "hots =", ("line 12", "destinations[0].hots", "did you mean host?")),
        ("ae_title", "# ae_title", ("line 3", "dicom_peers[0].ae_title", "required")),
    ],
)
def test_a_bad_document_is_told_by_line(old, new, parts):
    """The message names line, key, value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        parse_site(PEERS.replace(old, new), "site.toml")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_difference_shows_what_changes():
    """People see a unified diff before they import."""
    old = document_of(parse_site(PEERS, "x"))
    new = document_of(parse_site(PEERS.replace("CART2", "CART9"), "x"))
    lines = difference(old, new, ("version 1", "site.toml"))
    assert "--- version 1" in lines[0]
    assert any(line.startswith("+") and "CART9" in line for line in lines)
    assert difference(old, old, ("a", "b")) == []


def test_secrets_are_masked_and_come_back_by_name():
    """An exported document can be imported again without writing secrets down."""
    kept = {"destinations": [{"name": "a", "token": "s1"}, {"name": "b", "token": "s2"}]}
    shown = masked(kept)
    assert "s1" not in str(shown)
    shown["destinations"].reverse()
    assert unmasked(shown, kept) == {"destinations": list(reversed(kept["destinations"]))}


def test_a_password_in_a_url_is_masked():
    """URLs stay readable, their password does not."""
    assert masked({"url": "redis://u:pw@h:1/0"}) == {"url": f"redis://u:{MASK}@h:1/0"}


def test_a_changed_secret_shows_as_a_change_without_its_value():
    """A diff tells that a secret changed, and no more."""
    lines = difference({"token": "old"}, {"token": "new"}, ("a", "b"))
    assert lines[-1] == "a secret was changed"


def test_a_mask_that_nothing_fills_is_refused():
    """A document from another site does not silently get a mask as a secret."""
    with pytest.raises(ConfigError, match=r"line 1: facility = .*write the secret itself"):
        parse_site(f'facility = "{MASK}"\n', "site.toml")


def test_the_first_version_comes_from_beside_the_settings_file(tmp_path: Path):
    """A site.toml beside the settings file wins over the shipped one."""
    assert first_site(None)[0] == default_text("site.toml")
    settings = tmp_path / "gateway.toml"
    assert first_site(settings)[0] == default_text("site.toml")
    (tmp_path / "site.toml").write_text(PEERS, "utf-8")
    assert first_site(settings) == (PEERS, str(tmp_path / "site.toml"))


def test_every_allowed_character_set_is_one_that_messages_can_be_read_in():
    """The site may only force a character set that the HL7 room knows."""
    for name in ("ASCII", "UNICODE UTF-8", "8859/1", "8859/15", "ISO IR87", "WINDOWS-1252"):
        text = f'[[hl7_peers]]\nname = "Engine"\ncharset = "{name}"\n'
        assert parse_site(text, "site.toml").hl7_peers[0].charset == name
        assert not codec_for(name)[1], name
    with pytest.raises(ConfigError, match=r"line 3: hl7_peers\[0\].charset = 'LATIN'"):
        parse_site('[[hl7_peers]]\nname = "Engine"\ncharset = "LATIN"\n', "site.toml")
