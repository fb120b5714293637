"""The `deliver` role in a thread: what becomes of deliveries when a destination leaves the site."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.arrivals import PATIENT, SCORE, delivery, take
from support.hl7 import inbox_on, msh, wire
from support.processes import wait_for

from config.documents import document_of, parse_site
from config.loader import load_settings
from config.site import Site
from gateway.ecg import DeliveryState, Encounter, State
from gateway.hl7.reading import read
from gateway.roles.deliver import bury, deliver, late
from gateway.roles.process import Role
from gateway.roles.site_watch import SiteWatch
from gateway.store import DeliveryRow, Outcome, Store

DESTINATION = """
[[destinations]]
name = "{name}"
host = "127.0.0.1"
port = 9
test = {test}
retry_first_s = 0.1
retry_max_s = 0.1
"""


@pytest.fixture
def role(store: Store, tmp_path: Path) -> Iterator[Role]:
    """The role with site version 1: destinations EHR and lab, where nobody listens."""
    save(store, "EHR", "lab")
    with ExitStack() as closing_:
        watch = SiteWatch(store.site, poll_s=0.05)
        watch.start()
        closing_.callback(watch.stop)
        settings = load_settings(None, data_dir=tmp_path)
        settings.run_dir.mkdir()
        yield Role("deliver", settings, store, watch, threading.Event(), closing_)


@pytest.fixture
def running(role: Role) -> Iterator[Role]:
    thread = threading.Thread(target=deliver, args=(role,))
    thread.start()
    yield role
    role.stop.set()
    thread.join(60)
    assert not thread.is_alive()


def save(store: Store, *names: str, mode: str = "shadow", live: str = "") -> Site:
    """Put a site with these test destinations, and perhaps a live one, in force."""
    text = '[[hl7_peers]]\nname = "ADT"\n'
    text += "".join(DESTINATION.format(name=name, test="true") for name in names)
    text += DESTINATION.format(name=live, test="false") if live else ""
    site = parse_site(f'{text}[model]\nmode = "{mode}"\n', "test")
    store.site.save(document_of(site), who="t", note="", expected=None)
    return site


def queue(store: Store, destination: str) -> int:
    """Queue a result; give the delivery's id."""
    ecg_id = take(store, f"dicom:{destination}").ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    payload = store.blobs.put(b"MSH|^~\\&|\rPID|1||P1^^^^PI||Test^Anna\r")
    told = [delivery(f"C-{destination}", destination, payload=payload, patient_key="")]
    store.ecgs.finish(ecg_id, "w", Outcome(State.SCORED, score=SCORE), told)
    return store.deliveries.of_ecg(ecg_id)[0].id


def tried(store: Store, destination: str) -> int:
    """Queue a message and wait until it was tried in vain."""
    delivery = queue(store, destination)
    wait_for(lambda: store.deliveries.get(delivery).attempts >= 1, "an attempt")
    return delivery


def dead(store: Store, delivery_id: int) -> DeliveryRow | None:
    """Give the delivery once it is dead."""
    row = store.deliveries.get(delivery_id)
    return row if row.state is DeliveryState.DEAD else None


def test_a_removed_destination_leaves_dead_letters_that_can_be_resent(running: Role):
    """The other destination's results go on waiting; after the return nothing is lost."""
    store = running.store
    ehr, lab = queue(store, "EHR"), queue(store, "lab")
    wait_for(lambda: store.deliveries.get(lab).attempts >= 2, "attempts")
    save(store, "EHR")
    row = wait_for(lambda: dead(store, lab), "the dead letter")
    assert row.last_error == "destination-removed"
    assert store.deliveries.get(ehr).state is not DeliveryState.DEAD
    assert [letter.id for letter in store.deliveries.dead_letters(10)] == [lab]
    save(store, "EHR", "lab")
    wait_for(lambda: running.site.version == 3, "the return")
    assert store.deliveries.resend(lab)
    wait_for(lambda: store.deliveries.get(lab).attempts >= 2, "attempts after the return")
    assert store.deliveries.get(lab).state is not DeliveryState.DEAD


def test_what_waited_for_a_destination_that_is_gone_at_the_start(role: Role):
    """A site that changed while nobody delivered is taken up at the start."""
    lost = queue(role.store, "renamed")
    thread = threading.Thread(target=deliver, args=(role,))
    thread.start()
    try:
        assert wait_for(lambda: dead(role.store, lost), "the dead letter")
    finally:
        role.stop.set()
        thread.join(60)


def test_only_the_version_in_force_buries(role: Role):
    """A courier that has not seen the newest site does not kill what was queued under it."""
    queued = queue(role.store, "new")
    before = role.site.site
    after = save(role.store, "EHR", "new")
    bury(role, before, version=1)
    assert role.store.deliveries.get(queued).state is DeliveryState.PENDING
    bury(role, after, version=2)
    assert role.store.deliveries.get(queued).state is DeliveryState.PENDING


