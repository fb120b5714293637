"""The console and the EHR's page in a real browser: Debian's Chromium, headless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from support import dicom, pdf
from support.hospital import (
    Hospital,
    patient,
    pdf_file,
    picture_file,
    png_message,
    taken,
    waveform_file,
)

from gateway.demo import objects
from gateway.demo.chart import Result
from gateway.demo.ehr import Manner
from gateway.demo.ehr_page import EhrPage
from gateway.demo.objects import new_control_id
from gateway.ecg import Encounter

CHROMIUM = os.environ.get("CHROMIUM", shutil.which("chromium") or "")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
THRESHOLD = 1e-6
"""Every score is an alert: these tests are about what is shown, not about the model."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed here"),
]
ALERTED, PICTURED, PRINTED, MESSAGED, UNREAD, UNLOVED, LATE = map(patient, range(1, 8))


@pytest.fixture(scope="module")
def console(hospital: Hospital) -> str:
    """The console's address, after one ECG of each kind, a refusal and a dead letter."""
    hospital.ehr.manners = _refuse
    visit = Encounter("V77", "E", "ED^4^1", "D17^Quince^Quentin")
    control_id = new_control_id()
    message = objects.admission_message(ALERTED, visit, taken(ALERTED).at, control_id)
    assert hospital.tell(message, control_id).accepted
    for file in (
        waveform_file(ALERTED, "stemi-anterior"),
        picture_file(PICTURED),
        pdf_file(PRINTED),
        objects.pdf_file(b"%PDF-1.7 of nothing", taken(UNREAD)),
        waveform_file(UNLOVED),
    ):
        assert hospital.send(file).accepted
    control_id = new_control_id()
    assert hospital.tell(png_message(MESSAGED, control_id), control_id).accepted
    with dicom.connected(hospital.gateway.ports["dicom"]) as sock:
        sock.sendall(dicom.associate_rq(calling="STRANGER"))
        assert dicom.read_pdu(sock)[0] == 3
    for person in (ALERTED, PICTURED, PRINTED, MESSAGED, UNREAD):
        hospital.result(person.id)
        hospital.outcome(person.id)
    return f"http://127.0.0.1:{hospital.gateway.ports['console']}"


def _refuse(result: Result) -> Manner:
    return Manner.REJECT if result.patient_id == UNLOVED.id else Manner.ACCEPT


