"""The site configuration: versions in the database, the commands, and a running process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.processes import wait_for
from typer.testing import CliRunner

from config.errors import ConfigError
from config.site import Site
from gateway.cli.app import make_app
from gateway.roles.site_values import destinations, dicom_peers, hl7_peers, result_site
from gateway.roles.site_watch import SiteWatch, first_version
from gateway.store import Store, open_store

SITE = """
facility = "GENERAL"
[[dicom_peers]]
name = "Cart 1"
ae_title = "CART1"
addresses = ["10.1.0.0/16"]
[[hl7_peers]]
name = "Engine"
sending_application = "ENGINE"
[[destinations]]
name = "EHR"
host = "127.0.0.1"
port = 2575
test = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text('bundles_dir = "bundles"\n', "utf-8")
    (tmp_path / "site.toml").write_text(SITE, "utf-8")
    install(tmp_path, "reference")
    return tmp_path


def install(folder: Path, name: str) -> None:
    """Make a folder that looks like a bundle: nothing here loads it."""
    (folder / "bundles" / name).mkdir(parents=True)
    (folder / "bundles" / name / "card.toml").touch()


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    (folder / "data").mkdir()
    url = f"sqlite:///{folder / 'data' / 'gateway.sqlite3'}"
    with closing(open_store(url, folder / "data" / "blobs")) as opened:
        yield opened


