"""DICOM waveforms, images and encapsulated documents, from objects made here."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_windowing
from pydicom.uid import (
    AmbulatoryECGWaveformStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    General32bitECGWaveformStorage,
    GeneralECGWaveformStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    TwelveLeadECGWaveformStorage,
)
from pydicom.waveforms import multiplex_array
from support import ecg_files as files

from inference.decode import decode
from inference.decode.dicom_image import codestream_size
from inference.errors import InferenceError, Undecodable, Unscorable
from inference.forms import Picture, Waveform
from inference.render import page_pdf
from inference.simulate import simulate

SHIFT = {"SB": 0, "UB": 128, "SS": 0, "US": 32768, "SL": 0, "UL": 1 << 31, "SV": 0, "UV": 1 << 40}


def reading(data_set, **options) -> Waveform:
    found = decode(files.as_file(data_set, **options))
    assert isinstance(found, Waveform)
    return found


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("SB", 8), ("UB", 8), ("SS", 16), ("US", 16), ("SL", 32), ("UL", 32), ("SV", 64), ("UV", 64)],
)
def test_every_sample_interpretation(kind, bits):
    """Signed and unsigned samples of 8 to 64 bits give the same millivolts."""
    truth = files.recording()
    truth = np.clip(truth, -120, 120) if bits == 8 else truth
    channels = files.twelve_channels(baseline=-2.5 * SHIFT[kind], sensitivity=2.5)
    made = files.group(truth.astype(np.int64) + SHIFT[kind], channels, kind=kind, bits=bits)
    found = reading(files.dicom_waveform(made))
    np.testing.assert_allclose(found.samples_mv, truth * 2.5e-3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sop_class", "kind", "bits", "rate_hz"),
    [
        (TwelveLeadECGWaveformStorage, "SS", 16, 500),
        (GeneralECGWaveformStorage, "SS", 16, 1000),
        (AmbulatoryECGWaveformStorage, "SB", 8, 128),
        (AmbulatoryECGWaveformStorage, "SS", 16, 200),
        (General32bitECGWaveformStorage, "SL", 32, 2000),
    ],
)
def test_the_four_waveform_classes(sop_class, kind, bits, rate_hz):
    """Each in the sample format that PS3.3 A.34 gives it, against pydicom's own reader.

    A.34.3 and A.34.4: SS at 200 to 1000 Hz; A.34.5: SB or SS at 50 to 1000 Hz; Supplement 237: SL,
    whose samples here need more than 16 bits.
    """
    truth = files.recording(4, rate_hz).astype(np.int64)
    unit_uv = {8: 20.0, 16: 2.5, 32: 0.001}[bits]
    stored = np.clip(truth, -120, 120) if bits == 8 else truth * (997 if bits == 32 else 1)
    channels = files.twelve_channels(sensitivity=unit_uv, factor=1.01, baseline=-3.0)
    made = files.dicom_waveform(
        files.group(stored, channels, kind=kind, bits=bits, rate_hz=rate_hz), sop_class=sop_class
    )
    found = reading(made)
    assert found.facts["class"] == sop_class
    assert found.rate_hz == rate_hz
    if bits == 32:
        assert abs(stored).max() > 2**17
    np.testing.assert_allclose(
        found.samples_mv, multiplex_array(made, 0, as_raw=False).T / 1000, atol=1e-5
    )
    np.testing.assert_allclose(
        found.samples_mv, (stored * unit_uv * 1.01 - 3) / 1000, rtol=1e-5, atol=1e-6
    )


def test_a_real_twelve_lead_object():
    """The rhythm of a Mortara cart's object, as pydicom reads it; its median beat is left out."""
    path = Path(get_testdata_file("waveform_ecg.dcm", download=False))
    found, theirs = decode(path.read_bytes()), pydicom.dcmread(path)
    assert theirs.SOPClassUID == TwelveLeadECGWaveformStorage
    assert found.facts["groups"] == "1 of 2"  # the other one is a median beat
    np.testing.assert_allclose(
        found.samples_mv, multiplex_array(theirs, 0, as_raw=False).T / 1000, atol=1e-5
    )


