"""Walks an encoded data set without decoding it: where each top-level element is (PS3.5 chapter 7).

The walk reaches the end of the bytes, so a truncated object shows, but looks into no value: pixels,
samples and documents stay untouched, and memory does not grow with them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.dicom.contexts import DEFLATED_LE, IMPLICIT_LE
from gateway.errors import BadInput, NotUnderstood

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
MAX_DEPTH = 32

SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_TAG_LENGTH = struct.Struct("<HHI").unpack_from
_TAG_VR_LENGTH = struct.Struct("<HH2sH").unpack_from
_VR_LENGTH = struct.Struct("<4x2sH").unpack_from
_LENGTH = struct.Struct("<I").unpack_from


@dataclass(frozen=True, slots=True)
class Element:
    """One element.

    Attributes:
        tag: group << 16 | element.
        value: its encoded value; of a sequence, its items with their headers.
    """

    tag: int
    value: memoryview


def inflated(
    data: bytes | bytearray | memoryview, transfer_syntax: str, max_bytes: int
) -> memoryview:
    """Give the data set as its plain encoding; only Deflated (PS3.5 A.5) needs work.

    Raises:
        NotUnderstood: not a deflate stream, or it is cut off.
        BadInput: it would inflate beyond `max_bytes`.
    """
    if transfer_syntax != DEFLATED_LE:
        return memoryview(data)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise NotUnderstood("the deflated data set is damaged") from error
    if len(plain) > max_bytes:
        raise BadInput(f"the deflated data set inflates beyond {max_bytes} bytes")
    if not stream.eof:
        raise NotUnderstood("the deflated data set is cut off")
    return memoryview(plain)


def walk(data: memoryview, *, implicit: bool) -> Iterator[Element]:
    """Yield the top-level elements of a little endian data set.

    Raises:
        NotUnderstood: not a data set in this encoding, or it ends too early.
    """
    position, size = 0, len(data)
    while position < size:
        tag, start, length = _element(data, position, implicit=implicit)
        if length == UNDEFINED:
            inner_implicit = implicit or bytes(data[position + 4 : position + 6]) == b"UN"
            end = _end_of_sequence(data, start, implicit=inner_implicit)
            position = end + 8
        else:
            position = end = _bounded(size, start, length)
        yield Element(tag, data[start:end])


def items(element: Element, *, implicit: bool) -> Iterator[memoryview]:
    """Yield the data sets of the items of a sequence element."""
    data, position = element.value, 0
    while position < len(data):
        tag, length = _tag_and_length(data, position)
        if tag != ITEM:
            raise NotUnderstood(f"a sequence holds {tag:08x} where an item should be")
        start = position + 8
        if length == UNDEFINED:
            end = _end_of_item(data, start, implicit=implicit)
            position = end + 8
        else:
            end = position = _bounded(len(data), start, length)
        yield data[start:end]


def is_implicit(transfer_syntax: str) -> bool:
    """Whether the encoding carries no VRs."""
    return transfer_syntax == IMPLICIT_LE


def _bounded(size: int, start: int, length: int) -> int:
    end = start + length
    if end > size:
        raise NotUnderstood(f"the data set is cut off: {end - size} bytes are missing")
    return end


def _tag_and_length(data: memoryview, position: int) -> tuple[int, int]:
    """Tag and 4-byte length, as implicit elements, items and delimiters have them."""
    try:
        group, element, length = _TAG_LENGTH(data, position)
    except struct.error as error:
        raise NotUnderstood("the data set is cut off") from error
    return group << 16 | element, length


def _element(data: memoryview, position: int, *, implicit: bool) -> tuple[int, int, int]:
    """Tag, start of the value, length or `UNDEFINED`."""
    if implicit:
        tag, length = _tag_and_length(data, position)
        return tag, position + 8, length
    _bounded(len(data), position, 8)
    group, element, vr, short = _TAG_VR_LENGTH(data, position)
    tag = group << 16 | element
    if vr in SHORT_VRS:
        return tag, position + 8, short
    if vr in LONG_VRS:
        _bounded(len(data), position, 12)
        return tag, position + 12, _LENGTH(data, position + 8)[0]
    if group == 0xFFFE:
        return tag, position + 8, _LENGTH(data, position + 4)[0]
    raise NotUnderstood(f"no VR at byte {position}: not Explicit VR Little Endian")


def _after_short(data: memoryview, position: int) -> int:
    """Pass elements with a 2-byte length: most of the hundreds that a recording's items hold."""
    try:
        vr, length = _VR_LENGTH(data, position)
        while vr in SHORT_VRS:
            position += 8 + length
            vr, length = _VR_LENGTH(data, position)
    except struct.error as error:
        raise NotUnderstood("the data set is cut off inside a sequence") from error
    return position


def _end_of_sequence(data: memoryview, position: int, *, implicit: bool) -> int:
    """Where the delimiter of a sequence, or of encapsulated pixels, is."""
    return _end_of_open(data, position, [(SEQUENCE_END, implicit)])


def _end_of_item(data: memoryview, position: int, *, implicit: bool) -> int:
    """Where the delimiter of an item of undefined length is."""
    return _end_of_open(data, position, [(ITEM_END, implicit)])


def _end_of_open(data: memoryview, position: int, still_open: list[tuple[int, bool]]) -> int:
    """Follow what is open until the outermost delimiter; give its position.

    Args:
        data: the bytes.
        position: where to begin.
        still_open: for each open level the delimiter that ends it, and whether VRs are absent.
    """
    size = len(data)
    while len(still_open) <= 2 * MAX_DEPTH:
        closing, implicit = still_open[-1]
        in_item = closing == ITEM_END
        if in_item and not implicit:
            position = _after_short(data, position)
        tag, length = _tag_and_length(data, position)
        start = position + 8
        if tag == closing:
            still_open.pop()
            if not still_open:
                return position
            position = start
            continue
        if in_item:
            tag, start, length = _element(data, position, implicit=implicit)
        elif tag != ITEM:
            raise NotUnderstood(f"a sequence holds {tag:08x} where an item should be")
        if length != UNDEFINED:
            position = _bounded(size, start, length)
        else:
            # UN of undefined length holds implicit VRs (PS3.5 6.2.2)
            un = in_item and not implicit and bytes(data[position + 4 : position + 6]) == b"UN"
            still_open.append((SEQUENCE_END if in_item else ITEM_END, implicit or un))
            position = start
    raise NotUnderstood(f"sequences are nested deeper than {MAX_DEPTH}")
