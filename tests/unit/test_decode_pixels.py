"""DICOM images of every transfer syntax and pixel form, by value.

What is expected comes from readers that are not ours (OpenCV on the raw frame, DCMTK's own
decompression of the same file), from the bytes worked out by hand, or from the original of which a
lossy file is within its stated bound. The files are those in pydicom's wheel.
"""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from support import ecg_files as files

from inference.decode import decode
from inference.errors import Undecodable
from inference.forms import Picture


def whole(name: str) -> bytes:
    return Path(get_testdata_file(name, download=False)).read_bytes()


def sample(name: str) -> Dataset:
    """A file of pydicom's wheel, as a page: those of ultrasound and MR would be refused."""
    found = pydicom.dcmread(get_testdata_file(name, download=False))
    found.Modality = "OT"
    return found


def as_bytes(data_set: Dataset, syntax: str | None = None) -> bytes:
    """The data set as a file, in its own transfer syntax unless another is given."""
    meta = getattr(data_set, "file_meta", Dataset())
    own = meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    return files.as_file(data_set, syntax or own)


def seeing(data_set: Dataset, syntax: str | None = None) -> np.ndarray:
    found = decode(as_bytes(data_set, syntax))
    assert isinstance(found, Picture)
    return found.pixels.astype(int)


def raw_frame(data_set: Dataset, index: int = 0) -> bytes:
    count = int(data_set.get("NumberOfFrames") or 1)
    return get_frame(data_set.PixelData, index, number_of_frames=count)


def by_opencv(frame: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR_RGB)
    return pixels.astype(int)


def full_range(values: np.ndarray) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    return (values.astype(float) - low) / (high - low) * 255


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_dcmtk", "SC_rgb_dcmtk_+eb+cr", "SC_rgb_dcmtk_+eb+cy+n1",
        "SC_rgb_dcmtk_+eb+cy+n2", "SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_+eb+cy+s2",
        "SC_rgb_dcmtk_+eb+cy+s4", "SC_rgb_jpeg_lossy_gdcm", "SC_jpeg_no_color_transform_2",
        "examples_ybr_color",
    ],
)  # fmt: skip
def test_jpeg_baseline(name):
    """Colour JPEGs of two makers, with and without chroma subsampling, as OpenCV reads the frame.

    Their photometric interpretations are RGB, YBR_FULL and YBR_FULL_422.
    """
    made = sample(f"{name}.dcm")
    assert made.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert abs(seeing(made) - by_opencv(raw_frame(made))).max() <= 1


@pytest.mark.parametrize("name", ["SC_rgb_jpeg", "SC_jpeg_no_color_transform"])
def test_jpeg_that_holds_rgb(name):
    """A JPEG of RGB that no marker tells from YCbCr is what DCMTK decompressed it to."""
    expected = np.frombuffer(sample("SC_rgb_jpeg_dcmd.dcm").PixelData, np.uint8)
    found = decode(whole(f"{name}.dcm")).pixels.astype(int)
    assert abs(found - expected.reshape(256, 256, 3)).max() <= 1


@pytest.mark.parametrize("name", ["SC_rgb_gdcm_KY", "examples_jpeg2k", "GDCMJ2K_TextGBR"])
def test_jpeg_2000_in_colour(name):
    """Irreversible (.91) and reversible (.90) colour, as OpenCV reads the frame."""
    made = sample(f"{name}.dcm")
    assert abs(seeing(made) - by_opencv(raw_frame(made))).max() <= 1


@pytest.mark.parametrize("name", ["JPEG2000", "693_J2KI"])
def test_lossy_jpeg_2000_of_signed_samples(name):
    """16 and 14 signed bits, as Pillow reads the frame (it adds 32768), over their full range."""
    made = sample(f"{name}.dcm")
    for keyword in ("WindowCenter", "WindowWidth"):
        if keyword in made:
            delattr(made, keyword)
    with Image.open(io.BytesIO(raw_frame(made))) as opened:
        stored = np.asarray(opened).astype(int) - 32768
    assert abs(seeing(made) - full_range(stored)).max() <= 1