@pytest.mark.parametrize(
    ("of_each", "mv_per_unit", "shift_mv"),
    [
        ({"sensitivity": 1.25, "factor": 1.0}, 1.25e-3, 0.0),
        ({"sensitivity": 1.0, "factor": 4.88}, 4.88e-3, 0.0),
        ({"sensitivity": 2.0, "factor": None}, 2e-3, 0.0),
        ({"sensitivity": 0.005, "units": "mV", "baseline": 0.25}, 5e-3, 0.25),
        ({"sensitivity": 5000, "units": "nV", "baseline": -1e6}, 5e-3, -1.0),
    ],
)
def test_channel_calibration(of_each, mv_per_unit, shift_mv):
    """Sensitivity, correction factor, baseline and unit all count (PS3.3 C.10.9.1.4)."""
    truth = files.recording()
    found = reading(files.dicom_waveform(files.group(truth, files.twelve_channels(**of_each))))
    np.testing.assert_allclose(found.samples_mv, truth * mv_per_unit + shift_mv, atol=1e-4)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"Low": "0.05", "High": "150", "notch": "50"}, "filter 0.05-150 Hz, notch 50 Hz"),
        ({"Low": "0.05", "High": "300", "notch": "0"}, "filter 0.05-300 Hz"),
        ({"notch": "60"}, "notch 60 Hz"),
        ({"Low": "0.05", "High": ""}, None),
        ({}, None),
    ],
)
def test_filters_that_the_recorder_tells(told, words):
    """-3 dB points and notch of the first channel (PS3.3 C.10.9.1), where they are told."""
    names = {"Low": "FilterLowFrequency", "High": "FilterHighFrequency"}
    channels = files.twelve_channels()
    for end, value in told.items():
        setattr(channels[0], names.get(end, "NotchFilterFrequency"), value)
    found = reading(files.dicom_waveform(files.group(files.recording(), channels)))
    assert found.facts.get("filter") == words


def test_transfer_syntaxes_of_waveforms():
    """Implicit, big endian and deflated data sets hold the same samples."""
    truth = files.recording()
    for syntax, order in (
        (ImplicitVRLittleEndian, "<"),
        (ExplicitVRBigEndian, ">"),
        (DeflatedExplicitVRLittleEndian, "<"),
    ):
        made = files.dicom_waveform(files.group(truth, files.twelve_channels(), order=order))
        np.testing.assert_allclose(reading(made, syntax=syntax).samples_mv, truth / 1000, atol=1e-5)


def test_data_set_without_preamble():
    """A file that was stored as a bare data set is read too."""
    truth = files.recording()
    whole = files.as_file(files.dicom_waveform(files.group(truth, files.twelve_channels())))
    meta_end = 144 + int.from_bytes(whole[140:144], "little")
    for bare in (whole[132:], whole[meta_end:]):
        found = decode(bare)
        assert isinstance(found, Waveform)
        np.testing.assert_allclose(found.samples_mv, truth / 1000, atol=1e-5)


def test_leads_by_meaning_and_by_label():
    """Leads are found by code meaning or channel label where the code says nothing."""
    truth = files.recording()
    by_meaning = [files.channel(0, code="X", meaning=f"Lead {lead}") for lead in files.LEADS]
    by_label = [files.channel(0, code="X", label=lead) for lead in files.LEADS]
    for channels in (by_meaning, by_label):
        found = reading(files.dicom_waveform(files.group(truth, channels)))
        np.testing.assert_allclose(found.samples_mv, truth / 1000, atol=1e-5)


def test_eight_channels_and_a_foreign_one():
    """III to aVF are derived, a respiration channel is left out."""
    truth = files.recording()
    channels = [files.channel(files.SCP_NUMBERS[lead]) for lead in files.EIGHT]
    channels.append(files.channel(0, code="X", meaning="Respiration"))
    rows = truth[[files.LEADS.index(lead) for lead in files.EIGHT]]
    made = files.group(np.vstack([rows, rows[:1] * 7]), channels)
    found = reading(files.dicom_waveform(made))
    np.testing.assert_allclose(found.samples_mv, truth / 1000, atol=2e-3)
    assert found.facts["derived"] == "III aVR aVL aVF"


@pytest.mark.parametrize("beat_first", [True, False])
def test_median_beats_are_not_the_rhythm(beat_first):
    """A median beat group is told apart whatever its place and length."""
    truth = files.recording()
    rhythm = files.group(truth, files.twelve_channels())
    beat = files.group(
        files.recording(1.2, seed=9), files.twelve_channels(), label="MEDIAN BEAT",
        originality="DERIVED",
    )  # fmt: skip
    groups = (beat, rhythm) if beat_first else (rhythm, beat)
    np.testing.assert_allclose(
        reading(files.dicom_waveform(*groups)).samples_mv, truth / 1000, atol=1e-5
    )


def test_groups_recorded_one_after_the_other():
    """Groups of three leads with time offsets end up on one time axis, as a 3x4 page has them."""
    truth = files.recording(2.5)
    channels = files.twelve_channels()
    groups = [
        files.group(truth[3 * n : 3 * n + 3], channels[3 * n : 3 * n + 3], offset_ms=2500 * n)
        for n in range(4)
    ]
    found = reading(files.dicom_waveform(*groups)).samples_mv
    assert found.shape == (12, 5000)
    for lead in range(12):
        start = lead // 3 * 1250
        np.testing.assert_allclose(found[lead, start : start + 1250], truth[lead] / 1000, atol=1e-5)
        assert np.isnan(found[lead]).sum() == 3750


