"""What a reader of a PDF finds: the text of its pages, and how they look."""

from __future__ import annotations

import pypdfium2


def texts(content: bytes) -> list[str]:
    """Give the text of each page."""
    document = pypdfium2.PdfDocument(content)
    try:
        return [_text(document, number) for number in range(len(document))]
    finally:
        document.close()


def _text(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    words = page.get_textpage()
    try:
        return " ".join(words.get_text_range().split())
    finally:
        words.close()
        page.close()


def pixels(content: bytes, number: int = 0, px_per_mm: float = 4.0):
    """Give a page as (rows, cols, 3) RGB."""
    document = pypdfium2.PdfDocument(content)
    page = document[number]
    try:
        return page.render(scale=px_per_mm * 25.4 / 72, rev_byteorder=True).to_numpy().copy()
    finally:
        page.close()
        document.close()
