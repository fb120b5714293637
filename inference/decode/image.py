"""PNG, JPEG and TIFF, read by Pillow within bounds; metadata (EXIF, text chunks) is dropped."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile, ImageOps, ImageSequence
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from inference.decode.page import check_size, is_blank, stretched
from inference.errors import InferenceError, Undecodable
from inference.forms import U8, Picture

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
_OPENERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": jpeg_factory,
    "TIFF": TiffImageFile,
}
"""What `Image.open` calls; that would refuse large images by a bound of its own, before ours."""
_MOST_FRAMES = 20


def looks_like(data: bytes) -> bool:
    """Tell PNG, JPEG and TIFF by their first bytes."""
    return _format(data) is not None


def read(data: bytes) -> Picture:
    """Read an image file; of several pages (TIFF) the first that is not blank.

    Raises:
        Undecodable: damaged, truncated or larger than a page.
        Unscorable: `low-resolution`.
    """
    kind = _format(data)
    if kind is None:
        raise Undecodable("neither a PNG nor a JPEG nor a TIFF image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes are checked here, odd metadata does not matter
        try:
            with _OPENERS[kind](io.BytesIO(data)) as opened:
                pixels = _first_shown(opened)
        except InferenceError:
            raise
        except Exception as error:
            raise Undecodable(f"damaged {kind} image ({type(error).__name__})") from None
    return Picture(pixels=pixels, facts={"format": kind.lower()})


def _format(data: bytes) -> str | None:
    return next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)


def _first_shown(opened: Image.Image) -> U8:
    first: U8 | None = None
    for number, frame in enumerate(ImageSequence.Iterator(opened)):
        check_size(*frame.size)
        pixels = _flat(frame)
        if not is_blank(pixels):
            return pixels
        first = pixels if first is None else first
        if number + 1 >= _MOST_FRAMES:
            break
    if first is None:
        raise Undecodable("an image file without an image")
    return first


def _flat(frame: Image.Image) -> U8:
    """(rows, cols) grey or (rows, cols, 3) RGB, upright, transparency over white."""
    upright = ImageOps.exif_transpose(frame)
    if upright.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
        values = np.asarray(upright)
        high = 65535.0 if upright.mode != "F" else float(np.nanmax(values))
        return stretched(values, 0.0, high)
    if "A" in upright.getbands() or "transparency" in upright.info:
        over = upright.convert("RGBA")
        paper = Image.new("RGBA", over.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(paper, over)
    grey = upright.mode in ("1", "L", "LA")
    return np.array(upright.convert("L" if grey else "RGB"), np.uint8)
