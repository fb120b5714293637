"""PDF, rendered by PDFium: its page size gives the scale; the page with the ECG is chosen."""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pypdfium2 as pdfium

from inference.decode.page import LARGEST_PX, is_blank
from inference.errors import InferenceError, Undecodable, Unscorable
from inference.forms import U8, Picture

PX_PER_MM = 10.0
"""254 dpi: twice what the finest cart printer resolves in a trace."""
_LOOK_PX_PER_MM = 3.0
_MM_PER_POINT = 25.4 / 72
_MOST_PAGES = 20
_SMALLEST_MM = 60.0
_LARGEST_MM = 1500.0
_DARK = 140
"""Grey level below which ink is trace or text rather than grid.

A scanned trace of 0.35 mm is a pixel wide in the look at a page, and its ink is mixed with paper:
at 2 px/mm and level 110 nothing of it was left, and a cover sheet was chosen instead of the ECG.
"""

# PDFium is not thread-safe (pypdfium2 documents this), whoever calls it
_ONE_AT_A_TIME = threading.Lock()


def read(data: bytes) -> Picture:
    """Render the page that shows an ECG.

    Raises:
        Undecodable: damaged or encrypted.
        Unscorable: `blank` or `not-an-ecg` (no page of a plausible size).
    """
    with _ONE_AT_A_TIME:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as error:
            raise Undecodable(f"damaged or encrypted PDF ({type(error).__name__})") from None
        try:
            return _read(document)
        except InferenceError:
            raise
        except Exception as error:
            raise Undecodable(f"damaged PDF ({type(error).__name__})") from None
        finally:
            document.close()


def _read(document: pdfium.PdfDocument) -> Picture:
    pages = len(document)
    if pages == 0:
        raise Undecodable("a PDF without pages")
    chosen = _choose(document, min(pages, _MOST_PAGES))
    width_mm, height_mm = _size_mm(document, chosen)
    px_per_mm = min(PX_PER_MM, math.sqrt(LARGEST_PX / (width_mm * height_mm)))
    pixels = _rendered(document, chosen, px_per_mm, grey=False)
    if is_blank(pixels):
        raise Unscorable("blank", "no page of the PDF shows anything")
    facts = {"format": "pdf", "page": f"{chosen + 1} of {pages}"}
    return Picture(pixels=pixels, mm_per_px=width_mm / pixels.shape[1], facts=facts)


def _choose(document: pdfium.PdfDocument, pages: int) -> int:
    """The page with the most trace; the only one without a look."""
    plausible = [number for number in range(pages) if _is_page(*_size_mm(document, number))]
    if not plausible:
        raise Unscorable("not-an-ecg", "no page of the PDF has the size of a printed ECG")
    if len(plausible) == 1:
        return plausible[0]
    looks = {
        number: trace_mm(_rendered(document, number, _LOOK_PX_PER_MM, grey=True), _LOOK_PX_PER_MM)
        for number in plausible
    }
    return max(plausible, key=lambda number: (looks[number], -number))


def _is_page(width_mm: float, height_mm: float) -> bool:
    return min(width_mm, height_mm) >= _SMALLEST_MM and max(width_mm, height_mm) <= _LARGEST_MM


def _size_mm(document: pdfium.PdfDocument, number: int) -> tuple[float, float]:
    width, height = document.get_page_size(number)
    return width * _MM_PER_POINT, height * _MM_PER_POINT


def _rendered(document: pdfium.PdfDocument, number: int, px_per_mm: float, *, grey: bool) -> U8:
    page = document[number]
    try:
        bitmap = page.render(scale=px_per_mm * _MM_PER_POINT, grayscale=grey, rev_byteorder=True)
        try:
            pixels = np.array(bitmap.to_numpy(), np.uint8)
        finally:
            bitmap.close()
    finally:
        page.close()
    if grey:
        return pixels.reshape(pixels.shape[0], pixels.shape[1])
    return np.ascontiguousarray(pixels[:, :, :3])


def trace_mm(grey: U8, px_per_mm: float) -> float:
    """How many mm of page width are spanned by what could be a trace.

    A trace is dark, connected over more than 20 mm and leaves its line; letters are short and
    rules are flat, and a frame is hollow.
    """
    dark = (grey < _DARK).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    width, height, area = stats[1:, 2], stats[1:, 3], stats[1:, 4]
    wide = width > 20 * px_per_mm
    tall = height > 3 * px_per_mm
    frame = (height > 0.7 * grey.shape[0]) & (area < 0.02 * width * height)
    return float(width[wide & tall & ~frame].sum() / px_per_mm)
