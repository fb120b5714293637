"""A site that sets `bundles_key` uses what is signed with it, and nothing else, at every door."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.arrivals import PATIENT, take
from support.bundles import tiny_bundle
from support.cli import invoke
from support.keys import make_keys

from config.documents import document_of
from config.loader import load_settings
from config.site import Model, Site
from gateway.cli import doctor
from gateway.demo import objects
from gateway.ecg import Score, State
from gateway.roles.console import _maps_of
from gateway.roles.model import load_scorer
from gateway.store import Outcome, open_store
from inference.bundle import open_bundle
from inference.errors import BundleError
from inference.installed import SHIPPED
from inference.simulate import simulate

NAME = "tiny-1"
SITE = f'[model]\nbundle = "{NAME}"\n'
TAKEN = objects.Taken(PATIENT, datetime(2026, 3, 1, 11, 58, tzinfo=UTC))
FILE = objects.waveform_file(simulate("stemi-anterior", 1), TAKEN).content


@pytest.fixture
def folder(tmp_path):
    """A signed bundle, installed before the site sets its key."""
    make_keys(tmp_path)
    config = tmp_path / "gateway.toml"
    config.write_text(
        'bundles_dir = "bundles"\n[worker]\nruntime = "openvino-fp32"\nthreads = 1\n', "utf-8"
    )
    invoke("bundle", "install", tiny_bundle(), "--config", config)
    invoke("bundle", "sign", NAME, "--key", tmp_path / "site.pem", "--config", config)
    config.write_text('bundles_key = "site.pub"\n' + config.read_text("utf-8"), "utf-8")
    (tmp_path / "site.toml").write_text(SITE, "utf-8")
    return tmp_path


def edit(folder: Path) -> None:
    """Lower the installed card's threshold by hand, so that the hashes of all files still fit."""
    card = folder / "bundles" / NAME / "card.toml"
    text = card.read_text("utf-8")
    threshold = open_bundle(card.parent).threshold
    assert text.count(f"\nthreshold = {threshold}\n") == 1
    card.write_text(text.replace(f"\nthreshold = {threshold}\n", "\nthreshold = 0.01\n"), "utf-8")
    assert open_bundle(card.parent).threshold == 0.01


def unsign(folder: Path) -> None:
    (folder / "bundles" / NAME / "card.sig").unlink()


def settings_in(folder: Path):
    return load_settings(folder / "gateway.toml", environ={})


def started(folder: Path, bundle: str = NAME):
    """A gateway that was started once; what scored its one ECG is the installed bundle."""
    settings = settings_in(folder)
    settings.data_dir.mkdir()
    store = open_store(settings.database_url, settings.data_dir / "blobs")
    document = document_of(Site(model=Model(bundle=bundle)))
    store.site.save(document, who="test", note="first", expected=0)
    return store


def scored(store, digest: str) -> str:
    """An ECG that the bundle of this digest scored."""
    ecg_id = take(store, "dicom:1.2.3", content=FILE).ecg_id
    assert store.ecgs.claim(ecg_id, "w", 60)
    score = Score(0.5, 0.5, True, "tiny", "1", digest, "openvino-fp32", False)
    assert store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=score), [])
    return ecg_id


SPOILED = [(edit, "card.toml was changed after it was signed"), (unsign, "not signed")]


def test_a_worker_uses_a_bundle_that_is_signed(folder):
    """And knows that it was checked."""
    assert load_scorer(settings_in(folder), NAME).bundle.signed


@pytest.mark.parametrize(("spoil", "why"), SPOILED)
def test_a_worker_refuses_what_was_edited_or_is_not_signed(folder, spoil, why):
    """Without the key the edited threshold would be served: the hashes cover other files only."""
    spoil(folder)
    with pytest.raises(BundleError, match=why):
        load_scorer(settings_in(folder), NAME)
    config = folder / "gateway.toml"
    config.write_text(config.read_text("utf-8").replace("bundles_key", "# bundles_key"), "utf-8")
    assert not load_scorer(settings_in(folder), NAME).bundle.signed


