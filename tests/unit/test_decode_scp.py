"""SCP-ECG records of our own encoder, which shares nothing with the reader.

So that the two do not misread the standard alike, `ecgdatakit` (Apache-2.0) reads each record too.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from ecgdatakit import FileParser
from support import ecg_files as files

from inference.decode import decode
from inference.errors import Undecodable, Unscorable

DEFAULT = struct.pack("<H", 19999)


def agreed(record: bytes, tmp_path: Path) -> np.ndarray:
    """(12, samples) mV as both readers have them."""
    path = tmp_path / "record.scp"
    path.write_bytes(record)
    theirs = {lead.label: lead for lead in FileParser().parse(path).leads}
    assert [lead.units for lead in theirs.values()] == ["mV"] * 12
    found = decode(record)
    expected = np.stack([theirs[name].samples for name in files.LEADS])
    np.testing.assert_allclose(found.samples_mv, expected, atol=1e-5)
    return found.samples_mv


def _differences(row: np.ndarray, order: int) -> list[int]:
    row = row.astype(np.int64)
    return [*row[:order].tolist(), *np.diff(row, order).tolist()]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_default_huffman_and_differences(order, tmp_path):
    """The default table with first and second differences gives the samples back."""
    truth = files.recording(3)
    encoded = [files.scp_default_huffman(_differences(row, order)) for row in truth]
    record = files.scp(truth, encoded=encoded, difference=order, huffman=DEFAULT)
    assert decode(record).rate_hz == 500
    np.testing.assert_allclose(agreed(record, tmp_path), truth * 2.5e-3, atol=1e-5)


def test_differences_of_16_bit_arithmetic(tmp_path):
    """A second difference beyond 16 bits is stored without its upper bits, and comes back whole."""
    truth = np.tile(np.array([0, 30000, -30000, 30000, -30000, 12, 5], np.int64), (12, 100))
    wrapped = [np.array(_differences(row, 2)).astype(np.int16).tolist() for row in truth]
    assert abs(np.diff(truth[0], 2)).max() > 1 << 16
    encoded = [files.scp_default_huffman(values) for values in wrapped]
    record = files.scp(truth, encoded=encoded, difference=2, huffman=DEFAULT)
    np.testing.assert_allclose(agreed(record, tmp_path), truth * 2.5e-3, atol=1e-4)


def test_plain_samples(tmp_path):
    """Without section 2 the samples are 16-bit numbers."""
    truth = files.recording(3)
    encoded = [row.astype("<i2").tobytes() for row in truth]
    record = files.scp(truth, encoded=encoded, difference=0, huffman=None)
    np.testing.assert_allclose(agreed(record, tmp_path), truth * 2.5e-3, atol=1e-5)


def test_tables_of_its_own(tmp_path):
    """Tables in the record are used, and the switch from one to the other is followed."""
    code = struct.Struct("<BBBhI")
    # table 1: 0 -> 16-bit value, 1 -> go on with table 2; table 2: 0 -> value 7, 1 -> table 1
    one = struct.pack("<H", 2) + code.pack(1, 17, 1, 0, 0) + code.pack(1, 1, 0, 2, 1)
    two = struct.pack("<H", 2) + code.pack(1, 1, 1, 7, 0) + code.pack(1, 1, 0, 1, 1)
    truth = np.full((12, 3), 7)
    truth[:, 1:] = [[7, -300]]
    bits = "1" + "0" + "0" + "1" + "0" + format(-300 & 0xFFFF, "016b")
    bits += "0" * (-len(bits) % 8)
    encoded = [int(bits, 2).to_bytes(len(bits) // 8, "big")] * 12
    record = files.scp(
        truth, encoded=encoded, difference=0, huffman=struct.pack("<H", 2) + one + two
    )
    np.testing.assert_allclose(agreed(record, tmp_path), truth * 2.5e-3, atol=1e-5)


@pytest.mark.parametrize("first", [1, 61])
def test_reference_beat(first, tmp_path):
    """The subtracted beat is put back at every fiducial point, also in leads that begin late."""
    truth = files.recording(3)
    shape = (200 * np.exp(-0.5 * ((np.arange(100) - 40) / 8) ** 2)).round().astype(int)
    rest, beats = truth.copy(), []
    for fiducial in (200, 700, 1200):
        begin = fiducial - 40
        rest[:, begin : begin + 100] -= shape
        numbers = begin + first, fiducial + first, begin + 99 + first
        beats.append(struct.pack("<HIII", 0, *numbers))
    four = struct.pack("<HHH", 200, 41, 3) + b"".join(beats)
    block = files.scp_default_huffman(shape.tolist())
    five = struct.pack("<HHBB", 2500, 2000, 0, 0) + struct.pack("<12H", *[len(block)] * 12)
    encoded = [files.scp_default_huffman(_differences(row, 2)) for row in rest]
    record = files.scp(
        truth, encoded=encoded, difference=2, huffman=DEFAULT, beats=(four, five + block * 12),
        first=first,
    )  # fmt: skip
    np.testing.assert_allclose(agreed(record, tmp_path), truth * 2.5e-3, atol=1e-5)


def test_records_that_are_refused():
    """Truncation, a changed byte and bimodal compression are undecodable."""
    truth = files.recording(1)
    encoded = [files.scp_default_huffman(_differences(row, 2)) for row in truth]
    whole = files.scp(truth, encoded=encoded, difference=2, huffman=DEFAULT)
    for cut in [*range(30, 600, 31), len(whole) - 1]:
        with pytest.raises((Undecodable, Unscorable)):
            decode(whole[:cut])
    with pytest.raises(Undecodable, match="checksum"):
        decode(whole[:-5] + bytes((whole[-5] ^ 1,)) + whole[-4:])
    with pytest.raises(Undecodable, match="bimodal"):
        decode(files.scp(truth, encoded=encoded, difference=2, huffman=DEFAULT, bimodal=1))
    early = [block[:-20] for block in encoded]
    with pytest.raises(Undecodable, match="early"):
        decode(files.scp(truth, encoded=early, difference=2, huffman=DEFAULT))
