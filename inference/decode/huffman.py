"""Huffman codes of SCP-ECG section 2 (EN 1064:2020, 5.5 and annex C)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import Undecodable

_DEFAULT = 19999
_WINDOW = 16  # no prefix is longer
_STRUCTURE = struct.Struct("<BBBhI")


@dataclass(frozen=True)
class Code:
    """One code structure.

    Attributes:
        prefix: its bits as a string.
        bits: total bits, prefix included; the rest is a two's complement value.
        value: decoded value when there is no rest.
        switch: 1-based number of the table to go on with, 0 when the code is a value.
    """

    prefix: str
    bits: int
    value: int
    switch: int = 0


Table = list[Code | None]
"""Indexed by the next `_WINDOW` bits."""


def default_table() -> Table:
    """The standard's table: small values short, then 8 and 16 bits in full (annex C, table C.1)."""
    codes = [Code("0", 1, 0)]
    for size in range(1, 9):
        codes.append(Code("1" * size + "00", size + 2, size))
        codes.append(Code("1" * size + "01", size + 2, -size))
    codes += [Code("1111111110", 18, 0), Code("1111111111", 26, 0)]
    return _indexed(codes)


def tables(section: bytes) -> list[Table]:
    """Read the body of section 2.

    Raises:
        Undecodable: truncated or contradictory tables.
    """
    if len(section) < 2:
        raise Undecodable("SCP-ECG without Huffman tables")
    number = int.from_bytes(section[:2], "little")
    if number == _DEFAULT:
        return [default_table()]
    at, out = 2, []
    for _ in range(min(number, 64)):
        count = int.from_bytes(section[at : at + 2], "little")
        at += 2
        codes = []
        for _ in range(count):
            if at + _STRUCTURE.size > len(section):
                raise Undecodable("truncated Huffman table")
            prefix_bits, bits, is_value, value, base = _STRUCTURE.unpack_from(section, at)
            at += _STRUCTURE.size
            # the first bit of the stream is the lowest of the stored code
            prefix = "".join("1" if base >> i & 1 else "0" for i in range(prefix_bits))
            codes.append(Code(prefix, bits, value, 0 if is_value else value))
        out.append(_indexed(codes))
    if not out:
        raise Undecodable("SCP-ECG without Huffman tables")
    return out


def _indexed(codes: list[Code]) -> Table:
    table: Table = [None] * (1 << _WINDOW)
    for code in codes:
        rest = _WINDOW - len(code.prefix)
        if not code.prefix or rest < 0 or code.bits < len(code.prefix) or code.bits > 40:
            raise Undecodable("a Huffman code that cannot be")
        first = int(code.prefix, 2) << rest
        table[first : first + (1 << rest)] = [code] * (1 << rest)
    return table


def decode(data: bytes, count: int, by: list[Table]) -> NDArray[np.int64]:
    """Decode `count` values.

    Raises:
        Undecodable: the data ends early or holds an unknown code.
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    ends = bits.size
    padded = np.concatenate([bits, np.zeros(_WINDOW + 64, np.uint8)]).astype(np.int64)
    windows = sum(padded[i : i + ends + 1] << (_WINDOW - 1 - i) for i in range(_WINDOW))
    peek = np.asarray(windows).tolist()
    whole = int.from_bytes(data, "big")
    table, at = by[0], 0
    out: list[int] = []
    while len(out) < count:
        code = table[peek[at]] if at < ends else None
        if code is None or at + code.bits > ends:
            raise Undecodable("SCP-ECG samples end early or are damaged")
        at += code.bits
        if code.switch:
            if code.switch > len(by):
                raise Undecodable("a Huffman table that is not there")
            table = by[code.switch - 1]
            continue
        out.append(code.value if code.bits == len(code.prefix) else _rest(whole, ends - at, code))
    return np.array(out, np.int64)


def _rest(whole: int, below: int, code: Code) -> int:
    """The two's complement number after a prefix."""
    size = code.bits - len(code.prefix)
    value = whole >> below & ((1 << size) - 1)
    return value - (1 << size) if value >> (size - 1) else value