def test_the_shipped_bundle_is_refused_until_a_copy_is_signed(folder):
    """The message says how; the copy has the same digest, so that old scores can be replayed."""
    config = ("--config", folder / "gateway.toml")
    with pytest.raises(BundleError, match=r"reference: not signed.*of a shipped bundle a copy"):
        load_scorer(settings_in(folder), "reference")
    sign = ("bundle", "sign", "reference", "--key", folder / "site.pem", *config)
    assert "signed as a copy; say where with --out" in invoke(*sign, status=2)
    assert not (SHIPPED / "reference" / "card.sig").exists()
    invoke(*sign, "--out", folder / "copy")
    assert "exists already" in invoke(*sign, "--out", folder / "copy", status=2)
    name = invoke("bundle", "install", folder / "copy", *config).split()[-1]
    assert load_scorer(settings_in(folder), name).bundle.signed
    assert open_bundle(folder / "copy").digest == open_bundle(SHIPPED / "reference").digest


@pytest.mark.parametrize(("spoil", "why"), SPOILED)
def test_activate_import_and_rollback_refuse_it(folder, spoil, why):
    """What is in force stays in force."""
    config = ("--config", folder / "gateway.toml")
    with closing(started(folder)) as store:
        invoke("bundle", "activate", NAME, *config)
        other = document_of(Site(model=Model(bundle="other")))
        store.site.save(other, who="test", note="", expected=2)
        spoil(folder)
        with pytest.raises(BundleError, match=why):
            invoke("bundle", "activate", NAME, *config)
        for line in (("config", "import", folder / "site.toml"), ("config", "rollback", "1")):
            assert why in invoke(*line, *config, status=2)
        assert why in invoke("bundle", "rollback", *config, status=2)
        assert store.site.version() == 3


def test_replay_and_the_maps_of_the_console_refuse_it(folder):
    """Both find a bundle by the digest that its score names."""
    settings = settings_in(folder)
    digest = open_bundle(folder / "bundles" / NAME).digest
    role = SimpleNamespace(settings=settings)
    assert _maps_of(role, digest).bundle.signed
    with closing(started(folder)) as store:
        ecg_id = scored(store, digest)
    unsign(folder)
    with pytest.raises(BundleError, match="not signed"):
        _maps_of(role, digest)
    text = invoke("replay", ecg_id, "--config", folder / "gateway.toml", status=1)
    assert "cannot be scored again: tiny-1: not signed" in text


def test_score_takes_a_signed_bundle_by_name_and_any_by_its_directory(folder):
    """A directory is somebody's work in hand; a name is what the site installed."""
    (folder / "a.dcm").write_bytes(FILE)
    line = ("score", folder / "a.dcm", "--json", "--config", folder / "gateway.toml", "--bundle")
    [named] = json.loads(invoke(*line, NAME))
    unsign(folder)
    with pytest.raises(BundleError, match="not signed"):
        invoke(*line, NAME)
    [in_hand] = json.loads(invoke(*line, tiny_bundle()))
    assert in_hand["probability"] == named["probability"]
    told = invoke(*line, folder / "nowhere", status=2)
    assert "there is no bundle (card.toml) in this directory" in told


def test_doctor_and_check_config_say_it(folder):
    """The doctor of the version in force, check-config of the file that will be, or is named."""
    check = ("check-config", "--config", folder / "gateway.toml")
    model = lambda: doctor.model(settings_in(folder), NAME)  # noqa: E731 - read anew each time
    assert f'bundles_key = "{folder / "site.pub"}"' in invoke(*check, "--show")
    assert "signed with bundles_key" in model().found
    unsign(folder)
    assert "tiny-1: not signed" in model().found
    assert not model().ok
    assert "model.bundle = 'tiny-1': tiny-1: not signed" in invoke(*check, status=2)
    started(folder).close()
    invoke(*check)  # the database names the bundle now
    assert "not signed" in invoke(*check, "--site", folder / "site.toml", status=2)


def test_list_verify_and_install_ask_for_the_same_key(folder, tmp_path):
    """`--key` is not needed where the settings name one."""
    config = ("--config", folder / "gateway.toml")
    rows = invoke("bundle", "list", *config)
    assert "✗ reference: not signed" in " ".join(rows.split())
    assert rows.count("✓") == 1
    assert "✓ signed with this key" in invoke("bundle", "verify", NAME, "--no-run", *config)
    with pytest.raises(BundleError, match="not signed"):
        invoke("bundle", "verify", tiny_bundle(), "--no-run", *config)
    shutil.rmtree(folder / "bundles")
    with pytest.raises(BundleError, match="not signed"):
        invoke("bundle", "install", tiny_bundle(), *config)
    assert not (folder / "bundles").exists()
