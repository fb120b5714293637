"""The page for people: to scale, as picture and as PDF, in every layout."""

from __future__ import annotations

import io

import numpy as np
import pypdfium2
import pytest

from inference.forms import LEADS, Waveform
from inference.render import Style, page, page_pdf
from inference.render.layout import CABRERA, lay_out
from inference.simulate import simulate
from inference.tracings import cut

ECG = simulate("stemi-inferior", 2)
LAYOUTS = ("3x4", "6x2", "12x1", "4x3")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layout", "9x9"), ("grid", "zebra"), ("speed_mm_per_s", 0), ("speed_mm_per_s", -25),
        ("gain_mm_per_mv", -10), ("gain_mm_per_mv", float("nan")), ("stroke_mm", 0),
        ("stroke_mm", float("inf")), ("px_per_mm", 0), ("px_per_mm", 2.5), ("px_per_mm", 10**6),
    ],
)  # fmt: skip
def test_a_style_that_no_page_can_have_is_refused(name, value):
    """When it is made, by the name of what is wrong."""
    with pytest.raises(ValueError, match=f"^style: {name} must"):
        Style(**{name: value})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cabrera", [False, True])
def test_layouts_name_every_lead_once(layout, cabrera):
    """Each of twelve leads has a label beside its trace, in the order asked for."""
    laid = lay_out(ECG, Style(layout=layout, cabrera=cabrera, rhythm=False))
    words = [text.words for text in laid.texts][:12]
    assert tuple(words) == (CABRERA if cabrera else LEADS)
    rows = int(layout.split("x")[0])
    assert len(laid.traces) == 12 + rows
    xs = sorted({trace.x_mm for trace in laid.traces[rows:]})
    assert len(xs) == 12 // rows


def test_columns_follow_one_another_in_time():
    """The second column goes on where the first ends, as carts print it."""
    times = np.arange(5000) / 500
    waveform = Waveform(np.tile(times.astype(np.float32), (12, 1)), 500.0)
    laid = lay_out(waveform, Style(layout="6x2", rhythm=False, gain_mm_per_mv=1))
    first, second = laid.traces[6], laid.traces[12]
    assert first.up_mm[-1] - first.up_mm[0] == pytest.approx(5, abs=0.02)
    assert second.x_mm - first.x_mm == 125


def test_minus_avr_is_turned_over():
    """Cabrera's third lead is aVR upside down."""
    plain = lay_out(ECG, Style(layout="12x1", rhythm=False))
    turned = lay_out(ECG, Style(layout="12x1", rhythm=False, cabrera=True))
    np.testing.assert_allclose(plain.traces[12 + 3].up_mm, -turned.traces[12 + 2].up_mm, atol=1e-4)


def test_tracings_have_one_layout():
    """What was digitised can be shown only as it was."""
    tracings = cut(ECG)
    assert page(tracings).shape == (1680, 2376, 3)
    for style in (Style(layout="6x2"), Style(cabrera=True), Style(speed_mm_per_s=50)):
        with pytest.raises(ValueError, match="3x4"):
            page(tracings, style)


def test_calibration_pulse_and_grid_are_to_scale():
    """The pulse is 10 mm x 5 mm, the strong lines stand 5 mm apart."""
    picture = page(ECG).astype(int)
    dark = picture.max(axis=2) < 90
    pulse = dark[12 * 8 : 56 * 8, 15 * 8 : 25 * 8]
    rows, columns = np.nonzero(pulse)
    assert (rows.max() - rows.min()) / 8 == pytest.approx(10.3, abs=0.3)
    roof = columns[rows < rows.min() + 3]
    assert (roof.max() - roof.min()) / 8 == pytest.approx(5.3, abs=0.3)
    line = picture[198 * 8 + 4, 11 * 8 : 286 * 8, 1]
    strong = np.nonzero((line < 200) & (line > 90))[0]
    assert np.diff(strong).min() == 40


def test_speed_and_gain_are_printed_and_obeyed():
    """At 50 mm/s and 5 mm/mV a beat is twice as wide and half as tall."""
    usual = lay_out(ECG, Style())
    wide = lay_out(ECG, Style(speed_mm_per_s=50, gain_mm_per_mv=5))
    assert usual.texts[-1].words != wide.texts[-1].words
    assert wide.texts[-1].words.startswith("50 mm/s   5 mm/mV")
    assert np.ptp(wide.traces[-1].up_mm) < 0.7 * np.ptp(usual.traces[-1].up_mm)
    assert page(ECG, Style(speed_mm_per_s=50)).shape == (1680, 2376, 3)


def test_the_recorders_filters_are_printed():
    """Below the traces stand sampling rate and filters, where the file tells them."""
    told = Waveform(ECG.samples_mv, 500.0, {"filter": "filter 0.05-150 Hz, notch 50 Hz"})
    scale = lay_out(told, Style()).texts[-1].words
    assert scale == "25 mm/s   10 mm/mV   500 samples/s   filter 0.05-150 Hz, notch 50 Hz"
    assert lay_out(cut(ECG), Style()).texts[-1].words == "25 mm/s   10 mm/mV"


def test_without_grid_and_with_header():
    """The caller's lines are written, up to four; without a grid the paper is white."""
    bare = page(ECG, Style(grid="none"))
    headed = page(ECG, Style(grid="none", header=("A line", "Another")))
    assert (bare[: 12 * 8] == 255).all()
    assert (headed[: 12 * 8] < 128).any()
    assert (bare.max(axis=2) - bare.min(axis=2)).max() <= 8
    assert (
        lay_out(ECG, Style(header=("a",) * 6)).texts == lay_out(ECG, Style(header=("a",) * 4)).texts
    )


@pytest.mark.parametrize("lines", range(5))
def test_the_traces_have_the_room_that_the_header_leaves(lines):
    """No line of text is written over the grid, and without a header no room is kept for one."""
    laid = lay_out(ECG, Style(header=("words",) * lines))
    assert all(text.baseline_mm <= laid.top_mm - 5 for text in laid.texts if text.words == "words")
    assert laid.top_mm == 10 + 5 * lines


def test_pdf_has_vectors_text_and_no_picture():
    """The PDF is A4, reproducible, and its text can be searched."""
    style = Style(header=("Muster, Erika 東",))
    data = page_pdf(ECG, style)
    assert data == page_pdf(ECG, style)
    assert b"/Subtype /Image" not in data
    document = pypdfium2.PdfDocument(io.BytesIO(data))
    try:
        width, height = document.get_page_size(0)
        assert (width / 72 * 25.4, height / 72 * 25.4) == pytest.approx((297, 210), abs=0.1)
        sheet = document[0]
        text = sheet.get_textpage()
        words = text.get_text_range()
        text.close()
        sheet.close()
    finally:
        document.close()
    assert "Muster, Erika 東" in words
    assert all(name in words for name in ("aVF", "V6", "25 mm/s"))


def test_gaps_are_not_drawn():
    """A lead that was not recorded has a label and no trace."""
    samples = ECG.samples_mv.copy()
    samples[9] = np.nan
    samples[1, 1000:2000] = np.nan
    waveform = Waveform(samples, ECG.rate_hz)
    picture = page(waveform, Style(grid="none"))
    assert (picture[36 * 8 : 56 * 8, 216 * 8 : 276 * 8] > 200).all()
    assert page_pdf(waveform)
