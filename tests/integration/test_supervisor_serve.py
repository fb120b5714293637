"""`ecg-gateway serve` as a person or systemd starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from support.gateway import COMMAND, SETTINGS, SITE, RunningGateway, until
from support.processes import gone, wait_for

from gateway import embedded_broker, supervisor

EHR_PORT = 9  # nobody needs to be there


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    running = RunningGateway(tmp_path, EHR_PORT)
    yield running
    running.kill_all()


def command(gateway: RunningGateway, *line: str) -> subprocess.CompletedProcess[str]:
    places = ["--config", str(gateway.folder / "gateway.toml"), "--data", str(gateway.data)]
    return subprocess.run(
        [str(COMMAND), *line, *places], capture_output=True, text=True, check=False, timeout=120
    )


def echo(port: int, calling: str) -> bool:
    """Tell whether C-ECHO succeeds for a calling AE title."""
    ae = AE(ae_title=calling)
    ae.add_requested_context(Verification)
    ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = 20
    association = ae.associate("127.0.0.1", port, ae_title="ECG_GATEWAY")
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


def has_said(gateway: RunningGateway, words: str) -> bool:
    return any(line.startswith(words) for line in gateway.output.read_text().splitlines())


def test_serve_runs_every_role_and_stops_within_ten_seconds(gateway: RunningGateway):
    """One line per role, ports on loopback that answer, exit status 0, nothing left behind."""
    gateway.start()
    for role in ("broker", "listen", "work-1", "deliver", "console"):
        until(partial(has_said, gateway, f"{role:<9} ready"), f"{role} to be ready")
    ports = gateway.ports
    assert echo(ports["dicom"], "CART")
    socket.create_connection(("127.0.0.1", ports["hl7"]), 20).close()
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['console']}/health/ready") as answer:
        assert json.load(answer)["status"] == "ok"
    pids = [gateway.pids(role)[0] for role in ("listen", "work", "deliver", "console")]
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(60) == 0
    assert supervisor.STOP_S + embedded_broker.STOP_S <= 10, "the promised end of waiting"
    assert all(gone(pid) for pid in pids)
    assert has_said(gateway, "gateway   stopped")
    assert "killed" not in gateway.output.read_text()
    assert sorted(path.name for path in (gateway.data / "run").iterdir()) in ([], ["lock"])


def test_a_second_start_is_refused_by_name_and_ctrl_c_stops_the_first(gateway: RunningGateway):
    """Two supervisors on one data directory would fight; SIGINT is as good as SIGTERM."""
    gateway.start()
    second = command(gateway, "serve")
    assert second.returncode == 1
    assert f"(process {gateway.process.pid}) already runs on {gateway.data}" in second.stderr
    assert gateway.pids("listen"), "the first one goes on"
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(60) == 0


def test_a_new_site_version_is_applied_without_a_restart(gateway: RunningGateway, tmp_path: Path):
    """A cart that is not known is refused, is imported, and is let in by the same process."""
    gateway.start()
    port, pid = gateway.ports["dicom"], gateway.pids("listen")
    assert not echo(port, "CART2")
    exported = command(gateway, "config", "export").stdout
    assert tomllib.loads(exported)["dicom_peers"][0]["ae_title"] == "CART"
    changed = tmp_path / "new.toml"
    extra = '\n[[dicom_peers]]\nname = "Cart 2"\nae_title = "CART2"\n'
    changed.write_text(SITE.format(ehr_port=EHR_PORT) + extra, "utf-8")
    imported = command(gateway, "config", "import", str(changed))
    assert imported.returncode == 0, imported.stderr
    wait_for(lambda: echo(port, "CART2"), "the new cart to be let in")
    assert gateway.pids("listen") == pid
    doctor = command(gateway, "doctor").stdout
    assert f"{port}, held by the running gateway" in doctor
    assert "✗   destination EHR" in doctor


def test_a_taken_port_ends_the_start_with_a_sentence(tmp_path: Path):
    """No restart loop for what a restart cannot mend; exit status 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = SETTINGS.replace(
            '[hl7]\nhost = "127.0.0.1"\nport = 0', f'[hl7]\nhost = "127.0.0.1"\nport = {port}'
        )
        gateway = RunningGateway(tmp_path, EHR_PORT, settings=settings)
        done = command(gateway, "serve")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"hl7.port = {port} on 127.0.0.1: Address already in use" in done.stderr
    assert "listen    cannot work as configured" in done.stdout


def test_a_bad_site_file_ends_the_start_with_its_line(tmp_path: Path):
    """The first start validates the site file before any role starts."""
    gateway = RunningGateway(tmp_path, EHR_PORT, site=SITE.replace('"CART"', '"A\\\\B"'))
    done = command(gateway, "serve")
    assert done.returncode == 2
    assert "line 4: dicom_peers[0].ae_title" in done.stderr
    assert "ready" not in done.stdout


def test_a_bad_bundle_stops_no_listener_and_is_healed_by_an_import(tmp_path: Path):
    """Without a usable model ECGs are still accepted; the worker starts once one is named."""
    site = SITE + '[model]\nbundle = "nosuch"\n'
    gateway = RunningGateway(tmp_path, EHR_PORT, site=site)
    line = "work-1    cannot work as configured: model.bundle = 'nosuch': no bundle 'nosuch'"
    try:
        gateway.start(workers=False)
        until(lambda: line in gateway.output.read_text(), "the worker's trouble to be told", 120)
        assert echo(gateway.ports["dicom"], "CART")
        fixed = tmp_path / "fixed.toml"
        fixed.write_text(SITE.format(ehr_port=EHR_PORT), "utf-8")
        imported = command(gateway, "config", "import", str(fixed))
        assert imported.returncode == 0, imported.stderr
        until(lambda: gateway.pids("work"), "the worker to start with the fixed site", 200)
        assert gateway.stop() == 0
    finally:
        gateway.kill_all()


def test_three_processes_share_the_dicom_port(tmp_path: Path):
    """`dicom.processes = 3`: one port, three listeners, all end together."""
    settings = SETTINGS.replace("[dicom]\n", "[dicom]\nprocesses = 3\n")
    gateway = RunningGateway(tmp_path, EHR_PORT, settings=settings)
    try:
        gateway.start()
        wait_for(lambda: len(gateway.pids("listen")) == 3, "three listeners")
        pids = gateway.pids("listen")
        assert all(echo(gateway.ports["dicom"], "CART") for _ in range(6))
        os.kill(gateway.process.pid, signal.SIGKILL)
        gateway.process.wait(30)
        wait_for(lambda: all(gone(pid) for pid in pids), "the listeners to end")
    finally:
        gateway.kill_all()