def test_padding():
    """A padding value is a gap; a padding value of zero only where all channels are zero."""
    truth = files.recording() + 3
    truth[4, 100:200] = -32768
    found = reading(
        files.dicom_waveform(files.group(truth, files.twelve_channels(), padding=-32768))
    )
    assert np.isnan(found.samples_mv[4, 100:200]).all()
    assert np.isnan(found.samples_mv).sum() == 100
    truth = files.recording() + 3
    truth[4, 100:200] = 0
    truth[:, -50:] = 0
    found = reading(files.dicom_waveform(files.group(truth, files.twelve_channels(), padding=0)))
    assert np.isnan(found.samples_mv).sum() == 12 * 50


def test_a_day_long_recording_is_read_for_a_minute():
    """Memory does not follow the length of a Holter recording."""
    truth = files.recording(600, 100)
    made = files.group(truth, files.twelve_channels(), rate_hz=100)
    assert reading(files.dicom_waveform(made)).samples_mv.shape == (12, 6000)


def refusal(data: bytes) -> InferenceError:
    with pytest.raises(InferenceError) as caught:
        decode(data, "application/dicom")
    assert "SECRET" not in str(caught.value)
    return caught.value


def test_waveforms_that_are_refused():
    """One lead, no samples, no calibration, only beats, a compressed law: each has its reason."""
    truth, twelve = files.recording(), files.twelve_channels()
    cases = {
        "too-few-leads": files.group(truth[:1], twelve[:1]),
        "too-short": files.group(truth, twelve, label="MEDIAN"),
        "no-calibration": files.group(truth, files.twelve_channels(sensitivity=None)),
    }
    for reason, made in cases.items():
        error = refusal(files.as_file(files.dicom_waveform(made)))
        assert isinstance(error, Unscorable)
        assert error.reason == reason
    empty = files.group(truth[:, :0], twelve)
    assert refusal(files.as_file(files.dicom_waveform(empty))).reason == "too-short"
    law = files.group(truth.clip(0, 99), twelve, kind="UB", bits=8)
    law.WaveformSampleInterpretation = "MB"
    assert isinstance(refusal(files.as_file(files.dicom_waveform(law))), Undecodable)
    assert refusal(files.as_file(files.dicom_waveform())).reason == "too-few-leads"


@pytest.mark.parametrize(
    "keyword",
    [
        "SamplingFrequency", "NumberOfWaveformChannels", "NumberOfWaveformSamples",
        "ChannelDefinitionSequence", "WaveformData",
    ],
)  # fmt: skip
def test_a_waveform_without_what_it_needs_is_told_by_the_name_of_the_element(keyword):
    """Absent or empty: the reason is the element, not what Python made of it."""
    absent, empty = (files.group(files.recording(), files.twelve_channels()) for _ in range(2))
    delattr(absent, keyword)
    setattr(empty, keyword, None)
    for made in (absent, empty):
        told = str(refusal(files.as_file(files.dicom_waveform(made))))
        assert f"{keyword} is absent or empty" in told


def test_truncated_waveforms():
    """A file cut anywhere is an error that names no patient, never a crash or a wrong ECG."""
    whole = files.as_file(
        files.dicom_waveform(files.group(files.recording(), files.twelve_channels()))
    )
    for cut in [*range(0, 2500, 97), len(whole) // 2, len(whole) - 2]:
        refusal(whole[:cut])
    short = files.group(files.recording(), files.twelve_channels())
    short.NumberOfWaveformSamples = 6000
    assert isinstance(refusal(files.as_file(files.dicom_waveform(short))), Undecodable)


def ramp(rows: int = 80, columns: int = 100, high: int = 255) -> np.ndarray:
    return np.linspace(0, high, rows * columns).reshape(rows, columns).round().astype(np.int64)


def seeing(data_set, **options) -> np.ndarray:
    found = decode(files.as_file(data_set, **options))
    assert isinstance(found, Picture)
    return found.pixels.astype(int)


def test_grey_images():
    """MONOCHROME1 is the negative of MONOCHROME2; 12 and 16 bits map onto 8."""
    assert (seeing(files.dicom_image(ramp())) == ramp()).all()
    assert (seeing(files.dicom_image(ramp(), photometric="MONOCHROME1")) == 255 - ramp()).all()
    for stored in (12, 16):
        made = files.dicom_image(ramp(high=2**stored - 1), bits=16, stored=stored)
        assert abs(seeing(made) - ramp()).max() <= 1
    signed = files.dicom_image(ramp(high=4000) - 2000, bits=16, signed=True)
    assert abs(seeing(signed) - ramp()).max() <= 1


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function):
    """A window gives what pydicom's own windowing gives, scaled to 8 bits."""
    made = files.dicom_image(ramp(high=4095), bits=16, stored=12)
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = 2000, 1500, function
    expected = apply_windowing(ramp(high=4095).astype(np.uint16), made) / 4095 * 255
    assert abs(seeing(made) - expected).max() <= 1


