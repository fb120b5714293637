"""The simulated EHR's pages: the banner, escaping, marking an alert as seen."""

import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.ehr import SCORE

from gateway.demo.chart import parse_result
from gateway.demo.ehr_page import EhrPage, Pages
from gateway.demo.filing import Filing
from gateway.ecg import Encounter, Patient
from gateway.hl7.oru import Receiver, Report, Sender, build

NASTY = "<script>alert('x')</script>"


def result(number, **changes):
    report = Report(
        control_id=f"EG{number:018d}",
        filler=f"fill{number}",
        sender=Sender("ECG-GATEWAY", "HOSPITAL"),
        receiver=Receiver("EHR", "WARDS"),
        made_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
        live=False,
        notice="alert",
        patient=Patient(f"P{number}", "HOSP", "MR", f"Family{number}", NASTY),
        encounter=Encounter("V1", "E", "ED^4^1"),
        acquired_at=datetime(2026, 3, 1, 11, 55, tzinfo=UTC),
        score=SCORE,
    )
    return parse_result(build(replace(report, **changes)))


def test_a_result_pdf_can_be_opened_and_does_not_fill_the_page(tmp_path):
    """The link gives the bytes that came; of the segment with them the beginning is shown."""
    filed, content = Filing(tmp_path), b"%PDF-1.4" + bytes(90_000)
    filed.file(result(1, pdf=content))
    filed.file(result(2))
    pages, name = Pages(filed), f"/results/EG{1:018d}"
    page = pages.get(name).body.decode()
    assert f'href="{name}.pdf"' in page
    assert "|ED|ECGAI-PDF^" in page
    assert len(page) < 10_000
    reply = pages.get(f"{name}.pdf")
    assert (reply.kind, reply.body) == ("application/pdf", content)
    assert "result PDF" not in pages.get(f"/results/EG{2:018d}").body.decode()
    assert pages.get("/results/nothing.pdf").status == 404


def test_the_score_of_a_rare_outcome_keeps_its_digits(tmp_path):
    """Two digits would show a score above its threshold as 0.00."""
    filed = Filing(tmp_path)
    filed.file(result(1, score=replace(SCORE, probability=0.0021, threshold=0.0014)))
    for path in ("/", f"/results/EG{1:018d}"):
        assert "<b>0.00210</b>" in Pages(filed).get(path).body.decode()


@pytest.fixture
def filing(tmp_path):
    filed = Filing(tmp_path)
    filed.file(result(1))
    filed.file(result(2, notice="late"))
    filed.file(result(3, notice="file", score=replace(SCORE, probability=0.1, positive=False)))
    filed.file(result(4, notice="file", score=None, reason="no-grid"))
    return filed


def banner(page):
    text = page.body.decode()
    return text[text.index('class="alerts"') : text.index("</section>")]


def test_the_banner_shows_alerts_and_nothing_else(filing):
    """A positive and fresh result interrupts; late, negative and unscored ones are listed only."""
    page = Pages(filing).get("/")
    assert "Family1" in banner(page)
    assert "0.91" in banner(page)
    assert "ED 4 1" in banner(page)
    assert not any(f"Family{n}" in banner(page) for n in (2, 3, 4))
    assert all(f"Family{n}" in page.body.decode() for n in (1, 2, 3, 4))


def test_every_page_says_that_this_is_unvalidated_research_software(filing):
    """List and result carry the statement."""
    pages = Pages(filing, "http://127.0.0.1:9/")
    for path in ("/", f"/results/{result(1).control_id}"):
        assert "Unvalidated research software" in pages.get(path).body.decode()
    shown = pages.get(f"/results/{result(1).control_id}").body.decode()
    assert "http://127.0.0.1:9/ecgs/fill1" in shown
    assert "Test (T)" in shown


def test_names_are_escaped_everywhere(filing):
    """No text of a message becomes markup."""
    pages = Pages(filing)
    for path in ("/", f"/results/{result(1).control_id}"):
        body = pages.get(path).body.decode()
        assert NASTY not in body
        assert "&lt;script&gt;" in body


def test_unscored_is_shown_as_neither(filing):
    """The reason is shown, and no score."""
    shown = Pages(filing).get(f"/results/{result(4).control_id}").body.decode()
    assert "Not scored" in shown
    assert "no-grid" in shown
    assert [filed.score for filed in filing.results if filed.category == "unscorable"] == [None]
    assert "ECGAI-SCORE^Model score^99ECGAI|1||1|||||X|" in shown


def test_a_seen_alert_leaves_the_banner_and_stays_in_the_list(filing):
    """Marking as seen is a form post from the page itself; other sites are turned away."""
    with EhrPage(filing) as page:
        target = f"{page.url}seen/{result(1).control_id}"
        foreign = urllib.request.Request(target, b"", {"Origin": "http://evil.example"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(foreign, timeout=30)
        assert caught.value.code == 403
        caught.value.close()
        assert len(filing.open_alerts) == 1
        with urllib.request.urlopen(urllib.request.Request(target, b""), timeout=30) as answer:
            text = answer.read().decode()
            assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert "No open alerts" in text
        assert "Family1" in text


def test_other_names_for_loopback_and_unknown_pages_are_refused(filing):
    """A rebound host name gets nothing; what is not there is 404."""
    with EhrPage(filing) as page:
        rebound = urllib.request.Request(page.url, headers={"Host": "evil.example"})
        for request, code in ((rebound, 421), (f"{page.url}results/none", 404)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=30)
            assert caught.value.code == code
            caught.value.close()
        for name in ("style.css", "page.js"):
            with urllib.request.urlopen(page.url + name, timeout=30) as answer:
                assert answer.read()


def test_a_message_that_comes_again_is_filed_once(tmp_path):
    """MSH-10 decides; the memory survives a restart."""
    filing = Filing(tmp_path)
    assert filing.file(result(1))
    assert not filing.file(result(1))
    assert filing.deliveries == {result(1).control_id: 2}
    assert [one.filler for one in Filing(tmp_path).results] == ["fill1"]
