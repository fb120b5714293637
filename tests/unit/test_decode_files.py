"""PNG, JPEG, TIFF, PDF, WFDB, and bytes that are none of them."""

from __future__ import annotations

import functools
import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from support import ecg_files as files
from support.paper import Style as PaperStyle
from support.paper import distances_mm, draw, heart

from inference.decode import decode
from inference.decode.pdf import trace_mm
from inference.decode.wfdb import read
from inference.errors import InferenceError, Undecodable, Unscorable
from inference.forms import Picture, Waveform
from inference.paper import find_panel
from inference.render import Style, page, page_pdf
from inference.simulate import simulate
from inference.trace import follow


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_lossless_images(kind):
    """Grey, RGB, one-bit and 16-bit pixels arrive as they are."""
    rgb, grey = noise(80, 90, 3), noise(80, 90)
    assert (decode(saved(Image.fromarray(rgb), kind)).pixels == rgb).all()
    assert (decode(saved(Image.fromarray(grey), kind)).pixels == grey).all()
    bits = Image.fromarray(grey).convert("1")
    assert (decode(saved(bits, kind)).pixels == np.asarray(bits) * 255).all()
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert (decode(saved(deep, kind)).pixels == grey).all()


def test_transparency_is_paper():
    """What is transparent is white, not black."""
    image = Image.new("RGBA", (100, 80), (0, 0, 0, 0))
    image.paste((10, 20, 30, 255), (0, 0, 50, 80))
    pixels = decode(saved(image, "PNG")).pixels
    assert (pixels[0, 0] == (10, 20, 30)).all()
    assert (pixels[0, 99] == 255).all()


