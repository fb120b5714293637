"""The drawn letters as a font inside a PDF: outlines that can be searched and copied as text."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import cv2
from reportlab.pdfbase import pdfdoc
from reportlab.pdfbase.ttfonts import makeToUnicodeCMap

from inference.render.text import ink

DRAWN = "Drawn"
_EM = 500
_BOX = (-_EM, -_EM // 2, 2 * _EM, 3 * _EM // 2)
_MOST = 256  # letters of one PDF font; more need another


class DrawnFont:
    """A Type 3 font (ISO 32000-1 9.6.5) of the letters that a document uses.

    By reportlab's protocol of dynamic fonts, as `reportlab.pdfbase.ttfonts` documents it.
    """

    _dynamicFont = True  # noqa: N815
    _multiByte = False  # noqa: N815
    shapable = False
    fontName = DRAWN  # noqa: N815
    face = SimpleNamespace(name=DRAWN)

    def __init__(self) -> None:
        self._letters: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()

    def stringWidth(self, text: str, size: float, encoding: str = "") -> float:  # noqa: N802, ARG002
        """Give the width of a text in the units of `size`."""
        return sum(_glyph(letter)[1] for letter in text) * size / _EM

    def splitString(self, text: str, doc: Any) -> list[tuple[int, bytes]]:  # noqa: N802
        """Give each letter as the number of its PDF font and its byte there."""
        letters = self._letters.setdefault(doc, {})
        numbers = (letters.setdefault(letter, len(letters)) for letter in text)
        return [(number // _MOST, bytes([number % _MOST])) for number in numbers]

    def getSubsetInternalName(self, subset: int, doc: Any) -> str:  # noqa: N802
        """Name a PDF font in the document; the first time, announce that it is used."""
        if DRAWN not in doc.fontMapping:
            doc.fontMapping[DRAWN] = f"/{DRAWN}"
            doc.delayedFonts.append(self)
        return f"/{DRAWN}+{subset}"

    def addObjects(self, doc: Any) -> None:  # noqa: N802
        """Write the PDF fonts of all letters that were used."""
        letters = "".join(self._letters.pop(doc))
        for subset, first in enumerate(range(0, len(letters), _MOST)):
            name = self.getSubsetInternalName(subset, doc)[1:]
            font = _type3(doc, name, letters[first : first + _MOST])
            doc.idToObject["BasicFonts"].dict[name] = doc.Reference(font, name)


def _type3(doc: Any, name: str, letters: str) -> Any:
    """Give the font dictionary of up to `_MOST` letters."""
    names = [f"u{ord(letter):04X}" for letter in letters]
    glyphs = [_glyph(letter) for letter in letters]
    points = makeToUnicodeCMap(name, [ord(letter) for letter in letters])
    streams = {
        glyph: _stream(doc, f"{name}.{glyph}", code)
        for glyph, (code, _) in zip(names, glyphs, strict=True)
    }
    return pdfdoc.PDFDictionary(
        {
            "Type": pdfdoc.PDFName("Font"),
            "Subtype": pdfdoc.PDFName("Type3"),
            "FontBBox": pdfdoc.PDFArray(_BOX),
            "FontMatrix": pdfdoc.PDFArray([1 / _EM, 0, 0, 1 / _EM, 0, 0]),
            "Resources": pdfdoc.PDFDictionary({}),
            "FirstChar": 0,
            "LastChar": len(letters) - 1,
            "Widths": pdfdoc.PDFArray([advance for _, advance in glyphs]),
            "CharProcs": pdfdoc.PDFDictionary(streams),
            "Encoding": pdfdoc.PDFDictionary(
                {"Differences": pdfdoc.PDFArray([0, *map(pdfdoc.PDFName, names)])}
            ),
            "ToUnicode": _stream(doc, f"{name}.unicode", points),
        }
    )


def _stream(doc: Any, name: str, content: str) -> Any:
    return doc.Reference(pdfdoc.PDFStream(content=content, filters=[pdfdoc.PDFZCompress]), name)


@lru_cache(maxsize=1024)
def _glyph(letter: str) -> tuple[str, int]:
    """Give a letter's outline as PDF operators, and its advance, both in 1 / `_EM` em."""
    shown, advance = ink(letter, _EM)
    outlines, _ = cv2.findContours(
        (shown > 127).astype("uint8"), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    steps = [" ".join(map(str, (advance, 0, *_BOX, "d1")))]
    for outline in outlines:
        corners = cv2.approxPolyDP(outline, 0.75, closed=True)[:, 0] - (_EM, 3 * _EM // 2)
        points = [f"{x} {-y}" for x, y in corners]
        steps.append(f"{points[0]} m {' '.join(f'{point} l' for point in points[1:])} h")
    if outlines:  # a space has none
        steps.append("f*")
    return "\n".join(steps), advance