@pytest.mark.parametrize("name", ["SC_rgb_jls_lossy_line", "SC_rgb_jls_lossy_sample"])
def test_near_lossless_jpeg_ls_in_colour(name):
    """Each sample lies within the NEAR of the scan header (ISO/IEC 14495-1 C.2.3) of the bars."""
    made = sample(f"{name}.dcm")
    frame = raw_frame(made)
    scan = frame.index(b"\xff\xda")
    near = frame[scan + 5 + 2 * frame[scan + 4]]
    assert near == 2
    bars = by_opencv(raw_frame(sample("SC_rgb_gdcm_KY.dcm")))
    difference = abs(seeing(made) - bars).max()
    assert 0 < difference <= near


def test_near_lossless_jpeg_ls_of_12_bits():
    """12 bits lie within the error that the coder was allowed."""
    truth = np.linspace(0, 4095, 80 * 100).reshape(80, 100).round().astype(int)
    made = files.dicom_image(truth, bits=16, stored=12)
    files.as_file(made)
    made.compress(JPEGLSNearLossless, jls_error=40)
    assert abs(seeing(made) - truth / 4095 * 255).max() <= 40 / 4095 * 255 * 2 + 1


@pytest.mark.parametrize(
    ("syntax", "code", "error"),
    [
        ("1.2.840.10008.1.2.4.201", files.HTJ2K_LOSSLESS, 0),
        ("1.2.840.10008.1.2.4.202", files.HTJ2K_LOSSLESS, 0),
        ("1.2.840.10008.1.2.4.203", files.HTJ2K_LOSSLESS, 0),
        ("1.2.840.10008.1.2.4.203", files.HTJ2K_LOSSY, 1),
    ],
)
def test_high_throughput_jpeg_2000(syntax, code, error):
    """Codestreams of another coder, in the progression (RPCL) that .202 asks for."""
    y, x = np.mgrid[:64, :64]
    made = files.encapsulated(files.dicom_image(2 * x + y), base64.b64decode(code))
    assert abs(seeing(made, syntax) - (2 * x + y)).max() <= error


def test_run_lengths():
    """The bars as RLE in 8 and 16 bits are the bars of the JPEG 2000 file, by OpenCV."""
    bars = by_opencv(raw_frame(sample("SC_rgb_gdcm_KY.dcm")))
    for name in ("SC_rgb_rle", "SC_rgb_rle_2frame", "SC_rgb_rle_16bit", "SC_rgb_rle_16bit_2frame"):
        assert (seeing(sample(f"{name}.dcm")) == bars).all()


