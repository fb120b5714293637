"""What an admin does to a gateway that is in use: let a cart in, move the threshold, restart it."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest
from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.sop_class import Verification
from support.gateway import COMMAND, SITE, until
from support.hospital import PEERS, Hospital, patient, waveform_file

from gateway.demo.chart import Result
from gateway.ecg import State

pytestmark = [pytest.mark.slow]
CALLING_NOT_RECOGNIZED, CALLED_NOT_RECOGNIZED = (1, 1, 3), (1, 1, 7)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""


def echo(port: int, calling: str, called: str = "ECG_GATEWAY") -> tuple[int, int, int] | None:
    """C-ECHO; None when it succeeds, else why the association was rejected.

    The rejection is read off the wire: pynetdicom 3.0 calls one that comes before it has looked at
    its own socket again a failed connection.
    """
    rejections: list[tuple[int, int, int]] = []

    def hear(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            told = event.pdu
            rejections.append((told.result, told.source, told.reason_diagnostic))

    ae = AE(ae_title=calling)
    ae.add_requested_context(Verification)
    ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = 30
    handlers = [(evt.EVT_PDU_RECV, hear)]
    association = ae.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers)
    if rejections:
        return rejections[0]
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    return None


def import_site(hospital: Hospital, folder: Path, alert: str = "", extra: str = "") -> None:
    """Give the gateway another site configuration with the command; its carts stay."""
    file = folder / "site.toml"
    file.write_text(SITE.format(ehr_port=hospital.ehr.port) + alert + PEERS + extra)
    where = ["--config", hospital.gateway.folder / "gateway.toml", "--data", hospital.gateway.data]
    done = subprocess.run(
        [COMMAND, "config", "import", file, *where],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def site_version(hospital: Hospital) -> str:
    return str(hospital.store.site.version())


def policy_of(result: Result) -> str:
    """The version of the site configuration that a result says it was made under."""
    found = re.search(rb"OBX\|\d+\|ST\|ECGAI-POLICY[^|]*\|1\|(\d+)", result.message)
    assert found, result.message
    return found[1].decode()


def test_a_cart_that_is_refused_is_let_in_without_a_restart(
    hospital: Hospital, tmp_path: Path
) -> None:
    """It hears why, the console lists it, and a new site version lets it in: same process."""
    port, processes = hospital.gateway.ports["dicom"], hospital.gateway.pids("listen")
    assert echo(port, "NEWCART") == CALLING_NOT_RECOGNIZED
    assert echo(port, "CART", called="OTHER") == CALLED_NOT_RECOGNIZED
    listed = hospital.page("/refusals")
    assert re.search(r"NEWCART</td>\s*<td>127\.0\.0\.1</td>\s*<td>calling AE title not", listed)
    assert re.search(r">CART</td>\s*<td>127\.0\.0\.1</td>\s*<td>called AE title not", listed)
    import_site(
        hospital, tmp_path, extra='[[dicom_peers]]\nname = "New cart"\nae_title = "NEWCART"\n'
    )
    until(lambda: echo(port, "NEWCART") is None, "the new cart to be let in")
    assert hospital.gateway.pids("listen") == processes


@pytest.mark.parametrize(("threshold", "number"), [("1e-6", 1000), ("0.999999", 5000)])
def test_the_site_threshold_decides_alert_or_plain_result(
    hospital: Hospital, tmp_path: Path, threshold: str, number: int
) -> None:
    """The same ECG is an alert under one threshold and filed under another, without a restart."""
    processes = hospital.gateway.pids("work")
    import_site(hospital, tmp_path, f"threshold = {threshold}\n")
    wanted, numbers = site_version(hospital), itertools.count(number)

    def reported() -> Result | None:
        person = patient(next(numbers))
        assert hospital.send(waveform_file(person, "stemi-anterior")).accepted
        result = hospital.result(person.id)
        return result if policy_of(result) == wanted else None

    result = until(reported, "a result under the new site version")
    assert result.alert == (threshold == "1e-6")
    assert result.processing == "T", "the bundle is not validated at this site"
    assert hospital.gateway.pids("work") == processes


def test_a_restart_in_the_middle_of_work_loses_nothing(hospital: Hospital) -> None:
    """SIGTERM with ECGs in flight ends with status 0; after the next start all are reported."""
    people = [patient(number) for number in range(300, 312)]
    for person in people:
        assert hospital.send(waveform_file(person)).accepted
    assert hospital.gateway.stop(60) == 0
    hospital.gateway.start()
    for person in people:
        hospital.result(person.id)
        assert hospital.outcome(person.id).state is State.REPORTED
    told = [result.patient_id for result in hospital.ehr.filing.results]
    assert all(told.count(person.id) == 1 for person in people)
