"""aECG, MUSE and Sierra documents made from known samples."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from support import ecg_files as files

from inference.decode import decode
from inference.decode.sierra import xli
from inference.errors import Undecodable, Unscorable


def test_aecg():
    """Origin, scale and their units count; ms increments give the rate."""
    truth = files.recording()
    found = decode(files.aecg(truth, scale=2.5, origin=100))
    assert found.rate_hz == pytest.approx(500)
    np.testing.assert_allclose(found.samples_mv, 0.1 + truth * 2.5e-3, atol=1e-5)
    found = decode(files.aecg(truth, unit="mV", scale=0.005))
    np.testing.assert_allclose(found.samples_mv, truth * 5e-3, atol=1e-5)


def test_aecg_without_scale():
    """Samples without a scale are not calibrated."""
    with pytest.raises(Unscorable, match="no-calibration"):
        decode(files.aecg(files.recording()).replace(b"<scale", b"<skale"))


def test_muse():
    """Eight leads at 4.88 uV; the limb leads follow; the DOCTYPE is no obstacle."""
    truth = files.recording()
    found = decode(files.muse(truth))
    np.testing.assert_allclose(found.samples_mv, truth * 4.88e-3, atol=1e-4)
    assert found.facts["derived"] == "III aVR aVL aVF"


def test_muse_that_is_damaged():
    """A wrong checksum, a truncated lead, a loose electrode and a median alone are refused."""
    whole = files.muse(files.recording())
    with pytest.raises(Undecodable, match="checksum"):
        decode(whole.replace(b"<LeadDataCRC32>", b"<LeadDataCRC32>1", 1))
    with pytest.raises(Undecodable, match="truncated"):
        decode(whole.replace(b"Total>5000<", b"Total>5001<", 1))
    with pytest.raises(Unscorable, match="lead-off"):
        decode(whole.replace(b"<LeadOff>FALSE", b"<LeadOff>TRUE", 1))
    with pytest.raises(Unscorable, match="too-short"):
        decode(whole.replace(b"Rhythm", b"Median"))
    with pytest.raises(Unscorable, match="too-few-leads"):
        decode(files.muse(files.recording(), leads=("I", "V1")))
    with pytest.raises(Undecodable):
        decode(whole[: len(whole) // 2])


def _packed(codes: list[int]) -> bytes:
    text = "".join(format(code, "010b") for code in codes)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _lzw(data: bytes) -> bytes:
    """A plain LZW coder with 10-bit codes, 1023 at the end."""
    table = {bytes((value,)): value for value in range(256)}
    codes, text = [], b""
    for value in data:
        longer = text + bytes((value,))
        if longer in table:
            text = longer
            continue
        codes.append(table[text])
        if len(table) <= 1022:
            table[longer] = len(table)
        text = bytes((value,))
    return _packed([*codes, table[text], 1023])


def _xli(row: np.ndarray) -> bytes:
    """One lead's chunk, encoded by the rule: x[n] = 2 x[n-1] - x[n-2] - (d[n-1] - 64)."""
    row = row.astype(np.int64)
    turns = -(row[2:] - 2 * row[1:-1] + row[:-2])
    stored = np.concatenate([row[:2], turns[1:] + 64, [64]]).astype(np.int16)
    unsigned = stored.view(np.uint16)
    raw = (unsigned >> 8).astype(np.uint8).tobytes() + (unsigned & 255).astype(np.uint8).tobytes()
    chunk = _lzw(raw)
    return (
        len(chunk).to_bytes(4, "little")
        + b"\0\0"
        + int(turns[0]).to_bytes(2, "little", signed=True)
        + chunk
    )


def test_xli():
    """XLI gives back what an independent coder put in."""
    truth = files.recording(4)
    data = b"".join(_xli(row) for row in truth)
    found = xli(data, 12, truth.shape[1])
    np.testing.assert_array_equal(np.stack(found), truth)
    for cut in (0, 5, len(data) // 2, len(data) - 40):
        with pytest.raises(Undecodable):
            xli(data[:cut], 12, truth.shape[1])


def sierra(
    rows: list[np.ndarray], *, compression: str, data: bytes, version: str = "1.04"
) -> bytes:
    return (
        '<restingecgdata xmlns="http://www3.medical.philips.com"><documentinfo>'
        f"<documenttype>PhilipsECG</documenttype><documentversion>{version}</documentversion>"
        "</documentinfo><dataacquisition><signalcharacteristics><samplingrate>500</samplingrate>"
        "<resolution>5</resolution></signalcharacteristics></dataacquisition><waveforms>"
        f'<parsedwaveforms dataencoding="Base64" {compression} numberofleads="12" '
        f'leadlabels="{" ".join(files.LEADS)}" durationperchannel="{2 * rows[0].size}">'
        f"{base64.b64encode(data).decode()}</parsedwaveforms></waveforms></restingecgdata>"
    ).encode()


def test_sierra():
    """Limb leads are rebuilt from their remainders; plain documents hold the leads themselves."""
    truth = files.recording(10)
    one, two, three = truth[:3]
    remainders = [
        one, two, two - one - three, -truth[3] - (one + two >> 1), (one - three >> 1) - truth[4],
        (two + three >> 1) - truth[5], *truth[6:],
    ]  # fmt: skip
    data = b"".join(_xli(row) for row in remainders)
    found = decode(sierra(list(truth), compression='compression="XLI"', data=data))
    np.testing.assert_allclose(found.samples_mv, truth * 5e-3, atol=1e-5)
    plain = truth.astype("<i2").tobytes()
    found = decode(sierra(list(truth), compression="", data=plain))
    np.testing.assert_allclose(found.samples_mv, truth * 5e-3, atol=1e-5)
    with pytest.raises(Undecodable, match="truncated"):
        decode(sierra(list(truth), compression="", data=plain[:-2]))


@pytest.mark.parametrize("version", ["1.03", "1.04", "1.04.01", "1.04.02"])
def test_sierra_versions_that_are_read(version):
    """Those that the format's own tools (PyPI `sierraecg`) read in the same way."""
    truth = files.recording(10)
    plain = truth.astype("<i2").tobytes()
    found = decode(sierra(list(truth), compression="", data=plain, version=version))
    np.testing.assert_allclose(found.samples_mv, truth * 5e-3, atol=1e-5)


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<AnnotatedECG>&b;</AnnotatedECG>"
)


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        b"<html></html>",
        b"<AnnotatedECG",
        b"<a>" * 2000,
        b"<?xml version='1.0' encoding='x'?><a/>",
    ],
)
def test_other_documents(document):
    """Entities, other vocabularies and broken documents are undecodable."""
    with pytest.raises(Undecodable):
        decode(document)


@pytest.mark.parametrize("root", ["AnnotatedECG", "RestingECG", "restingecgdata"])
def test_empty_documents(root):
    """The right root with nothing in it has a reason."""
    with pytest.raises((Undecodable, Unscorable)):
        decode(f"<{root}/>".encode())


def test_utf16():
    """A document in UTF-16 is read, as Philips carts write them."""
    truth = files.recording(10)
    text = files.aecg(truth).decode()
    found = decode(b"\xff\xfe" + text.encode("utf-16-le"))
    np.testing.assert_allclose(found.samples_mv, truth * 2.5e-3, atol=1e-5)
