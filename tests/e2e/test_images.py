"""The container images: built for real where no Docker engine runs, and the compose files read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
CPU_TARGETS = ("listen", "work", "deliver", "console")


class Buildah:
    """Buildah with a store of its own, chroot isolation and nothing pulled."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def __call__(self, command: str, *args: str, timeout_s: float = 900) -> str:
        done = subprocess.run(
            [
                "buildah",
                f"--root={self.store / 'root'}",
                f"--runroot={self.store / 'run'}",
                command,
                *args,
            ],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, (
            f"buildah {command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
        return done.stdout.strip()


def _pip_settings(folder: Path) -> list[str]:
    """Let pip inside the image trust what this machine trusts."""
    host = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    folder.mkdir()
    shutil.copy(host, folder / "ca.crt")
    (folder / "pip.conf").write_text("[global]\ncert = /etc/xdg/pip/ca.crt\n")
    return [f"--volume={folder}:/etc/xdg/pip:ro"]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """A store that holds the Dockerfile's base image, made by debootstrap under its name."""
    if os.geteuid() != 0:
        pytest.skip("building images without a Docker engine needs root here")
    folder = tmp_path_factory.mktemp("images")
    tool = Buildah(folder)
    rootfs = folder / "rootfs"
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(rootfs)],
        check=True,
        capture_output=True,
        timeout=900,
    )
    sources = Path("/etc/apt/sources.list")
    if sources.is_file():
        shutil.copy(sources, rootfs / "etc/apt/sources.list")
    for conf in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(conf, rootfs / "etc/apt/apt.conf.d" / conf.name)
    container = tool("from", "scratch")
    tool("add", "--quiet", container, str(rootfs), "/")
    tool("commit", "--quiet", "--rm", container, BASE_IMAGE)
    shutil.rmtree(rootfs)
    yield tool
    tool("rm", "--all")
    tool("rmi", "--all", "--force")


@pytest.mark.image
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_cpu_targets_build_and_run(buildah: Buildah, tmp_path: Path) -> None:
    """Each CPU target builds, and its command answers inside the image as the image's own user."""
    volumes = _pip_settings(tmp_path / "pip")
    for target in CPU_TARGETS:
        image = f"ecg-gateway-{target}"
        buildah(
            "bud",
            "--isolation=chroot",
            "--pull-never",
            "--layers",
            "--quiet",
            f"--target={target}",
            f"--tag={image}",
            "--file=docker/Dockerfile",
            *volumes,
            ".",
        )
        container = buildah("from", "--pull-never", image)
        run = ("run", "--isolation=chroot", "--user=ecg", container, "--")
        assert target in buildah(*run, "ecg-gateway", target, "--help")
        assert "ok" in buildah(*run, "ecg-gateway", "check-config").lower()
        buildah("rm", container)


@pytest.mark.image
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_worker_image_scores_without_torch(buildah: Buildah, tmp_path: Path) -> None:
    """The work image scores pydicom's real recording with what it ships, and holds no torch."""
    container = buildah("from", "--pull-never", "ecg-gateway-work")
    run = ("run", "--isolation=chroot", "--user=ecg", container, "--")
    find = "from pydicom.data import get_testdata_file as g; print(g('waveform_ecg.dcm'))"
    path = buildah(*run, "/opt/ecg-gateway/bin/python", "-c", find)
    assert '"probability"' in buildah(*run, "ecg-gateway", "score", "--json", path)
    has_torch = "import importlib.util as u; print(u.find_spec('torch'))"
    assert buildah(*run, "/opt/ecg-gateway/bin/python", "-c", has_torch) == "None"
    buildah("rm", container)


def _compose(name: str) -> dict:
    return yaml.safe_load((ROOT / "docker" / name).read_text())


def test_compose_names_every_role_and_target() -> None:
    """compose.yaml runs the four roles, Redis and PostgreSQL, each built target exists."""
    services = _compose("compose.yaml")["services"]
    assert set(services) == {"listen", "work", "deliver", "console", "redis", "postgres"}
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    gpu = _compose("compose.gpu.yaml")["services"]
    for service in [*services.values(), *gpu.values()]:
        if "build" in service:
            assert f" AS {service['build']['target']}\n" in dockerfile
            assert (ROOT / "docker" / service["build"]["context"]).resolve() == ROOT


def test_compose_environment_is_understood() -> None:
    """Every variable that the compose files and the Dockerfile set is a setting that exists."""
    from config.settings import Settings

    services = _compose("compose.yaml")["services"]
    names = {
        key
        for service in services.values()
        for key in service.get("environment", {})
        if key.startswith("ECG_GATEWAY__")
    }
    assert names
    for name in names:
        model = Settings
        *path, last = name.removeprefix("ECG_GATEWAY__").lower().split("__")
        for part in path:
            model = model.model_fields[part].annotation
        assert last.removesuffix("_file") in model.model_fields, name


def test_published_ports_are_loopback_or_listeners() -> None:
    """Only the DICOM and HL7 listeners are published beyond this host."""
    services = _compose("compose.yaml")["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert name == "listen" or port.startswith("127.0.0.1:"), (name, port)