def test_ybr_full_422_uncompressed():
    """Two luma, then a blue and a red difference for both (PS3.3 C.7.6.3.1.2); RGB by Pillow."""
    made = sample("SC_ybr_full_422_uncompressed.dcm")
    pairs = np.frombuffer(made.PixelData, np.uint8)[: 100 * 50 * 4].reshape(100, 50, 4)
    ybr = np.empty((100, 100, 3), np.uint8)
    ybr[:, 0::2, 0], ybr[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    ybr[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
    expected = np.asarray(Image.fromarray(ybr, "YCbCr").convert("RGB")).astype(int)
    assert abs(seeing(made) - expected).max() <= 1


@pytest.mark.parametrize(("bits", "stored"), [(8, 8), (16, 12), (16, 16)])
def test_colour_by_plane(bits, stored):
    """Planar configuration 1 holds all of red, then green, then blue; all become 8 bits."""
    rgb = np.random.default_rng(0).integers(0, 2**stored, (70, 90, 3))
    made = files.dicom_image(rgb, photometric="RGB", bits=bits, stored=stored)
    made.PlanarConfiguration = 1
    made.PixelData = np.moveaxis(rgb, 2, 0).astype(f"<u{bits // 8}").tobytes()
    assert abs(seeing(made) - rgb / (2**stored - 1) * 255).max() <= 0.51


def test_palette_of_16_bits():
    """Entries of 16 bits are found by index, in a real file by the bytes of its own table."""
    made = sample("examples_palette.dcm")
    index = np.frombuffer(made.PixelData, np.uint8)[: 350 * 800].reshape(350, 800)
    expected = np.stack(
        [
            np.frombuffer(made[f"{name}PaletteColorLookupTableData"].value, "<u2")[index]
            for name in ("Red", "Green", "Blue")
        ],
        -1,
    )
    assert abs(seeing(made) - expected / 65535 * 255).max() <= 0.51


def test_palette_of_16_bit_indices_from_a_first_value_on():
    """Values below the first one that is mapped take the first entry (PS3.3 C.7.6.3.1.5)."""
    rng = np.random.default_rng(1)
    table = rng.integers(0, 65536, (500, 3))
    stored = rng.integers(900, 1500, (70, 90))
    made = files.dicom_image(stored, photometric="PALETTE COLOR", bits=16)
    for number, name in enumerate(("Red", "Green", "Blue")):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [500, 1000, 16])
        data = table[:, number].astype("<u2").tobytes()
        setattr(made, f"{name}PaletteColorLookupTableData", data)
    expected = table[(stored - 1000).clip(0, 499)] / 65535 * 255
    assert abs(seeing(made) - expected).max() <= 0.51


@pytest.mark.parametrize("name", ["liver_1frame", "liver_expb_1frame"])
def test_one_bit_a_pixel(name):
    """One-bit pixels are packed from the lowest bit on (PS3.5 8.1.1), by NumPy.

    As OB, also in the big endian file, they have no byte order.
    """
    made = sample(f"{name}.dcm")
    assert made["PixelData"].VR == "OB"
    data = np.frombuffer(made.PixelData, np.uint8)
    expected = np.unpackbits(data, bitorder="little")[: 512 * 512].reshape(512, 512) * 255
    assert (seeing(made) == expected).all()


def test_twelve_bits_in_a_real_window():
    """A real 12-bit image through the first of its windows, by the formula of PS3.3 C.11.2.1.2."""
    made = sample("examples_overlay.dcm")
    stored = np.frombuffer(made.PixelData, "<u2")[: 300 * 484].reshape(300, 484) & 0xFFF
    expected = ((stored - (450 - 0.5)) / (790 - 1) + 0.5).clip(0, 1) * 255
    assert abs(seeing(made) - expected).max() <= 0.51


def test_bits_above_those_stored():
    """An overlay in the unused upper bits, as PACS once kept them, is no part of the picture."""
    stored = np.arange(80 * 100).reshape(80, 100) % 4096
    plain = seeing(files.dicom_image(stored, bits=16, stored=12))
    assert (seeing(files.dicom_image(stored | 0xA000, bits=16, stored=12)) == plain).all()


def test_big_endian_and_deflated():
    """Signed 16 bits from the high byte on, and a data set that zlib alone inflates."""
    made = sample("MR_small_bigendian.dcm")
    stored = np.frombuffer(made.PixelData, ">i2").reshape(64, 64).astype(int)
    expected = ((stored - (600 - 0.5)) / (1600 - 1) + 0.5).clip(0, 1) * 255
    assert abs(seeing(made) - expected).max() <= 0.51
    deflated = whole("image_dfl.dcm")
    meta_end = 144 + int.from_bytes(deflated[140:144], "little")
    plain = zlib.decompress(deflated[meta_end:], -zlib.MAX_WBITS)
    at = plain.index(b"\xe0\x7f\x10\x00OB\0\0") + 12
    expected = np.frombuffer(plain, np.uint8, 512 * 512, at).reshape(512, 512)
    assert (decode(deflated).pixels == expected).all()


def test_the_first_compressed_frame_that_shows_something():
    """Of many encapsulated frames the blank ones are passed over, and the right one is decoded."""
    made = sample("examples_ybr_color.dcm")
    _, coded = cv2.imencode(".jpg", np.full((240, 320, 3), 255, np.uint8))
    blank, shown = coded.tobytes(), raw_frame(made, 17)
    found = decode(as_bytes(files.encapsulated(made, blank, blank, shown)))
    assert found.facts["frame"] == "3 of 3"
    assert abs(found.pixels - by_opencv(shown)).max() <= 1


def test_jpeg_extended_of_8_bits_alone():
    """JPEG Extended (.51) is decoded of 8 bits; of 12 it is refused by name, never seen wrong."""
    made = sample("SC_rgb_jpeg_dcmtk.dcm")
    expected = by_opencv(raw_frame(made))
    assert abs(seeing(made, JPEGExtended12Bit) - expected).max() <= 1
    for name in ("JPEG-lossy.dcm", "JPGExtended.dcm"):
        with pytest.raises(Undecodable, match=r"JPEG Extended .*cannot be decoded"):
            decode(as_bytes(sample(name)))


def test_jpeg_lossless_is_refused_by_name():
    """There is no decoder for it here (docs/decisions/0006-dependencies.md)."""
    with pytest.raises(Undecodable, match=r"JPEG Lossless.*cannot be decoded"):
        decode(as_bytes(sample("SC_rgb_jpeg_gdcm.dcm")))
