"""Real pages of others: placed right, or refused with a reason; never scored wrongly placed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest

from inference.errors import Unscorable
from inference.forms import Picture
from inference.paper import find_panel
from inference.trace import follow, place, tracings

pytestmark = pytest.mark.shared

_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "placement.py"
_SPEC = importlib.util.spec_from_file_location("placement", _FILE)
placement = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(placement)


def _page(path: Path) -> Picture:
    return Picture(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]))


def _prints(shared: Path, every: int) -> list[Path]:
    return sorted((shared / "mendeley" / "pages_half").glob("*.jpg"))[::every]


def test_prints_are_placed_where_their_separators_stand(shared):
    """On Edan prints the columns that we find end at the lead separators that the cart drew."""
    for path in _prints(shared, 20):
        panel = find_panel(_page(path))
        placed = place(panel)
        assert (placed.layout.name, placed.layout.strips) == ("3x4", 1), path.name
        columns = placed.begin_mm + placed.width_mm * np.array([0.25, 0.5, 0.75])
        separators = np.array(panel.separators) / panel.grid.x_px_per_mm
        assert separators == pytest.approx(columns, abs=1.0), path.name
        assert all(p.height_mm == pytest.approx(10, abs=0.5) for p in panel.pulses), path.name
        assert np.isnan(tracings(placed).leads_mv).mean() < 0.03, path.name


def test_half_and_full_size_prints_give_the_same_tracings(shared):
    """Resolution does not matter: the two scans of a page differ by less than half a millimetre."""
    compared = 0
    for full in sorted((shared / "mendeley" / "pages_full").glob("*.jpg"))[:4]:
        half = shared / "mendeley" / "pages_half" / full.name
        if not half.exists():
            continue
        one, other = follow(find_panel(_page(full))), follow(find_panel(_page(half)))
        off = np.abs(one.leads_mv - other.leads_mv) * 10
        assert np.nanmedian(off) < 0.25
        assert np.nanpercentile(off, 90) < 1.0
        compared += 1
    assert compared


def _passes(path: Path) -> bool:
    """Whether a page is placed; then by every check of the benchmark it is where it belongs."""
    try:
        panel = find_panel(_page(path))
        placed = place(panel)
        found = tracings(placed)
    except Unscorable:
        return False
    told = placement.checks(panel, placed, found, 0.0)
    assert placement.failed(told) == [], (path.name, told)
    return True


def test_photographs_are_placed_right_or_refused(shared):
    """Of the scans and phone photos two are placed, and right; the others are refused."""
    paths = [
        path
        for path in sorted((shared / "paper_photos").iterdir())
        if path.suffix in {".png", ".jpg"} and cv2.imread(str(path)) is not None
    ]
    placed = [path.name for path in paths if _passes(path)]
    assert placed == ["ecg00002.png", "ecg00012.jpg"]
    assert len(paths) == 15


def test_prints_show_the_heart_rate_that_the_cart_printed(shared):
    """A cart's own number, which the reader never sees, is within a tenth of what was placed."""
    rates, folder = placement.printed_rates(shared / "mendeley"), shared / "mendeley" / "pages_half"
    for name in sorted(rates)[::40]:
        panel = find_panel(_page(folder / name))
        placed = place(panel)
        told = placement.checks(panel, placed, tracings(placed), rates[name])
        assert placement.failed(told) == [], (name, told)


@pytest.mark.parametrize("dpi", [110, 200])
def test_pdf_pages_of_another_drawer_are_placed(shared, dpi):
    """PTB-XL pages of an independent PDF drawer are read at two resolutions alike."""
    for path in sorted((shared / "vendor" / "pdf").glob("*.pdf")):
        with pypdfium2.PdfDocument(path) as document:
            page = document[0]
            bitmap = page.render(scale=dpi / 72)
            pixels = np.ascontiguousarray(bitmap.to_numpy()[..., :3][..., ::-1])
            bitmap.close()
            page.close()
        placed = place(find_panel(Picture(pixels, mm_per_px=25.4 / dpi)))
        assert (placed.layout.name, placed.layout.strips) == ("3x4", 1)
        assert placed.misfit < 0.25
