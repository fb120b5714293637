"""Names in any script: readable on pages and in PDFs, or written so that they mislead nobody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import pdf

from inference.forms import Tracings
from inference.render import Style, page, page_pdf
from inference.render.text import Run, drawable, legible, runs

NAMES = (
    "王小明",
    "Łukasz Żółć",
    "Dvořák",
    "Ğül Şahin",
    "Ελένη",
    "Иванов",
    "Nguyễn Thị Hạnh",
    "محمد",
    "דוד",
    "홍길동",
    "さくら",
    "Müller",
)
BLANK = Tracings(np.full((12, 625), np.nan, np.float32), np.full(2500, np.nan, np.float32), 250.0)


def text(words: str) -> str:
    return pdf.texts(page_pdf(BLANK, Style(grid="none", header=(words,))))[0]


def plain(letter: str) -> bool:
    return letter.isascii() and letter.isprintable()


def drawn(words: str) -> np.ndarray:
    return page(BLANK, Style(grid="none", header=(words,)))[: 12 * 8]


@pytest.mark.parametrize("name", NAMES)
def test_a_pdf_shows_the_name_and_has_it_as_text(name):
    """It can be searched and copied, nothing of it is a question mark, the bytes are the same."""
    words = f"{name} · id 4711"
    found = text(words)
    assert name in found
    assert "· id 4711" in found
    assert "?" not in found
    style = Style(header=(words,))
    content = page_pdf(BLANK, style)
    assert content == page_pdf(BLANK, style)
    assert (pdf.pixels(content)[: 12 * 4] < 128).any()


def test_names_do_not_look_alike():
    """On the picture as in the PDF each name has ink of its own, and no letter is a box."""
    alike = (*NAMES, "王小朋", "Zółć", "Möller", "מוחמד")
    pages = {drawn(name).tobytes() for name in alike}
    sheets = {pdf.pixels(page_pdf(BLANK, Style(header=(name,)))).tobytes() for name in alike}
    assert len(pages) == len(sheets) == len(alike)
    assert all((drawn(name) < 128).any() for name in alike)


def test_what_no_font_has_is_written_as_code_points():
    """Thai, a rare character, one of a hospital's own, and an accent that finds no place."""
    for name, written in (
        ("ชัย", "[U+0E0A U+0E31 U+0E22]"),
        ("𠮷田", "[U+20BB7]田"),
        ("\ue123", "[U+E123]"),
        ("q\u0323", "q[U+0323]"),
        ("Ḥasan", "[U+1E24]asan"),
        ("a\x07b", "a[U+0007]b"),
    ):
        assert legible(name, plain) == written
        assert written in text(name)
        assert "?" not in text(name)
        assert (drawn(name) < 128).any()


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=12))
def test_whatever_comes_can_be_written(words):
    """Each letter of the line is in one of the fonts, and a second reading changes no letter."""
    line = legible(words, plain)
    assert all(plain(letter) or drawable(letter) for letter in line)
    assert sorted(legible(line, plain)) == sorted(line)
    assert "".join(run.words for run in runs(words, plain)) == line


def test_right_to_left_words_stand_in_their_order():
    """Each group of words is turned round in its place; numbers and Latin letters stay."""
    hebrew, arabic = "בן-גוריון", "عبد الله"
    assert legible(f"{hebrew}, {arabic} 42", str.isascii) == f"{hebrew[::-1]}, {arabic[::-1]} 42"
    assert legible("דוד   דוב", str.isascii) == "דוד"[::-1] + "   " + "דוב"[::-1]
    right, left = (np.nonzero((drawn(name) < 128).any(axis=(0, 2)))[0] for name in ("דא", "אד"))
    assert not np.array_equal(right, left)


def test_letters_that_cannot_be_seen_change_nothing():
    """A name with marks of direction or a no-break space is the name; no mark turns a line."""
    assert legible("\u202eDoe\u200f,\xa0Jo\n", str.isascii) == "Doe, Jo "
    assert legible("Nguye\u0302\u0303n", str.isascii) == "Nguyễn"


def test_a_word_is_of_one_font():
    """Only words with a letter that the page's font lacks are drawn."""
    assert list(runs("Jan Żółć, Łuk · id 1", lambda each: each.isascii() or each == "·")) == [
        Run("Jan ", drawn=False),
        Run("Żółć, Łuk ", drawn=True),
        Run("· id 1", drawn=False),
    ]


def test_all_of_windows_latin_1_can_be_drawn():
    """So a word may mix it with any other letter."""
    every = bytes(range(256)).decode("cp1252", "ignore")
    assert all(drawable(letter) for letter in every if letter.isprintable() and letter != " ")
    assert not any(map(drawable, "\xa0\u0301\u0e0a\ue123\ud800"))


def test_more_letters_than_one_pdf_font_holds():
    """The next letters are in a second font."""
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    content = page_pdf(BLANK, Style(header=(many[:100], many[100:200], many[200:])))
    found = pdf.texts(content)[0].replace(" ", "")
    assert all(letter in found for letter in many)
    assert b"/Drawn+1" in content


def test_a_line_that_is_too_long_ends_at_the_edge():
    """A picture is cut off there, as with any other text."""
    assert page(BLANK, Style(header=("王" * 300,))).shape == (1680, 2376, 3)
