"""SCP-ECG records made by an encoder of our own that shares nothing with the reader."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from support import ecg_files as files

from inference.decode import decode
from inference.errors import Undecodable, Unscorable

DEFAULT = struct.pack("<H", 19999)


def _differences(row: np.ndarray, order: int) -> list[int]:
    row = row.astype(np.int64)
    return [*row[:order].tolist(), *np.diff(row, order).tolist()]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_default_huffman_and_differences(order):
    """The default table with first and second differences gives the samples back."""
    truth = files.recording(3)
    encoded = [files.scp_default_huffman(_differences(row, order)) for row in truth]
    found = decode(files.scp(truth, encoded=encoded, difference=order, huffman=DEFAULT))
    assert found.rate_hz == 500
    np.testing.assert_allclose(found.samples_mv, truth * 2.5e-3, atol=1e-5)


def test_plain_samples():
    """Without section 2 the samples are 16-bit numbers."""
    truth = files.recording(3)
    encoded = [row.astype("<i2").tobytes() for row in truth]
    found = decode(files.scp(truth, encoded=encoded, difference=0, huffman=None))
    np.testing.assert_allclose(found.samples_mv, truth * 2.5e-3, atol=1e-5)


def test_tables_of_its_own():
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
    np.testing.assert_allclose(decode(record).samples_mv, truth * 2.5e-3, atol=1e-5)


def test_reference_beat():
    """The subtracted beat is put back at every fiducial point."""
    truth = files.recording(3)
    shape = (200 * np.exp(-0.5 * ((np.arange(100) - 40) / 8) ** 2)).round().astype(int)
    rest, beats = truth.copy(), []
    for fiducial in (200, 700, 1200):
        first = fiducial - 40
        rest[:, first : first + 100] -= shape
        beats.append(struct.pack("<HIII", 0, first + 1, fiducial + 1, first + 100))
    four = struct.pack("<HHH", 200, 41, 3) + b"".join(beats)
    block = files.scp_default_huffman(shape.tolist())
    five = struct.pack("<HHBB", 2500, 2000, 0, 0) + struct.pack("<12H", *[len(block)] * 12)
    encoded = [files.scp_default_huffman(_differences(row, 2)) for row in rest]
    record = files.scp(
        truth, encoded=encoded, difference=2, huffman=DEFAULT, beats=(four, five + block * 12)
    )
    np.testing.assert_allclose(decode(record).samples_mv, truth * 2.5e-3, atol=1e-5)


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
