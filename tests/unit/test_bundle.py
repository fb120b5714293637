"""Bundles: only what verifies is opened, and what is wrong is said."""

import math
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.bundles import tiny_bundle

from inference.bundle import CARD, GOLDEN, SIGNATURE, WEIGHTS, diff, open_bundle, sign, write_card
from inference.embedding import EMBEDDING
from inference.errors import BundleError
from inference.installed import find_bundle, install, list_bundles, path_of


@pytest.fixture(scope="module")
def good():
    return tiny_bundle()


@pytest.fixture
def bundle(good, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(good, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_good_bundle_opens_with_what_its_card_says(good):
    """Name, version, sizes, and weights that are arrays."""
    opened = open_bundle(good)
    assert (opened.name, opened.version, opened.validated) == ("tiny", "1", False)
    assert opened.weights()["conv1.weight"].dtype == "float16"
    assert opened.weights()["bn1.running_var"].dtype == "float32"
    assert opened.golden()[0].shape == (3, 12, 2500)
    assert len(opened.digest) == 64


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_one_flipped_bit_of_the_weights_is_refused(bundle):
    """The hash in the card no longer fits."""
    flip(bundle / WEIGHTS)
    with pytest.raises(BundleError, match=r"weights.*SHA-256"):
        open_bundle(bundle)


def test_truncated_weights_are_refused(bundle):
    """A copy that was cut off."""
    raw = (bundle / WEIGHTS).read_bytes()
    (bundle / WEIGHTS).write_bytes(raw[:-1000])
    with pytest.raises(BundleError, match="damaged"):
        open_bundle(bundle)


def test_a_missing_file_is_named(bundle):
    """Listed in the card, gone from the folder."""
    (bundle / GOLDEN).unlink()
    with pytest.raises(BundleError, match=r"golden/waveforms\.npz is missing"):
        open_bundle(bundle)


def test_an_unlisted_file_is_refused(bundle):
    """Nothing may ride along, a pickle least of all."""
    (bundle / "extra.pt").write_bytes(b"x")
    with pytest.raises(BundleError, match="not listed"):
        open_bundle(bundle)


def test_the_embedding_is_hashed_and_must_be_there_when_the_card_states_its_bound(bundle):
    """A bundle without the section is an older one: it opens, and measures no such distance."""
    card = dict(open_bundle(bundle).card)
    assert len(open_bundle(bundle).embedding().mean) == 2048
    (bundle / EMBEDDING).unlink()
    with pytest.raises(BundleError, match=f"{EMBEDDING} is missing"):
        open_bundle(bundle)
    write_card(bundle, card)
    with pytest.raises(BundleError, match=f"lists no {EMBEDDING}"):
        open_bundle(bundle)
    del card["guard"]["embedding"]
    write_card(bundle, card)
    assert open_bundle(bundle).embedding() is None


def test_a_link_is_refused(bundle):
    """A file elsewhere can change after it was checked."""
    (bundle / "more.bin").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="link"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "format 99"),
        ({"network": {"height": 32, "width": 64, "depth": 3}}, "another version"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"threshold": "0.5"}, "threshold must be a number with"),
        ({"name": 7}, "name must be a text"),
        ({"version": 1.0}, "version must be a text"),
        ({"validation": "validated"}, "validation must be a table"),
        ({"validation": {}}, r"validation\.status must be a text"),
        ({"validation": {"status": True}}, r"validation\.status must be a text"),
        ({"golden": [0.1]}, "golden must be a table"),
        ({"files": ["weights.safetensors"]}, "files must be a table"),
        ({"preprocess": {"binarise": "magic"}}, "binarise"),
        ({"preprocess": {"input_height": 64, "input_width": 64}}, "input size"),
    ],
)
def test_an_incompatible_card_is_refused_with_the_reason(bundle, change, said):
    """Made by another version, or by hand."""
    import tomli_w

    card = open_bundle(bundle).card | change
    (bundle / CARD).write_text(tomli_w.dumps(card))
    with pytest.raises(BundleError, match=said):
        open_bundle(bundle)


