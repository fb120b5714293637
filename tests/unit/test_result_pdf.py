"""The result PDF: what it says, where its heat lies, and that the same gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from support import ehr, pdf

from gateway.delivery.result_pdf import TEST, result_pdf
from gateway.ecg import Encounter, MediaType, Order, Patient, Source, State
from gateway.hl7.oru import UNVALIDATED, VALIDATED
from gateway.policy import Mode
from gateway.store import EcgRow
from inference.forms import Picture
from inference.prepare import Prepared, look
from inference.preprocess import Recipe, preprocess
from inference.render import page
from inference.runtime.maps import Maps
from inference.simulate import simulate

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROW = EcgRow(
    id="0190abcd" * 4,
    identity="dicom:1.2.3",
    digest="0" * 64,
    media_type=MediaType.DICOM,
    state=State.SCORED,
    reason="",
    received_at=NOW,
    state_at=NOW,
    source=Source("dicom", "CART1", "10.0.0.1"),
    patient=Patient("4711", "HOSP&1.2.3&ISO", "MR", "Müller", "Änne", "Q", "19500102", "F"),
    order=Order(placer="PL1", accession="ACC9"),
    encounter=Encounter("V99", "E", "ED^12^1", "77^Curie^Marie"),
    acquired_at=datetime(2026, 3, 1, 12, 58, tzinfo=timezone(timedelta(hours=1))),
    study_uid="1.2.840.1",
    sop_uid="1.2.840.1.2",
    score=ehr.SCORE,
)


def prepared(source) -> Prepared:
    tracings, panel = look(source)
    return Prepared(source, tracings, panel, preprocess(panel, Recipe()))


def maps(where: tuple[int, int] = (0, 4)) -> Maps:
    """Maps of which one field of 4 x 8 raises the score, and two blocks of attention."""
    evidence = np.full((4, 8), -1, np.float32)
    evidence[where] = 3
    gate = np.linspace(0.1, 0.9, 32, dtype=np.float32).reshape(4, 8)
    return Maps(0.875, evidence, {1: gate, 2: gate[::-1]})


WAVEFORM = prepared(simulate("stemi-anterior", 1))


def drawn(row: EcgRow = ROW, shown: Prepared = WAVEFORM, **site) -> bytes:
    return result_pdf(row, ehr.site(**site), shown, maps())


def test_both_pages_say_whose_it_is_how_it_may_be_used_and_what_was_found():
    """Patient, visit, time by the ward's clock, marking and score are on each page."""
    for text in pdf.texts(drawn()):
        assert UNVALIDATED in text
        assert "Müller, Änne Q · id 4711 (HOSP) · born 1950-01-02 · F" in text
        assert "visit V99 · ED 12 1 · recorded 2026-03-01 12:58:00 +01:00" in text
        assert "Score 0.910, at or above the threshold 0.570: positive" in text
        assert f"EIANet 0.1.0 · bundle {'ab' * 6}" in text


def test_the_first_page_is_the_ecg_and_the_second_explains():
    """Leads and scale, what the tint is; each block's map, what maps are not, and the sources."""
    first, second = pdf.texts(drawn())
    assert all(name in first for name in ("aVR", "V6", "25 mm/s 10 mm/mV 500 samples/s"))
    assert "drawn from the recording" in first
    assert "Orange: Grad-CAM after layer 4: what raises the score; fields of 31 x 31 mm" in first
    for layer in (1, 2):
        assert f"Attention after layer {layer}: gate 0.10 (white) to 0.90 (orange)" in second
    assert "neither why nor whether rightly" in second
    assert (
        "on openvino-int8. The maps are of the bundle's fp32 network, which scores 0.875" in second
    )
    assert "ab" * 32 in second
    assert "Study Instance UID 1.2.840.1 · SOP Instance UID 1.2.840.1.2" in second
    assert "placer PL1 · accession ACC9" in second
    assert f"ECG {ROW.id}" in second
    assert "by dicom from CART1 · site configuration 3, mode shadow" in second


def test_a_page_that_came_is_drawn_as_it_was_read():
    """A picture has no recording: what software read of it is drawn, and said to be that."""
    shown = prepared(Picture(page(simulate("normal", 5))))
    first, _ = pdf.texts(drawn(replace(ROW, study_uid="", sop_uid=""), shown))
    assert "as software read them from the page that came; that page is what counts" in first
    assert "samples/s" not in first


