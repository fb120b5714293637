"""Text in any script: how a page writes what its own font has no letter for.

Such letters come from the fonts inside OpenCV (Rubik; WenQuanYi Micro Hei): Latin with all its
accents, Greek, Cyrillic, Hebrew, Arabic, Chinese, Japanese, Korean. No font of the machine is used,
so a page looks the same everywhere. A letter that none of them has is written as its code point:
a name must never look like another one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import cv2
import numpy as np

from inference.forms import U8

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_ALEF = "\u05d0"
_TURNED = re.compile(f"{_ALEF}+(?:[ .'\u2019-]{_ALEF}+)*")
_TEST_PX = 48
_WEIGHT = 400


@dataclass(frozen=True, slots=True)
class Run:
    """Words of one font, from left to right: the page's own, or the drawn letters of `ink`."""

    words: str
    drawn: bool


def runs(words: str, has: Callable[[str], bool]) -> Iterator[Run]:
    """Part a line into runs; a word with one letter to be drawn is drawn as a whole.

    Args:
        words: as they are read.
        has: whether the page's own font has a letter.
    """
    parts = re.findall("[^ ]+ *| +", legible(words, has))
    for own, run in groupby(parts, key=lambda part: all(map(has, part))):
        yield Run("".join(run), drawn=not own)


def legible(words: str, has: Callable[[str], bool]) -> str:
    """Give words as their letters stand from left to right, each of which can be written.

    Invisible letters go, other white space is a space, and what cannot be written becomes
    `[U+0E0A U+0E27]`.
    """
    text = re.sub(r"\s", " ", _UNSEEN.sub("", unicodedata.normalize("NFC", words)))
    known = groupby(text, key=lambda letter: has(letter) or drawable(letter))
    return _turned("".join("".join(part) if can else _points(part) for can, part in known))


def _points(letters: Iterator[str]) -> str:
    return f"[{' '.join(f'U+{ord(letter):04X}' for letter in letters)}]"


def _turned(text: str) -> str:
    """Turn right-to-left words round, each group of them in its place (isolates of UAX #9)."""
    right = {"R", "AL"}
    mask = "".join(_ALEF if unicodedata.bidirectional(each) in right else each for each in text)
    for found in _TURNED.finditer(mask):
        first, end = found.span()
        text = text[:first] + text[first:end][::-1] + text[end:]
    return text


@lru_cache(maxsize=4096)
def drawable(letter: str) -> bool:
    """Tell whether the drawn letters have this one; combining marks would not find their place."""
    if not letter.isprintable() or unicodedata.category(letter).startswith("M"):
        return False
    shown, unknown = ink(letter, _TEST_PX)[0], ink("?", _TEST_PX)[0]
    return letter == "?" or bool(shown.any() and not np.array_equal(shown, unknown))


def ink(letter: str, em_px: int) -> tuple[U8, int]:
    """Draw one letter.

    Args:
        letter: for OpenCV a question mark where it has none.
        em_px: size of the font in pixels.

    Returns:
        (2 em, 3 em) uint8, 0 = bare, 255 = ink, its origin at row 1.5 em, column 1 em; and how far
        the next letter is, in pixels. Arabic letters are not joined: the fonts have no such forms.
    """
    bare = np.zeros((2 * em_px, 3 * em_px), np.uint8)
    origin = (em_px, em_px + em_px // 2)
    (end, _), drawn = cv2.putText(bare, letter, origin, 255, cv2.FontFace("sans"), em_px, _WEIGHT)
    return np.asarray(drawn, np.uint8), end - em_px


def inked(words: str, em_px: int) -> U8:
    """Draw drawable letters from left to right: (2 em, columns), the origin as in `ink`."""
    letters = [ink(letter, em_px) for letter in words]
    line = np.zeros((2 * em_px, 3 * em_px + sum(advance for _, advance in letters)), np.uint8)
    x = 0
    for shown, advance in letters:
        place = line[:, x : x + 3 * em_px]
        np.maximum(place, shown, out=place)
        x += advance
    return line