def test_a_card_that_is_not_toml_or_not_there(bundle, tmp_path):
    """Two plain messages."""
    (bundle / CARD).write_text("a = [")
    with pytest.raises(BundleError, match="not TOML"):
        open_bundle(bundle)
    with pytest.raises(BundleError, match="no readable"):
        open_bundle(tmp_path / "nowhere")


def test_install_copies_a_verified_bundle_once(good, tmp_path):
    """Again is a no-op; another bundle of the same name and version is refused."""
    site = tmp_path / "site"
    first = install(good, site)
    assert first.path.name == "tiny-1"
    assert install(good, site).digest == first.digest
    assert [p.name for p in list_bundles(site)][:1] == ["tiny-1"]
    assert find_bundle("tiny-1", site) == first.path
    other = tmp_path / "other"
    shutil.copytree(good, other)
    write_card(other, open_bundle(other).card | {"summary": "changed"})
    with pytest.raises(BundleError, match="new version"):
        install(other, site)
    assert not [p for p in site.iterdir() if p.name.startswith(".")]


def test_what_an_installation_left_that_was_killed_is_no_bundle(good, tmp_path):
    """Its temporary folder holds a whole card, and may lack a file."""
    site = tmp_path / "site"
    digest = open_bundle(good).digest
    shutil.copytree(good, site / ".installing-abc123")
    assert not [path for path in list_bundles(site) if path.parent == site]
    assert path_of(digest, site) is None
    first = install(good, site)
    assert path_of(digest, site) == first.path


def test_a_damaged_bundle_is_not_installed(bundle, tmp_path):
    """The site's folder stays as it was."""
    flip(bundle / WEIGHTS)
    with pytest.raises(BundleError):
        install(bundle, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["../reference", "", ".hidden", "a/b", "nothere"])
def test_a_bundle_is_found_by_name_only(name, tmp_path):
    """No path reaches out of the bundles' folders."""
    with pytest.raises(BundleError):
        find_bundle(name, tmp_path)


def test_diff_lists_what_changed(good, bundle):
    """Dotted keys with both values."""
    card = open_bundle(bundle).card
    write_card(bundle, card | {"threshold": 0.25})
    assert diff(open_bundle(good), open_bundle(bundle)) == [("threshold", card["threshold"], 0.25)]


def test_an_unsigned_bundle_is_refused_where_a_key_is_trusted(bundle):
    """And so is one signed by another key or changed after signing."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    trusted = key.public_key().public_bytes_raw()
    with pytest.raises(BundleError, match="not signed"):
        open_bundle(bundle, trusted=trusted)
    sign(bundle, key.private_bytes_raw())
    assert open_bundle(bundle, trusted=trusted).signed
    with pytest.raises(BundleError, match="not by the trusted key"):
        open_bundle(bundle, trusted=other.public_key().public_bytes_raw())
    write_card(bundle, open_bundle(bundle).card | {"threshold": 0.1})
    assert not (bundle / SIGNATURE).exists()


def test_a_signature_goes_along_whether_or_not_it_is_checked(bundle, tmp_path):
    """It is brought later where it is missing; an unchecked one takes no other's place."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    trusted, site = key.public_key().public_bytes_raw(), tmp_path / "site"
    install(bundle, site)
    with pytest.raises(BundleError, match="not signed"):
        find_bundle("tiny-1", site, trusted)
    sign(bundle, key.private_bytes_raw())
    assert not install(bundle, site).signed
    assert open_bundle(find_bundle("tiny-1", site, trusted), trusted=trusted).signed
    sign(bundle, other.private_bytes_raw())
    install(bundle, site)
    assert find_bundle("tiny-1", site, trusted)
    installed = install(bundle, site, trusted=other.public_key().public_bytes_raw())
    assert installed.signed
    with pytest.raises(BundleError, match="not by the trusted key"):
        find_bundle("tiny-1", site, trusted)
    install(bundle, tmp_path / "other")
    assert (tmp_path / "other" / "tiny-1" / SIGNATURE).is_file()
