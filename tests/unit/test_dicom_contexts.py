"""Which presentation contexts are taken."""

from base64 import b64decode

import numpy as np
import pytest
from pydicom import dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder
from pydicom.uid import UID
from support import ecg_files as files

from gateway.dicom import contexts
from inference.decode import decode
from inference.forms import Picture

REAL = {
    "1.2.840.10008.1.2.4.50": "SC_rgb_jpeg_dcmtk.dcm",
    "1.2.840.10008.1.2.4.80": "MR_small_jpeg_ls_lossless.dcm",
    "1.2.840.10008.1.2.4.81": "SC_rgb_jls_lossy_line.dcm",
    "1.2.840.10008.1.2.4.90": "examples_jpeg2k.dcm",
    "1.2.840.10008.1.2.4.91": "SC_rgb_gdcm_KY.dcm",
    "1.2.840.10008.1.2.5": "SC_rgb_rle.dcm",
}
"""Compressed files of pydicom's wheel; tests/unit/test_decode_pixels.py compares their values."""


def of_syntax(syntax: str) -> bytes:
    """A file in this transfer syntax, coded by others than what reads it."""
    if syntax in REAL:
        found = dcmread(get_testdata_file(REAL[syntax], download=False))
        found.Modality = "OT"
    elif syntax == contexts.JPEG_EXTENDED:
        found = dcmread(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False))
    else:
        code = b64decode(files.HTJ2K_LOSSLESS)
        found = files.encapsulated(files.dicom_image(np.zeros((64, 64))), code)
    return files.as_file(found, syntax)


@pytest.mark.parametrize("syntax", contexts.COMPRESSED_IMAGES)
def test_every_compressed_syntax_taken_is_decoded(syntax):
    """Nothing is accepted from a cart that this install could not turn into pixels later."""
    found = decode(of_syntax(syntax))
    assert isinstance(found, Picture)
    assert found.facts["syntax"] == syntax
    assert found.pixels.max() - found.pixels.min() > 150


def test_what_pydicom_knows_and_this_install_cannot_decode_is_not_taken():
    """JPEG Lossless has no decoder here; of all others there is one, so the list is complete."""
    known = {str(uid) for uid in UID_dictionary if UID(uid).is_transfer_syntax}
    lossless_jpeg = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
    decoded = {uid for uid in known if available(uid)}
    taken = set(contexts.UNCOMPRESSED + contexts.COMPRESSED_IMAGES)
    assert not taken & lossless_jpeg
    assert decoded - taken == {"1.2.840.10008.1.2.2"}  # big endian: of files alone
    assert taken <= decoded


def available(syntax: str) -> bool:
    try:
        return get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        return False


def test_every_storage_class_is_what_the_standard_calls_it():
    """The UIDs typed here are the ones of the standard's registry."""
    names = {UID(uid).name for uid in contexts.STORAGE}
    assert "12-lead ECG Waveform Storage" in names
    assert "General 32-bit ECG Waveform Storage" in names
    assert len(names) == len(contexts.STORAGE) == 11
    assert all("Storage" in name for name in names)


def test_a_storage_class_of_another_kind_is_refused_by_itself():
    """A CT image is no ECG."""
    result, _ = contexts.choose("1.2.840.10008.5.1.4.1.1.2", [contexts.EXPLICIT_LE])
    assert result == contexts.ABSTRACT_SYNTAX_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([contexts.IMPLICIT_LE], contexts.IMPLICIT_LE),
        ([contexts.IMPLICIT_LE, contexts.EXPLICIT_LE], contexts.EXPLICIT_LE),
        ([contexts.DEFLATED_LE, contexts.IMPLICIT_LE], contexts.IMPLICIT_LE),
        ([contexts.DEFLATED_LE], contexts.DEFLATED_LE),
        (["1.2.840.10008.1.2.4.50", contexts.EXPLICIT_LE], "1.2.840.10008.1.2.4.50"),
        (["1.2.840.10008.1.2.2", contexts.EXPLICIT_LE], contexts.EXPLICIT_LE),
        (["1.2.840.10008.1.2.4.70", contexts.IMPLICIT_LE], contexts.IMPLICIT_LE),
        ([contexts.JPEG_EXTENDED, contexts.IMPLICIT_LE], contexts.IMPLICIT_LE),
        ([contexts.JPEG_EXTENDED, contexts.DEFLATED_LE], contexts.DEFLATED_LE),
        ([contexts.JPEG_EXTENDED, "1.2.840.10008.1.2.4.50"], "1.2.840.10008.1.2.4.50"),
        ([contexts.JPEG_EXTENDED], contexts.JPEG_EXTENDED),
        (["1.2.840.10008.1.2.4.202"], "1.2.840.10008.1.2.4.202"),
    ],
)
def test_the_senders_first_acceptable_syntax_wins(offered, chosen):
    """The object stays as its maker encoded it; Implicit, Deflated and Extended come last."""
    assert contexts.choose(contexts.SECONDARY_CAPTURE, offered) == (contexts.ACCEPTED, chosen)


def test_a_compressed_waveform_does_not_exist():
    """JPEG is taken for images only."""
    result, _ = contexts.choose(contexts.TWELVE_LEAD_ECG, ["1.2.840.10008.1.2.4.50"])
    assert result == contexts.TRANSFER_SYNTAXES_NOT_SUPPORTED
