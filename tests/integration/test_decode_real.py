"""Real files of carts, against readers that are not ours and against one another."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pypdfium2
import pytest
import sierraecg
from ecgdatakit import FileParser
from pydicom.data import get_testdata_file

from inference.decode import decode
from inference.decode.wfdb import read
from inference.errors import Undecodable, Unscorable
from inference.forms import LEADS, Picture, Waveform
from inference.render import panel
from inference.tracings import cut

pytestmark = pytest.mark.shared


def of(path: Path) -> Waveform:
    found = decode(path.read_bytes())
    assert isinstance(found, Waveform)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "ecgtoolkit_Example", "guangxi_teaching_sinus_rhythm", "pydicom_waveform_ecg",
        "synthetic_muse",
    ],
)  # fmt: skip
def test_dicom_against_pydicom(shared, name):
    """Every sample of Mortara's, GE's and a toolkit's files is what pydicom's own reader gives."""
    path = shared / "vendor" / "dicom" / f"{name}.dcm"
    ours, theirs = of(path), pydicom.dcmread(path)
    values = theirs.waveform_array(0).T / 1000  # uV, rhythm
    codes = [
        int(channel.ChannelSourceSequence[0].CodeValue.replace("-", ":").split(":")[-1])
        for channel in theirs.WaveformSequence[0].ChannelDefinitionSequence
    ]
    assert codes == [1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8]  # CID 3001, in our order
    assert ours.rate_hz == theirs.WaveformSequence[0].SamplingFrequency
    np.testing.assert_allclose(ours.samples_mv, values, atol=1e-5)


def test_one_ecg_in_three_formats(shared):
    """The same ECG as DICOM, aECG and SCP-ECG decodes to the same samples."""
    vendor = shared / "vendor"
    dicom = of(vendor / "dicom" / "ecgtoolkit_Example.dcm").samples_mv
    for path in ("aecg/ecgtoolkit_Example.xml", "scp/ecgtoolkit_Example.scp"):
        np.testing.assert_allclose(of(vendor / path).samples_mv, dicom, atol=1e-5)


@pytest.mark.parametrize("name", ["guangxi_teaching_sinus_rhythm", "synthetic_muse"])
def test_muse_against_its_dicom(shared, name):
    """The same ECG as MUSE XML and as DICOM differs by rounding of derived leads alone."""
    xml = of(shared / "vendor" / "musexml" / f"{name}.xml").samples_mv
    dicom = of(shared / "vendor" / "dicom" / f"{name}.dcm").samples_mv
    np.testing.assert_allclose(xml, dicom, atol=4.88e-3 / 2 + 1e-6)
    np.testing.assert_allclose(xml[[0, 1, *range(6, 12)]], dicom[[0, 1, *range(6, 12)]], atol=1e-6)


@pytest.mark.parametrize("folder", ["aecg", "musexml", "scp", "sierra"])
def test_carts_files_against_ecgdatakit(shared, folder):
    """Every lead that another library finds in a cart's file, in millivolts, is what ours holds."""
    compared = 0
    for path in sorted((shared / "vendor" / folder).iterdir()):
        if path.name.startswith("invalid"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a median's checksum
            theirs = FileParser().parse(path)
        ours = of(path)
        count = ours.samples_mv.shape[1]  # of Sierra the calibration pulse is left out
        for lead in theirs.leads:
            row = ours.samples_mv[LEADS.index(lead.label)]
            assert (lead.sampling_rate, lead.units) == (ours.rate_hz, "mV")
            np.testing.assert_allclose(row, lead.samples[:count], atol=1e-5, err_msg=path.name)
            compared += 1
    assert compared >= 12


@pytest.mark.parametrize(
    "name",
    ["129DYPRG.XML", "3191723_ZZDEMOPTONLY_1-04_orig.xml", "ad4d3d80-d165_1-04_orig.xml"],
)
def test_sierra_against_the_sierraecg_package(shared, name):
    """Every sample of every lead is what the format's own tools give, at 5 uV a unit."""
    path = shared / "vendor" / "sierra" / name
    ours, theirs = of(path), sierraecg.read_file(str(path))
    assert [lead.label for lead in theirs.leads[:12]] == list(LEADS)
    expected = np.stack([lead.samples for lead in theirs.leads[:12]])[:, :5000]  # then the pulse
    assert ours.rate_hz == theirs.leads[0].sampling_freq
    np.testing.assert_array_equal(np.rint(ours.samples_mv * 200), expected)
    np.testing.assert_allclose(ours.samples_mv, expected / 200, atol=1e-6)


@pytest.mark.parametrize("name", ["invalid-doc-type.xml", "invalid-doc-version.xml"])
def test_sierra_of_an_unknown_version(shared, name):
    """A version that nobody described is not guessed at."""
    with pytest.raises(Undecodable, match="version"):
        decode((shared / "vendor" / "sierra" / name).read_bytes())


def test_wfdb_against_the_wfdb_package(shared):
    """All WFDB records of five data sets are what PhysioNet's reader gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about itself while it is imported
        import wfdb
    headers = sorted((shared / "waveforms").glob("*/*.hea"))
    assert len(headers) > 30
    for header in headers:
        ours = read(header)
        record = wfdb.rdrecord(str(header.with_suffix("")))
        columns = [name.lower() for name in record.sig_name]
        expected = record.p_signal[:, [columns.index(lead.lower()) for lead in LEADS]].T
        assert ours.rate_hz == record.fs
        np.testing.assert_allclose(
            ours.samples_mv, expected[:, : ours.samples_mv.shape[1]], atol=1e-4, err_msg=header.stem
        )


def test_pdfs_are_to_scale(shared):
    """Each PDF page is rendered to the millimetre of its page box."""
    paths = sorted((shared / "vendor" / "pdf").glob("*.pdf"))
    assert paths
    for path in paths:
        found = decode(path.read_bytes())
        assert isinstance(found, Picture)
        document = pypdfium2.PdfDocument(path)
        width, height = document.get_page_size(0)
        document.close()
        expected = np.array([height, width]) / 72 * 25.4
        size = np.array(found.pixels.shape[:2]) * found.mm_per_px
        np.testing.assert_allclose(size, expected, atol=0.2)
        assert found.pixels.min() < 50


def test_pages_and_photographs(shared):
    """Every real page and photograph is a picture; the truncated one is an error, not a crash."""
    pages = [*sorted((shared / "mendeley" / "pages_full").glob("*"))[:5]]
    photographs = sorted(p for p in (shared / "paper_photos").rglob("*") if p.is_file())
    read_pictures, refused = 0, 0
    for path in [*pages, *photographs]:
        try:
            found = decode(path.read_bytes())
        except (Undecodable, Unscorable):
            refused += 1
            continue
        assert isinstance(found, Picture)
        assert found.pixels.dtype == np.uint8
        read_pictures += 1
    assert read_pictures >= 15
    assert refused <= 2


def test_every_real_waveform_fills_a_page(shared):
    """Whatever decodes can be cut and drawn, or is refused with a reason."""
    vendor = shared / "vendor"
    for path in [*vendor.glob("dicom/*"), *vendor.glob("musexml/*"), *vendor.glob("scp/*")]:
        ink = (panel(cut(of(path))) < 128).sum()
        assert 4000 < ink < 40000, path.name


def test_every_file_of_pydicom():
    """86 odd DICOM files give an ECG, a picture or one of our errors, and nothing else."""
    folder = Path(get_testdata_file("waveform_ecg.dcm")).parent
    read_files = 0
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = decode(path.read_bytes(), "application/dicom")
            except (Undecodable, Unscorable):
                continue
        assert isinstance(found, (Picture, Waveform))
        read_files += 1
    assert read_files > 20