@pytest.mark.parametrize(("mode", "stopped"), [("off", {"EHR", "lab"}), ("shadow", {"EHR"})])
def test_a_mode_that_tells_less_stops_what_waits(role: Role, mode: str, stopped: set[str]):
    """Off sends nothing more, shadow nothing more to live systems; both hold it with the reason."""
    store = role.store
    site = save(store, "lab", mode="live", live="EHR")
    waiting = {name: queue(store, name) for name in ("EHR", "lab")}
    bury(role, site, version=2)
    assert store.deliveries.dead_letters(10) == []
    bury(role, save(store, "lab", mode=mode, live="EHR"), version=3)
    letters = {letter.destination: letter.last_error for letter in store.deliveries.dead_letters(9)}
    assert letters == dict.fromkeys(stopped, f"mode-{mode}")
    assert all(store.deliveries.resend(waiting[name]) for name in stopped)


def test_adt_that_contradicts_a_waiting_result_holds_it(running: Role):
    """While the EHR was away ADT corrected the patient: the old name is not sent any more."""
    store = running.store
    lab = tried(store, "lab")
    other = replace(PATIENT, family="Other")
    store.encounters.put(PATIENT.id, "", Encounter("V1"), datetime.now(UTC), other)
    row = wait_for(lambda: dead(store, lab), "the dead letter")
    assert row.last_error == "patient-mismatch-family"


@pytest.mark.parametrize("kept", [True, False])
def test_a_late_result_carries_the_pdf_that_was_made_with_the_score(role: Role, kept: bool):
    """What takes an alert's place has the same bytes; a lost PDF does not keep it back."""
    store, content = role.store, b"%PDF-1.4 of a test"
    document = document_of(role.site.site)
    document["destinations"][0]["pdf"] = "embed"
    store.site.save(document, who="t", note="", expected=None)
    wait_for(lambda: role.site.version == 2, "the site")
    ecg_id = take(store, acquired_at=datetime(2020, 3, 1, tzinfo=UTC)).ecg_id
    store.ecgs.claim(ecg_id, "w", 60)
    digest = store.blobs.put(content) if kept else "0" * 64
    outcome = Outcome(State.SCORED, score=SCORE, images={"result": digest})
    store.ecgs.finish(ecg_id, "w", outcome, [delivery("C1", "EHR", alert=True)])
    told = late(role, store.deliveries.of_ecg(ecg_id)[0])
    assert told is not None
    message = read(store.blobs.get(told.payload))
    found = {obx.get("3.1"): obx for obx in message.all("OBX")}
    assert found["ECGAI-NOTICE"].get("5.1") == "late"
    assert ("ECGAI-PDF" in found) is kept
    if kept:
        assert base64.b64decode(found["ECGAI-PDF"].get("5.5")) == content


def test_a_patient_merged_while_a_result_waits_is_renamed_in_it(running: Role):
    """The EHR was away when A40 came: what it gets once it is back names the record left."""
    store = running.store
    lab = tried(store, "lab")
    merge = wire(msh("ADT^A40", "A1"), "EVN|A40", "PID|1||P9^^^HOSP||Test^Anna", "MRG|P1")
    assert inbox_on(store).handle(merge, "127.0.0.1").code == "AA"

    def payload() -> bytes:
        return store.blobs.get(store.deliveries.get(lab).payload)

    wait_for(lambda: b"P9" in payload(), "the new identifier")
    assert payload() == b"MSH|^~\\&|\rPID|1||P9^^^HOSP^PI||Test^Anna\r"
    assert store.deliveries.get(lab).state is not DeliveryState.DEAD


def test_a_source_that_is_switched_off_stops_with_what_waits(running: Role):
    """The couriers go on, but what waits of that cart is held with the reason."""
    store = running.store
    lab = tried(store, "lab")
    document = document_of(running.site.site)
    cart = {"name": "Cart", "ae_title": "CART1", "mode": "off"}
    store.site.save({**document, "dicom_peers": [cart]}, who="t", note="", expected=None)
    row = wait_for(lambda: dead(store, lab), "the dead letter")
    assert row.last_error == "mode-off"


def test_switching_off_stops_the_couriers(running: Role):
    """Once mode off is in force nobody tries any more, and on again what is resent is tried."""
    store = running.store
    lab = tried(store, "lab")
    save(store, "EHR", "lab", mode="off")
    row = wait_for(lambda: dead(store, lab), "the dead letter")
    assert row.last_error == "mode-off"
    save(store, "EHR", "lab")
    wait_for(lambda: running.site.version == 3, "the mode that sends")
    assert store.deliveries.resend(lab)
    wait_for(lambda: store.deliveries.get(lab).attempts >= 2, "attempts in shadow mode")
