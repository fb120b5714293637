"""What pixels become: 8-bit grey or RGB on white paper, within a size that one page may have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.errors import Undecodable, Unscorable
from inference.forms import U8

LARGEST_PX = 64_000_000
"""A page of 500 mm x 500 mm at 400 dpi; more is refused before it is decoded."""
SMALLEST_PX = 64


def check_size(width: int, height: int) -> None:
    """Refuse sizes that no page has, before memory is asked for.

    Raises:
        Undecodable: more than `LARGEST_PX`.
        Unscorable: `low-resolution` below `SMALLEST_PX` on a side.
    """
    if width * height > LARGEST_PX:
        raise Undecodable(f"{width} x {height} pixels is more than any page of an ECG")
    if min(width, height) < SMALLEST_PX:
        raise Unscorable("low-resolution", f"{width} x {height} pixels cannot show an ECG")


def stretched(values: NDArray[np.generic], low: float, high: float) -> U8:
    """Map `low`..`high` to 0..255; values outside are clipped, NaN is paper."""
    span = high - low
    if span <= 0:
        return np.full(values.shape, 255, np.uint8)
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / span)
    out: U8 = np.rint(np.clip(np.nan_to_num(scaled, nan=255), 0, 255)).astype(np.uint8)
    return out


def is_blank(pixels: U8) -> bool:
    """Tell a page of one colour, which shows nothing."""
    thin = pixels[::4, ::4]
    return bool(int(thin.max()) - int(thin.min()) < 16)
