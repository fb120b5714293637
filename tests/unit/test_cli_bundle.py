"""The `bundle` commands: verified, installed, activated with history, rolled back."""

from __future__ import annotations

import shutil
from contextlib import closing

import openvino as ov
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.bundles import tiny_bundle
from support.cli import invoke
from support.keys import make_keys

from config.documents import document_of
from config.site import Site
from gateway.store import open_store
from inference.bundle import INT8, WEIGHTS, open_bundle, write_card
from inference.errors import BundleError
from inference.runtime import graph, usable


@pytest.fixture
def site(tmp_path):
    """A settings file, and a data directory whose gateway was started once."""
    data = tmp_path / "data"
    data.mkdir()
    with closing(open_store(f"sqlite:///{data / 'gateway.sqlite3'}", data / "blobs")) as store:
        store.site.save(document_of(Site()), who="test", note="first", expected=0)
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'data_dir = "{data}"\nbundles_dir = "{tmp_path / "bundles"}"\n'
        '[worker]\nruntime = "openvino-fp32"\nthreads = 1\n'
    )
    return config, data


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def active(data):
    with closing(open_store(f"sqlite:///{data / 'gateway.sqlite3'}", data / "blobs")) as store:
        return store.site.current().document["model"]["bundle"]


def test_verify_checks_hashes_and_golden_scores(site):
    """A tick for the files and one for the scores on each runtime of this machine."""
    text = invoke("bundle", "verify", tiny_bundle(), "--config", site[0])
    found = open_bundle(tiny_bundle())
    assert text.count("✓") == 1 + len(usable(found))
    assert "golden scores on openvino-fp32" in text
    assert found.digest in text
    assert "! not signed. No signature protects the card's own values (threshold" in text


@pytest.fixture
def quantised(tmp_path):
    """A copy of the bundle with a graph in the place of int8, which `auto` would choose."""
    folder = tmp_path / "quantised"
    shutil.copytree(tiny_bundle(), folder)
    found = open_bundle(folder)
    ov.save_model(graph.build(found.weights(), found.network), folder / INT8[0], False)
    golden = found.card["golden"]
    parity = {**found.card["parity"], "openvino-int8": {"holds": True}}
    stated = {"golden": golden | {"openvino-int8": golden["logits"]}, "parity": parity}
    write_card(folder, found.card | stated)
    return folder


def test_verify_refuses_a_card_whose_network_is_another(site, quantised):
    """The int8 graph has its golden scores whatever the card says; fp32 is built by the card."""
    config, _ = site
    config.write_text(config.read_text().replace("openvino-fp32", "auto"))
    text = invoke("bundle", "verify", quantised, "--config", config)
    assert "golden scores on openvino-int8: largest difference 0.0000" in text
    assert "golden scores on openvino-fp32: largest difference 0.0000" in text
    card = open_bundle(quantised).card
    write_card(quantised, card | {"network": card["network"] | {"gate": "residual"}})
    with pytest.raises(BundleError, match=r"golden scores differ by .* on openvino-"):
        invoke("bundle", "verify", quantised, "--config", config)


def test_install_activate_and_roll_back(site, tmp_path):
    """A second version is activated, then the first is in force again."""
    config, data = site
    second = tmp_path / "second"
    shutil.copytree(tiny_bundle(), second)
    write_card(second, open_bundle(second).card | {"version": "2"})
    for source in (tiny_bundle(), second):
        invoke("bundle", "install", source, "--config", config)
    assert "tiny-2" in invoke("bundle", "list", "--config", config)
    invoke("bundle", "activate", "tiny-1", "--config", config)
    invoke("bundle", "activate", "tiny-2", "--config", config)
    assert active(data) == "tiny-2"
    text = invoke("bundle", "rollback", "--config", config)
    assert "tiny-1 is in force from version 4" in text
    assert active(data) == "tiny-1"


def test_a_bundle_that_fails_its_self_test_is_not_activated(site, tmp_path):
    """What is in force stays in force."""
    config, data = site
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle(), broken)
    card = open_bundle(broken).card
    logits = [value + 5 for value in card["golden"]["logits"]]
    write_card(broken, card | {"version": "3", "golden": {"logits": logits}})
    invoke("bundle", "install", broken, "--config", config)
    with pytest.raises(BundleError, match="golden"):
        invoke("bundle", "activate", "tiny-3", "--config", config)
    assert active(data) == "reference"


def test_diff_tells_which_keys_differ_by_exit_status(site, tmp_path):
    """0 for the same bundle, 1 and the keys for another."""
    other = tmp_path / "other"
    shutil.copytree(tiny_bundle(), other)
    write_card(other, open_bundle(other).card | {"threshold": 0.123})
    invoke("bundle", "diff", tiny_bundle(), tiny_bundle(), "--config", site[0])
    text = invoke("bundle", "diff", tiny_bundle(), other, "--config", site[0], status=1)
    assert "threshold" in text
    assert "0.123" in text


def test_show_prints_the_card(site):
    """As it is on disk."""
    text = invoke("bundle", "show", tiny_bundle(), "--config", site[0])
    assert text == (tiny_bundle() / "card.toml").read_text()


def test_a_bundle_is_signed_and_checked_with_openssl_keys(site, tmp_path):
    """PEM keys, as `openssl genpkey -algorithm ed25519` writes them; a wrong one is refused."""
    make_keys(tmp_path)
    make_keys(tmp_path, "other")
    signed = tmp_path / "signed"
    shutil.copytree(tiny_bundle(), signed)
    invoke("bundle", "sign", signed, "--key", tmp_path / "site.pem")
    check = ("bundle", "verify", signed, "--no-run", "--config", site[0], "--key")
    assert "✓ signed with this key" in invoke(*check, tmp_path / "site.pub")
    assert "! the signature was not checked" in invoke(*check[:-1])
    with pytest.raises(BundleError, match="not by the trusted key"):
        invoke(*check, tmp_path / "other.pub")
    for wrong in (site[0], tmp_path / "site.pem"):
        assert "it holds no Ed25519 public key" in invoke(*check, wrong, status=2)
    assert "No such file" in invoke(*check, tmp_path / "none.pub", status=2)
    flip(signed / WEIGHTS)
    with pytest.raises(BundleError, match="damaged"):
        invoke("bundle", "sign", signed, "--key", tmp_path / "site.pem")