def test_orientation_of_a_photograph():
    """A phone's orientation tag turns the page upright."""
    image = Image.fromarray(noise(80, 120, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(image, "JPEG", exif=exif)).pixels.shape == (120, 80, 3)


def test_first_page_that_is_not_blank():
    """A cover sheet without anything on it is passed over."""
    blank, shown = Image.new("L", (120, 80), 255), Image.fromarray(noise(80, 120))
    data = saved(blank, "TIFF", save_all=True, append_images=[shown])
    assert (decode(data).pixels == np.asarray(shown)).all()


def test_images_that_are_refused():
    """Truncated, tiny and enormous images each have an error."""
    whole = saved(Image.fromarray(noise(200, 200)), "PNG")
    for cut in (9, 30, len(whole) // 2):
        with pytest.raises(Undecodable):
            decode(whole[:cut])
    jpeg = saved(Image.fromarray(noise(200, 200)), "JPEG")
    with pytest.raises(Undecodable):
        decode(jpeg[: len(jpeg) // 2])
    with pytest.raises(Unscorable, match="low-resolution"):
        decode(saved(Image.new("L", (20, 20)), "PNG"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("size", [(9000, 9000), (20000, 14000)])
def test_images_larger_than_any_page_are_told_by_their_size(kind, size):
    """Whether or not Pillow would take them for a bomb, the reason is ours and not damage."""
    with pytest.raises(Undecodable, match=f"^{size[0]} x {size[1]} pixels is more than any page"):
        decode(saved(Image.new("1", size, 1), kind))


def pages(*contents: str) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595, 842))
    for text in contents:
        for line in range(50 if text else 0):
            canvas.drawString(50, 800 - 15 * line, text)
        canvas.rect(40, 40, 515, 762)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def test_pdf_is_to_scale():
    """A rendered page has the size of its paper and the pixels of our own drawing."""
    waveform = simulate("normal", 3)
    found = decode(page_pdf(waveform))
    assert found.pixels.shape[1] * found.mm_per_px == pytest.approx(297, abs=0.1)
    drawn = page(waveform, Style(px_per_mm=10))
    ink = found.pixels[:, : drawn.shape[1]].min(axis=2)[:2100] < 100
    ours = drawn[: ink.shape[0], : ink.shape[1]].min(axis=2) < 100
    grown = cv2.dilate(ours.astype(np.uint8), np.ones((5, 5))).astype(bool)
    traces = np.s_[310:1990, 160:2760]
    assert (ink & ~grown)[traces].sum() < 0.06 * ink[traces].sum()


def test_pdf_page_with_the_trace():
    """Among pages of text the one with the ECG is chosen."""
    import pypdfium2

    merged = pypdfium2.PdfDocument.new()
    parts = [pages("A long report " * 5, ""), page_pdf(simulate("af", 1)), pages("More words " * 6)]
    opened = [pypdfium2.PdfDocument(part) for part in parts]
    for part in opened:
        merged.import_pages(part)
    out = io.BytesIO()
    merged.save(out)
    merged.close()
    for part in opened:
        part.close()
    found = decode(out.getvalue())
    assert found.facts["page"] == "3 of 4"


def scanned_pdf(image: np.ndarray, width_mm: float, quality: int) -> bytes:
    """A page of text and then a scan, as a JPEG over the whole of an A4 page, as scanners save."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(297 * mm, 210 * mm))
    canvas.drawString(50, 500, "Cover sheet")
    canvas.showPage()
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=quality)
    height_mm = width_mm * image.shape[0] / image.shape[1]
    canvas.drawImage(ImageReader(jpeg), 2 * mm, 5 * mm, width_mm * mm, height_mm * mm)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


@pytest.mark.parametrize("px_per_mm", [5.9, 11.8])
def test_a_scan_inside_an_encapsulated_pdf_is_placed(px_per_mm):
    """150 and 300 dpi, a little skew, JPEG: page and scale are found and the traces are followed.

    95 % of the samples lie within 0.5 mm of the known ECG, the bound of pages that are images.
    """
    known = heart(11)
    drawn = draw(known, PaperStyle(px_per_mm=px_per_mm, skew_deg=0.4, noise=3))
    width_mm = drawn.shape[1] / px_per_mm
    found = decode(files.as_file(files.dicom_pdf(scanned_pdf(drawn, width_mm, 80))))
    assert found.facts["page"] == "2 of 2"
    assert found.mm_per_px == pytest.approx(0.1, rel=1e-3)
    traced = follow(find_panel(found))
    assert traced.read.layout == "3x4+1"
    off = [
        distances_mm(row, part - np.median(part))
        for row, part in (
            (traced.leads_mv[lead], known[lead, lead // 3 * 625 : (lead // 3 + 1) * 625])
            for lead in range(12)
        )
    ]
    assert np.isnan(off).mean() < 0.02
    assert np.nanpercentile(off, 95) <= 0.5


def reason_of(picture: Picture) -> str:
    with pytest.raises(Unscorable) as refused:
        follow(find_panel(picture))
    return refused.value.reason


def test_clipped_pictures_are_refused_for_what_they_lost():
    """Overexposed without a grid, white, nearly black and black (docs/input-checks.md)."""
    drawn = draw(heart(3), PaperStyle(px_per_mm=6, noise=3, grid="grey")).astype(int)

    def shifted(levels: int) -> Picture:
        clipped = (drawn + levels).clip(0, 255).astype(np.uint8)
        return decode(saved(Image.fromarray(clipped), "PNG"))

    assert follow(find_panel(shifted(40))).read.layout == "3x4+1"
    assert reason_of(shifted(120)) == "no-grid"
    assert reason_of(shifted(255)) == "blank"
    assert reason_of(shifted(-220)) in {"overlapping", "too-few-leads", "no-grid"}
    assert reason_of(shifted(-255)) == "not-an-ecg"


def test_text_and_frames_are_no_trace():
    """Words, rules and frames do not count as traces."""
    grey = decode(pages("Words and words " * 4)).pixels.min(axis=2)
    assert trace_mm(grey, 10.0) == 0
    drawn = page(simulate("normal", 1), Style(px_per_mm=4))
    assert trace_mm(drawn.min(axis=2), 4.0) > 300


def test_pdfs_that_are_refused():
    """A blank page, a stamp, garbage and half a file."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595, 842))
    canvas.showPage()
    canvas.save()
    with pytest.raises(Unscorable, match="blank"):
        decode(out.getvalue())
    small = io.BytesIO()
    canvas = Canvas(small, pagesize=(50, 50))
    canvas.rect(5, 5, 20, 20)
    canvas.showPage()
    canvas.save()
    with pytest.raises(Unscorable, match="not-an-ecg"):
        decode(small.getvalue())
    with pytest.raises(Undecodable):
        decode(b"%PDF-1.7 and nothing else")


def wfdb_record(folder, truth, *, form="16", names=files.LEADS, gain="1000(0)/mV", checksum=True):
    if form == "212":
        pairs = (truth.T.reshape(-1, 2) & 0xFFF).astype(np.int64)
        data = np.stack(
            [pairs[:, 0] & 255, pairs[:, 0] >> 8 | (pairs[:, 1] >> 8) << 4, pairs[:, 1] & 255], 1
        ).astype(np.uint8).tobytes()  # fmt: skip
    else:
        wide = {"16": "<i2", "32": "<i4", "24": "<i4", "61": ">i2", "80": "<i4"}[form]
        flat = truth.T.reshape(-1)
        data = flat.astype(wide).tobytes()
        if form == "24":
            data = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].tobytes()
        if form == "80":
            data = (flat + 128).astype(np.uint8).tobytes()
    (folder / "r.dat").write_bytes(data)
    lines = [f"r {len(names)} 500 {truth.shape[1]}"]
    for name, row in zip(names, truth, strict=True):
        total = (int(row.sum()) + (0 if checksum else 1)) & 0xFFFF
        total -= 65536 if total > 32767 else 0
        lines.append(f"r.dat {form} {gain} 16 0 {row[0]} {total} 0 {name}")
    (folder / "r.hea").write_text("\n".join([*lines, "# age: 50"]) + "\n")
    return folder / "r.hea"


@pytest.mark.parametrize("form", ["16", "24", "32", "61", "80", "212"])
def test_wfdb_formats(tmp_path, form):
    """Each signal format gives the samples back, with gain and baseline."""
    truth = files.recording(10).clip(-120, 120)
    header = wfdb_record(tmp_path, truth, form=form, gain="200(10)/mV")
    np.testing.assert_allclose(read(header).samples_mv, (truth - 10) / 200, atol=1e-6)


def test_wfdb_records_that_are_refused(tmp_path):
    """A wrong checksum, missing samples, a foreign folder and missing leads."""
    truth = files.recording(2)
    with pytest.raises(Undecodable, match="checksum"):
        read(wfdb_record(tmp_path, truth, checksum=False))
    header = wfdb_record(tmp_path, truth)
    (tmp_path / "r.dat").write_bytes((tmp_path / "r.dat").read_bytes()[:-100])
    with pytest.raises(Undecodable, match="truncated"):
        read(header)
    header.write_text(header.read_text().replace("r.dat", "../r.dat"))
    with pytest.raises(Undecodable, match="out of its folder"):
        read(header)
    with pytest.raises(Unscorable, match="too-few-leads"):
        read(wfdb_record(tmp_path, truth[:2], names=("II", "V5")))
    with pytest.raises(Undecodable):
        read(tmp_path / "absent.hea")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\0" * 5000, b"MSH|^~\\&|", b"PK\x03\x04", b"GIF89a"]
)
def test_bytes_that_are_nothing(data):
    """Empty and foreign bytes are undecodable, whatever they are called."""
    for media_type in ("", "application/dicom", "application/pdf", "image/png"):
        with pytest.raises(InferenceError):
            decode(data, media_type)


STARTS = [
    b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"%PDF-1.4\n", b"<AnnotatedECG>",
    b"\0" * 128 + b"DICM", b"\x08\0\x05\0", b"\0" * 16 + b"SCPECG",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=400))
def test_garbage_never_crashes(start, rest):
    """Random bytes after any signature give a result or one of our two errors."""
    try:
        found = decode(start + rest)
    except (Undecodable, Unscorable):
        return
    assert isinstance(found, (Picture, Waveform))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_flipped_bytes_never_crash(data):
    """A file with bytes changed anywhere gives a result or one of our two errors."""
    whole = bytearray(data.draw(st.sampled_from(_originals())))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, min(len(whole), 3000) - 1))] = data.draw(st.integers(0, 255))
    told = ""
    try:
        decode(bytes(whole))
    except (Undecodable, Unscorable) as error:
        told = str(error)
    assert "SECRET" not in told


@functools.cache
def _originals() -> list[bytes]:
    truth = files.recording(1)
    waveform = files.as_file(files.dicom_waveform(files.group(truth, files.twelve_channels())))
    image = files.as_file(files.dicom_image(noise(80, 90).astype(int)))
    return [
        waveform,
        image,
        files.muse(truth),
        files.aecg(truth),
        saved(Image.fromarray(noise(80, 90)), "PNG"),
    ]