def test_colour_images():
    """RGB, YBR_FULL and palette colours are seen as RGB."""
    rgb = np.random.default_rng(0).integers(0, 256, (70, 90, 3))
    assert (seeing(files.dicom_image(rgb, photometric="RGB")) == rgb).all()
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    blue, red = (rgb[..., 2] - luma) / 1.772 + 128, (rgb[..., 0] - luma) / 1.402 + 128
    ybr = np.stack([luma, blue, red], -1).round().clip(0, 255)
    assert abs(seeing(files.dicom_image(ybr, photometric="YBR_FULL")) - rgb).max() <= 3
    palette = files.dicom_image(ramp(high=3), photometric="PALETTE COLOR")
    for name, values in (
        ("Red", [0, 255, 0, 0]),
        ("Green", [0, 0, 255, 0]),
        ("Blue", [0, 0, 0, 255]),
    ):
        setattr(palette, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(palette, f"{name}PaletteColorLookupTableData", bytes(values))
    table = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert (seeing(palette) == table[ramp(high=3)]).all()


def test_first_frame_that_shows_something():
    """Blank frames before the page are passed over."""
    frames = np.stack([np.full((80, 100), 255), np.full((80, 100), 255), ramp()])
    found = decode(files.as_file(files.dicom_image(frames, frames=3)))
    assert (found.pixels == ramp()).all()
    assert found.facts["frame"] == "3 of 3"


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_images(syntax):
    """Lossless transfer syntaxes give back the pixels."""
    made = files.dicom_image(ramp())
    files.as_file(made)
    made.compress(syntax)
    assert (seeing(made, syntax=syntax) == ramp()).all()


def test_a_codestream_larger_than_its_object_says():
    """The size in the codestream is checked too, before memory is asked for."""
    made = files.dicom_image(ramp())
    files.as_file(made)
    made.compress(JPEGLSLossless)
    whole = files.as_file(made, JPEGLSLossless)
    at = whole.index(b"\xff\xf7") + 5
    bomb = whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]
    assert "65535 x 65535" in str(refusal(bomb))
    assert codestream_size(b"RLE") is None


def test_a_deflated_bomb():
    """A data set that inflates to gigabytes is refused after 256 MB."""
    whole = files.as_file(files.dicom_image(ramp()), DeflatedExplicitVRLittleEndian)
    meta_end = 144 + int.from_bytes(whole[140:144], "little")
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 24)
    body = b"".join(press.compress(zeros) for _ in range(17)) + press.flush()
    assert "256 MB" in str(refusal(whole[:meta_end] + body))


def test_images_that_are_refused():
    """A chest X-ray, a thumbnail and an enormous image are told apart."""
    assert refusal(files.as_file(files.dicom_image(ramp(), modality="CR"))).reason == "not-an-ecg"
    assert refusal(files.as_file(files.dicom_image(ramp(10, 10)))).reason == "low-resolution"
    huge = files.dicom_image(ramp())
    huge.Rows, huge.Columns = 60000, 60000
    assert isinstance(refusal(files.as_file(huge)), Undecodable)
    nothing = files.dicom_image(ramp())
    del nothing.PixelData
    assert refusal(files.as_file(nothing)).reason == "not-an-ecg"


def test_an_object_that_is_empty_says_so():
    """A document or an image of no bytes, and an image without its size."""
    image, sizeless = files.dicom_image(ramp()), files.dicom_image(ramp())
    image.PixelData, sizeless.Rows = b"", None
    cases = (
        ("EncapsulatedDocument", files.dicom_pdf(b"")),
        ("PixelData", image),
        ("Rows", sizeless),
    )
    for keyword, made in cases:
        assert f"{keyword} is absent or empty" in str(refusal(files.as_file(made)))


def test_encapsulated_pdf():
    """The document is rendered; another document type is no ECG."""
    document = page_pdf(simulate("normal", 1))
    found = decode(files.as_file(files.dicom_pdf(document)))
    assert isinstance(found, Picture)
    assert found.mm_per_px == pytest.approx(0.1, rel=1e-2)
    text = files.dicom_pdf(b"<ClinicalDocument/>", "text/XML")
    assert refusal(files.as_file(text)).reason == "not-an-ecg"