def test_the_heat_lies_under_the_lead_that_it_is_of():
    """Evidence in the first row, fifth column is orange around V1 and nowhere in the last row."""
    hot = pdf.pixels(drawn()).astype(int)
    warmth = hot[..., 0] - hot[..., 2]  # red over blue
    rows = (200 - 30) / 4
    left = 26 + 4.5 * 31.25  # the middle of that field
    field = warmth[int((30 + rows / 2 - 6) * 4) : int((30 + rows / 2 + 6) * 4)]
    last = warmth[int((200 - rows + 6) * 4) : (199 * 4)]
    near = field[:, int((left - 6) * 4) : int((left + 6) * 4)]
    far = field[:, (30 * 4) : (80 * 4)]
    assert np.median(near) > np.median(far) + 60
    assert np.median(last) < np.median(near) - 60


def test_the_traces_are_vectors_drawn_over_the_heat():
    """Black stays black where the heat is greatest."""
    content = drawn()
    hot = pdf.pixels(content)
    x, y = ((26 + 125) * 4), (30 * 4)
    v1 = hot[y : y + int(42.5 * 4), x : x + (62 * 4)]
    assert (v1.max(axis=2) < 60).sum() > 500
    assert len(content) < 300_000


@pytest.mark.parametrize(
    ("validated", "mode", "test", "marking"),
    [
        (False, Mode.LIVE, False, UNVALIDATED),
        (True, Mode.LIVE, False, VALIDATED),
        (True, Mode.CANARY, False, VALIDATED),
        (True, Mode.SHADOW, False, TEST),
        (True, Mode.LIVE, True, TEST),
    ],
)
def test_only_a_live_result_of_a_validated_bundle_is_not_marked(validated, mode, test, marking):
    """An unvalidated bundle, a site in shadow mode and a test sender each mark the page."""
    row = replace(
        ROW,
        score=replace(ehr.SCORE, validated=validated),
        source=replace(ROW.source, test=test),
    )
    for text in pdf.texts(drawn(row, mode=mode)):
        assert [each for each in (UNVALIDATED, VALIDATED, TEST) if each in text] == [marking]


def test_what_the_source_left_out_is_the_sites_or_said_to_be_missing():
    """Issuer and zone as in the message; nothing is invented."""
    bare = replace(
        ROW,
        patient=Patient(id="1", family="Doe"),
        encounter=None,
        order=Order(),
        acquired_at=datetime(2026, 3, 1, 6, 45),
    )
    zone = {"authority": "HOSP", "zone": ZoneInfo("America/New_York")}
    first, second = pdf.texts(drawn(bare, **zone))
    assert "Doe · id 1 (HOSP) · born ? · recorded 2026-03-01 06:45:00 -05:00" in first
    assert "visit" not in first
    assert "placer" not in second
    nobody = replace(bare, patient=Patient(), acquired_at=None)
    assert "id none given · born ? · recorded at an unknown time" in pdf.texts(drawn(nobody))[0]


def test_what_the_guard_measured_and_warned_of_is_said():
    """The distance on the second page, electrodes that seem interchanged on the first, too."""
    guard = {"distance": 0.6235, "bound": 5.498, "electrodes": "RA-LA"}
    first, second = pdf.texts(drawn(replace(ROW, guard=guard)))
    assert "Input domain: " in second
    assert "distance of the input 0.6235 (up to 5.498)" in second
    assert "RA-LA" in first
    assert "RA-LA" not in pdf.texts(drawn())[0]


def test_a_negative_ecg_of_which_nothing_raises_the_score():
    """No tint, and words that say so."""
    score = replace(ehr.SCORE, probability=0.04, positive=False)
    none = Maps(0.04, np.full((4, 8), -1, np.float32), {})
    first, second = pdf.texts(result_pdf(replace(ROW, score=score), ehr.site(), WAVEFORM, none))
    assert "Score 0.040, below the threshold 0.570: negative" in first
    assert "nothing raises the score" in first
    assert "Attention after" not in second


def test_the_same_gives_the_same_bytes():
    """Nothing is drawn at random or read from a clock."""
    assert drawn() == drawn()
    assert drawn() != drawn(replace(ROW, id="0" * 32))


def test_a_long_name_stays_on_the_page_in_any_script():
    """The line is set smaller; name and identifier can be read on each page."""
    named = replace(ROW.patient, family="Wolfeschlegel" * 12, given="Dvo\u0159ák 東")
    long = replace(ROW, patient=named)
    for text in pdf.texts(drawn(long)):
        assert "Wolfeschlegel" * 12 + ", Dvo\u0159ák 東 Q · id 4711" in text
    margin = pdf.pixels(drawn(long))[: 29 * 4, (287 * 4) :]
    assert (margin == 255).all()
    assert drawn(long) == drawn(long)


def test_without_a_score_there_is_none():
    """An unscorable ECG is told in words alone."""
    with pytest.raises(ValueError, match="without a score"):
        drawn(replace(ROW, score=None))
