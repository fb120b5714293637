"""Which presentation contexts are taken."""

import pytest
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from gateway.dicom import contexts


def test_every_compressed_syntax_taken_can_be_decoded():
    """Nothing is accepted from a cart that this install could not turn into pixels later."""
    for syntax in contexts.COMPRESSED_IMAGES:
        assert get_decoder(UID(syntax)).is_available, syntax


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
    ],
)
def test_the_senders_first_acceptable_syntax_wins(offered, chosen):
    """The object stays as its maker encoded it; Implicit and Deflated come last."""
    assert contexts.choose(contexts.SECONDARY_CAPTURE, offered) == (contexts.ACCEPTED, chosen)


def test_a_compressed_waveform_does_not_exist():
    """JPEG is taken for images only."""
    result, _ = contexts.choose(contexts.TWELVE_LEAD_ECG, ["1.2.840.10008.1.2.4.50"])
    assert result == contexts.TRANSFER_SYNTAXES_NOT_SUPPORTED