class Watched:
    """A page of the browser, and what it did that it should not."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("response", self._response)

    def _console(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _failed(self, request) -> None:
        """A refresh that was under way when the page was left is no failure."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.failure} {request.url}")

    def _response(self, response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """One Chromium for this file, with a profile of its own."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=FLAGS,
            headless=True,
            viewport={"width": 1280, "height": 900},
            timeout=2 * PATIENCE_MS,
        )
        expect.set_options(timeout=PATIENCE_MS)
        yield context
        context.close()


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """A new tab; whatever a test shows in it complains of nothing and stays on loopback."""
    tab = browser.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    watched = Watched(tab)
    yield tab
    complaints = list(watched.complaints)
    tab.close()
    assert complaints == []
    assert watched.hosts == {"127.0.0.1"}


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where `SCREENSHOTS` names a folder, for people to look at."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def loaded(page: Page, selector: str) -> int:
    """Wait until an image is there; give its natural width in pixels."""
    page.wait_for_function(
        "s => { const i = document.querySelector(s); return i && i.complete && i.naturalWidth }",
        arg=selector,
    )
    return page.eval_on_selector(selector, "image => image.naturalWidth")


def test_the_list_shows_each_ecg_and_refreshes_itself(
    page: Page, console: str, hospital: Hospital
) -> None:
    """One row per ECG; a new one appears without a reload; a state can be picked."""
    page.goto(console)
    rows = page.locator("#ecgs tbody tr")
    expect(rows).to_have_count(6)
    assert ALERTED.family not in page.content(), "the list names nobody"
    picture(page, "ecgs")
    assert hospital.send(waveform_file(LATE)).accepted
    expect(rows).to_have_count(7)
    page.get_by_role("link", name="unscorable").click()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("undecodable")


def test_one_ecg_shows_its_picture_its_score_and_its_messages(
    page: Page, console: str, hospital: Hospital
) -> None:
    """The rendered page is loaded, the steps open, patient, timeline and result are there."""
    ecg = hospital.outcome(ALERTED.id)
    page.goto(f"{console}/")
    page.locator(f"a[href='/ecgs/{ecg.id}']").click()
    expect(page.locator(".summary")).to_contain_text(ALERTED.family)
    expect(page.locator(".summary")).to_contain_text("ED")
    assert loaded(page, "figure.page img") > 500
    expect(page.locator("#pictures")).to_contain_text("pixel for pixel")
    expect(page.locator(".timeline")).to_contain_text("reported")
    expect(page.locator("pre").first).to_contain_text("MSH|")
    picture(page, "ecg")
    page.get_by_text("What the model saw").click()
    for number in range(1, page.locator(".steps figure").count() + 1):
        page.locator(f".steps figure:nth-of-type({number}) img").scroll_into_view_if_needed()
        assert loaded(page, f".steps figure:nth-of-type({number}) img") > 100
    picture(page, "ecg-steps")


def test_one_ecg_is_explained(page: Page, console: str, hospital: Hospital) -> None:
    """Grad-CAM is drawn when somebody opens it, and the result PDF can be taken along."""
    ecg = hospital.outcome(ALERTED.id)
    page.goto(f"{console}/ecgs/{ecg.id}")
    page.get_by_text("Where the model looked").click()
    assert loaded(page, "img[alt='Grad-CAM over the ECG']") > 1000
    picture(page, "ecg-gradcam")
    with page.expect_download() as download:
        page.get_by_role("link", name="Result PDF").click()
    assert download.value.suggested_filename == f"ecg-{ecg.id}.pdf"
    first, _ = pdf.texts(download.value.path().read_bytes())
    assert ALERTED.family in first
    assert "at or above the threshold" in first


def test_an_ecg_of_each_source_has_a_picture(page: Page, console: str, hospital: Hospital) -> None:
    """Secondary Capture, PDF and HL7 picture, too; an unscorable one says why instead."""
    for person in (PICTURED, PRINTED, MESSAGED):
        page.goto(f"{console}/ecgs/{hospital.outcome(person.id).id}")
        assert loaded(page, "figure.page img") > 500
    picture(page, "ecg-hl7")
    page.goto(f"{console}/ecgs/{hospital.outcome(UNREAD.id).id}")
    expect(page.locator(".summary")).to_contain_text("undecodable")
    expect(page.locator("#pictures")).to_contain_text("cannot be shown")
    picture(page, "ecg-unscorable")


def test_queues_and_refusals(page: Page, console: str) -> None:
    """The dead letter and the refused AE title are shown with their reasons."""
    page.goto(f"{console}/queues")
    expect(page.locator("#queues")).to_contain_text("rejected")
    expect(page.locator("#queues table").last.locator("tbody tr")).to_have_count(1)
    picture(page, "queues")
    page.get_by_role("link", name="Refusals").click()
    expect(page.locator("main")).to_contain_text("STRANGER")
    expect(page.locator("main")).to_contain_text("calling AE title not recognized")
    picture(page, "refusals")


def test_the_ehr_shows_the_alert_until_somebody_has_seen_it(
    page: Page, console: str, hospital: Hospital
) -> None:
    """The banner names patient and place, leads to the result, and goes when it is seen."""
    with EhrPage(hospital.ehr.filing, console) as ehr:
        page.goto(ehr.url)
        alert = page.locator("article.alert").filter(has_text=ALERTED.family)
        expect(alert).to_contain_text("ED 4 1")
        picture(page, "ehr")
        count = page.locator("article.alert").count()
        alert.get_by_role("link", name="Open result").click()
        expect(page.locator("body")).to_contain_text("not validated")
        picture(page, "ehr-result")
        page.goto(ehr.url)
        alert.get_by_role("button", name="Mark as seen").click()
        expect(page.locator("article.alert")).to_have_count(count - 1)
        expect(alert).to_have_count(0)
        page.goto(console)