@pytest.fixture
def command(folder: Path, store: Store):
    def run(*line: str, status: int = 0) -> str:
        config = ["--config", str(folder / "gateway.toml")]
        result = CliRunner().invoke(make_app(), ["config", *line, *config], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result.output

    first_version(store.site, folder / "gateway.toml")
    return run


def test_the_file_beside_the_settings_becomes_version_one(folder: Path, store: Store):
    """The first start imports it; later starts leave the database alone."""
    first_version(store.site, folder / "gateway.toml")
    (folder / "site.toml").write_text('facility = "OTHER"\n', "utf-8")
    first_version(store.site, folder / "gateway.toml")
    version = store.site.current()
    assert version.version == 1
    assert version.document["facility"] == "GENERAL"
    assert "site.toml" in version.note


def test_starters_that_race_make_one_version(folder: Path, store: Store):
    """Roles that start at once on an empty database agree on version 1."""
    threads = [
        threading.Thread(target=first_version, args=(store.site, folder / "gateway.toml"))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert store.site.version() == 1


def test_a_bad_first_file_is_told_and_nothing_is_stored(folder: Path, store: Store):
    """The message names the line."""
    (folder / "site.toml").write_text('ae_title = "A_TITLE_THAT_IS_TOO_LONG"\n', "utf-8")
    with pytest.raises(ConfigError, match="line 1: ae_title"):
        first_version(store.site, folder / "gateway.toml")
    assert store.site.version() == 0


def test_a_running_process_applies_a_new_version(folder: Path, store: Store):
    """The watch finds it by itself and tells its subscribers."""
    first_version(store.site, folder / "gateway.toml")
    watch = SiteWatch(store.site, poll_s=0.05)
    told: list[Site] = []
    watch.subscribe(told.append)
    watch.start()
    try:
        document = {**store.site.current().document, "facility": "NEW"}
        store.site.save(document, who="test", note="", expected=1)
        wait_for(lambda: told, "the new version")
    finally:
        watch.stop()
    assert (watch.version, watch.site.facility, told[0].facility) == (2, "NEW", "NEW")


def test_a_version_that_cannot_be_read_is_not_applied(folder: Path, store: Store):
    """A document of a newer software leaves the one in force; the next good one is applied."""
    first_version(store.site, folder / "gateway.toml")
    watch = SiteWatch(store.site, poll_s=0.05)
    watch.start()
    try:
        store.site.save({"colour": "blue"}, who="test", note="", expected=1)
        store.site.save({"facility": "GOOD"}, who="test", note="", expected=2)
        wait_for(lambda: watch.version == 3, "the good version")
    finally:
        watch.stop()
    assert watch.site.facility == "GOOD"


def test_a_failing_subscriber_does_not_stop_the_watch(folder: Path, store: Store):
    """One room's trouble with a version is logged; the others get it, and the next one."""
    first_version(store.site, folder / "gateway.toml")
    watch = SiteWatch(store.site, poll_s=0.05)
    told: list[Site] = []
    watch.subscribe(lambda _: int("x"))
    watch.subscribe(told.append)
    watch.start()
    try:
        store.site.save({"facility": "A"}, who="test", note="", expected=None)
        wait_for(lambda: len(told) == 1, "the first version")
        store.site.save({"facility": "B"}, who="test", note="", expected=None)
        wait_for(lambda: len(told) == 2, "the second version")
    finally:
        watch.stop()


def test_the_rooms_get_their_values(folder: Path, store: Store):
    """Every key of the document reaches the room that needs it."""
    first_version(store.site, folder / "gateway.toml")
    site = SiteWatch(store.site).site
    [cart], [engine], [ehr] = dicom_peers(site), hl7_peers(site), destinations(site)
    assert (cart.ae_title, cart.addresses) == ("CART1", ("10.1.0.0/16",))
    assert engine.sends_as("ENGINE^ANY")
    assert (ehr.host, ehr.port, ehr.test) == ("127.0.0.1", 2575, True)
    results = result_site(site, 7)
    assert (results.version, results.mode, results.destinations) == (7, "shadow", (ehr,))
    assert (results.authority, results.zone) == ("", None)
    told = site.model_copy(update={"identifier_authority": "HOSP", "timezone": "Europe/Berlin"})
    results = result_site(told, 8)
    assert (results.authority, str(results.zone)) == ("HOSP", "Europe/Berlin")


def test_export_diff_import_and_rollback(folder: Path, store: Store, command):
    """The whole round: each change is a version with who and why, and can be taken back."""
    exported = command("export")
    assert 'ae_title = "CART1"' in exported
    file = folder / "new.toml"
    file.write_text(exported.replace("CART1", "CART9"), "utf-8")
    shown = command("diff", str(file), status=1)
    assert '+    ae_title = "CART9"' in shown or '+ae_title = "CART9"' in shown
    assert store.site.version() == 1
    assert "+" in command("import", str(file), "--dry-run")
    assert store.site.version() == 1
    assert "version 2 is in force" in command("import", str(file), "--note", "cart renamed")
    assert store.site.current().document["dicom_peers"][0]["ae_title"] == "CART9"
    assert "nothing changes" in command("import", str(file))
    assert "cart renamed" in command("history")
    assert "version 3 is in force, as version 1 was" in command("rollback", "1")
    assert command("export") == exported
    assert command("diff", "--with", "3", "--version", "1") == ""


def test_a_bad_import_changes_nothing(folder: Path, store: Store, command):
    """The document is validated as a whole, before anything is stored."""
    file = folder / "bad.toml"
    file.write_text(SITE.replace("2575", "0"), "utf-8")
    with pytest.raises(ConfigError, match=r"bad.toml, line 13: destinations\[0\].port = 0"):
        command("import", str(file))
    assert store.site.version() == 1


def test_a_bundle_that_is_not_installed_is_refused(folder: Path, store: Store, command):
    """Import and rollback say where they looked, and leave in force what is in force."""
    file = folder / "new.toml"
    file.write_text(SITE + '[model]\nbundle = "own-1"\n', "utf-8")
    told = command("import", str(file), status=2)
    assert "model.bundle = 'own-1': no bundle 'own-1' is installed" in told
    assert f"looked in {folder / 'bundles'} (bundles_dir)" in told
    assert "model.bundle" in command("import", str(file), "--dry-run", status=2)
    assert store.site.version() == 1
    install(folder, "own-1")
    command("import", str(file))
    command("rollback", "1")
    (folder / "bundles" / "own-1" / "card.toml").unlink()
    assert "no bundle 'own-1' is installed" in command("rollback", "2", status=2)
    assert store.site.version() == 3


def test_wrong_use_is_told(store: Store, command):
    """Unknown versions fail with 1, wrong use with 2."""
    assert "no version 9" in command("rollback", "9", status=1)
    assert "name either" in command("diff", status=2)


def test_init_writes_the_commented_defaults_and_overwrites_nothing(tmp_path: Path):
    """A newcomer starts from files that explain themselves."""
    runner, app = CliRunner(), make_app()
    assert runner.invoke(app, ["config", "init", str(tmp_path / "etc")]).exit_code == 0
    assert "# Process settings" in (tmp_path / "etc" / "gateway.toml").read_text("utf-8")
    again = runner.invoke(app, ["config", "init", str(tmp_path / "etc")])
    assert again.exit_code == 1
    assert "is kept" in again.output
