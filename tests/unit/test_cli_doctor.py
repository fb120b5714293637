"""What `doctor` finds on installations that are well and that are not."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from config.loader import load_settings
from config.settings import Settings
from config.site import Destination, Site
from gateway.cli import doctor
from gateway.cli.doctor import Finding
from gateway.readiness import PORTS, write_json
from gateway.roles.serve import is_running, locked
from gateway.store import open_store
from inference.errors import BundleError

LOOPBACK = """
[dicom]
host = "127.0.0.1"
port = 0
[hl7]
host = "127.0.0.1"
port = 0
[console]
port = 0
"""


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.roles.model.load_scorer", lambda *_: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text(LOOPBACK, "utf-8")
    return tmp_path


def examined(folder: Path, **environ: str) -> dict[str, Finding]:
    config = folder / "gateway.toml"
    settings = load_settings(config, environ=environ)
    return {found.what: found for found in doctor.examine(settings, config)}


def test_a_fresh_installation_lacks_senders_and_destinations_only(folder: Path):
    """Everything that the software itself brings works before the first start."""
    found = examined(folder)
    assert {what for what, each in found.items() if not each.ok} == {"senders", "destinations"}
    assert "[[dicom_peers]]" in found["senders"].advice
    assert not (folder / "data").exists(), "looking changes nothing"


def test_a_taken_port_is_told_with_what_to_do(folder: Path):
    """The port and the key that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        found = examined(folder, ECG_GATEWAY__HL7__PORT=port)["port hl7"]
    assert not found.ok
    assert port in found.found
    assert "hl7.port" in found.advice


def test_a_port_of_the_running_gateway_is_fine(folder: Path):
    """Ports count as held only while a supervisor holds the lock."""
    settings = load_settings(folder / "gateway.toml", environ={})
    with locked(settings):
        assert is_running(settings)
        write_json(settings.run_dir / PORTS, {"dicom": 4242})
        assert "4242, held by the running gateway" in examined(folder)["port dicom"].found
    assert not is_running(settings)
    assert "held" not in examined(folder)["port dicom"].found


def test_a_broker_that_does_not_answer_is_told_without_its_password(folder: Path):
    """The URL is shown masked."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    url = f"redis://:hush@127.0.0.1:{port}/0"
    found = examined(folder, ECG_GATEWAY__BROKER__URL=url)["broker"]
    assert not found.ok
    assert "hush" not in found.found


def test_a_data_directory_path_that_is_too_long_is_told(folder: Path):
    """A Unix socket's path has a limit that surprises people."""
    long = str(folder / ("x" * 100))
    found = examined(folder, ECG_GATEWAY__DATA_DIR=long)["broker"]
    assert not found.ok
    assert "choose a shorter data directory" in found.found


def test_a_reserve_above_the_free_space_is_told(folder: Path):
    """Senders would be put off, so the doctor says so."""
    found = examined(folder, ECG_GATEWAY__STORAGE__DISK_RESERVE_MB="999999999")["disk"]
    assert not found.ok
    assert "disk_reserve_mb" in found.advice
    assert "MB used" in found.found


def test_destinations_are_tried(folder: Path):
    """One that listens, one that does not."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        found = list(doctor.peers(Site(destinations=(_destination("EHR", port),))))
    assert (found[0].ok, found[0].what) == (True, "destination EHR")
    [found] = doctor.peers(Site(destinations=(_destination("EHR", port),)))
    assert not found.ok


def _destination(name: str, port: int) -> Destination:
    return Destination(name=name, host="127.0.0.1", port=port)


def test_a_bad_site_file_is_told_by_line(folder: Path):
    """The same message as `check-config` gives."""
    (folder / "site.toml").write_text("[alert]\nthreshold = 2\n", "utf-8")
    found = examined(folder)["site configuration"]
    assert not found.ok
    assert "line 2: alert.threshold = 2" in found.found


def test_a_bundle_that_fails_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The reason of the bundle's own check is shown."""

    def refuse(*_: object) -> None:
        raise BundleError("weights.safetensors is damaged")

    monkeypatch.setattr("gateway.roles.model.load_scorer", refuse)
    found = examined(folder)["model"]
    assert not found.ok
    assert "weights.safetensors is damaged" in found.found


@pytest.fixture
def started(folder: Path) -> Settings:
    settings = load_settings(folder / "gateway.toml", environ={})
    settings.data_dir.mkdir()
    with closing(open_store(settings.database_url, settings.data_dir / "blobs")) as store:
        store.site.save({"facility": "STORED"}, who="test", note="", expected=0)
    return settings


def test_the_version_in_force_is_examined_not_the_file(folder: Path, started: Settings):
    """After the first start the database holds the truth."""
    (folder / "site.toml").write_text("[alert]\nthreshold = 2\n", "utf-8")
    found = examined(folder)
    assert found["site configuration"].found == "valid: version 1"
    assert found["database"].found == "sqlite, ECGs: 0"
