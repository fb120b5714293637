"""Pictures as PNG: fast to write, the same bytes for the same pixels."""

from __future__ import annotations

import cv2
import numpy as np

from inference.forms import U8

# Traces are long runs of one grey: unfiltered, they are smallest and cost a third of the defaults.
_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)


def png(pixels: U8) -> bytes:
    """Write an image as PNG (ISO/IEC 15948), without any metadata.

    Args:
        pixels: (rows, cols) grey or (rows, cols, 3) RGB, uint8.

    Raises:
        ValueError: the array is no such image.
    """
    shown = pixels.size and pixels.ndim in {2, 3} and pixels.shape[2:] in {(), (3,)}
    if pixels.dtype != np.uint8 or not shown:
        raise ValueError(f"no image: {pixels.dtype}, {pixels.shape}")
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., ::-1])  # OpenCV writes BGR
    done, encoded = cv2.imencode(".png", pixels, _OPTIONS)
    if not done:
        raise ValueError("not an image")
    return bytes(encoded.tobytes())


def grey_of(data: bytes) -> U8:
    """Read a grey PNG that `png` wrote back to its (rows, cols) uint8 pixels.

    Raises:
        ValueError: the bytes are no image.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError("not an image")
    return np.asarray(pixels, np.uint8)
