"""Where the reader puts the traces of real pages: right, refused with a reason, or wrong.

    python benchmarks/placement.py [--overlay DIR] [--every N]

Every Mendeley print (half size, and full size where there is one) and every photograph is read and
judged as it is served. A page counts as wrong when a check below fails that it can be held to. They
are made on the tracings, on the page's grey values and against the heart rate that the cart prints,
not on what the reader decides by; only the misfit to Einthoven's law is its own measure as well.
With `--overlay` each placed page is written as a PNG with the found curves (red) and columns (blue)
over it, to be looked at.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from inference.beats import r_peaks
from inference.errors import Unscorable
from inference.forms import F32, U8, Picture, Tracings
from inference.installed import SHIPPED
from inference.paper import Panel, find_panel
from inference.paper.digitise import sample
from inference.prepare import Prepared
from inference.preprocess import preprocess
from inference.render import panel as drawn
from inference.score import Scorer
from inference.trace import PAGE_S, RATE_HZ, Placed, place, tracings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = {
    "Mendeley, half size": "mendeley/pages_half",
    "Mendeley, full size": "mendeley/pages_full",
    "photographs and scans": "paper_photos",
}
BOUNDS = {
    "misfit to Einthoven's law": 0.30,
    "pulse, mm from 10": 0.5,
    "separators, mm from the columns": 1.0,
    "heart rate, share off the printed one": 0.10,
    "slope of a row between the beats, of that at them": 0.80,
    "share of the curves without ink under it": 0.02,
}
"""What each check may be at most."""
_NEAR_MM = 0.35  # from the curve's middle to the ink's
_BEAT_S = 0.08  # around an R peak
_FASTEST = 250  # beats a minute
_RED, _BLUE = (0, 0, 220), (220, 120, 0)


def checks(panel: Panel, placed: Placed, found: Tracings, printed: float) -> dict[str, float]:
    """Measure what can be measured of a placed page, by the names of `BOUNDS`.

    `printed` is the heart rate that the cart printed, a minute; 0 where it is not known.
    """
    step, count = placed.width_mm / PAGE_S / RATE_HZ, round(PAGE_S * RATE_HZ)
    rows = np.stack([sample(curve, placed.begin_mm, step, count) for curve in placed.curves])
    peaks = r_peaks(rows - np.nanmedian(rows, axis=1, keepdims=True), RATE_HZ)
    told = {
        "misfit to Einthoven's law": misfit(found),
        "slope of a row between the beats, of that at them": unlike_beats(rows, peaks),
        "share of the curves without ink under it": bare(panel, placed),
    }
    if printed:
        spacing = np.diff(peaks) / RATE_HZ
        rates = 60 / np.array([np.mean(spacing), np.median(spacing)])  # carts take one or the other
        told["heart rate, share off the printed one"] = float(np.abs(rates / printed - 1).min())
    if panel.pulses:
        heights = [pulse.height_mm / placed.gain for pulse in panel.pulses]
        told["pulse, mm from 10"] = max(abs(height - 10) for height in heights)
    columns = len(placed.layout.columns)
    if columns == len(panel.separators) + 1:
        wanted = placed.begin_mm + placed.width_mm * np.arange(1, columns) / columns
        stand = np.array(panel.separators) / panel.grid.x_px_per_mm
        told["separators, mm from the columns"] = float(np.abs(stand - wanted).max())
    return told


def failed(told: Mapping[str, float]) -> list[str]:
    """Name the checks that a page does not pass."""
    return [name for name, value in told.items() if not value <= BOUNDS[name]]


def misfit(found: Tracings) -> float:
    """What breaks I - II + III = 0 and aVR + aVL + aVF = 0 over that of the leads, 0 to 1.

    Of the tracings as they are scored, the stretches under the labels included.
    """
    terms = found.leads_mv[:6].reshape(2, 3, -1) * np.array([[1, -1, 1], [1, 1, 1]])[..., None]
    terms = terms - np.nanmedian(terms, axis=2, keepdims=True)
    return float(np.sqrt(np.nanmean(terms.sum(1) ** 2) / np.nanmean((terms**2).sum(1))))


def unlike_beats(rows: F32, peaks: np.ndarray) -> float:
    """How steep a row is between the beats of all rows over how steep it is at them; the worst row.

    Rows that show one heart beat together; one that was followed wrongly nears 1.
    """
    at = np.abs(np.arange(rows.shape[1])[:, None] - peaks).min(1) <= _BEAT_S * RATE_HZ
    slope = np.abs(np.diff(rows, axis=1, append=rows[:, -1:]))
    return float((np.nanmean(slope[:, ~at], axis=1) / np.nanmean(slope[:, at], axis=1)).max())


def printed_rates(folder: Path) -> dict[str, float]:
    """Give the heart rates that OCR read off the prints' last line, by file name.

    It reads the heart that stands before the number as a digit, so what no heart does loses one.
    """
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        told = re.search(r"(\d{2,4})\s+SE-?3", row["footer_ocr"])
        if told:
            digits = told[1]
            heart = int(digits) > _FASTEST or digits[0] == "0"
            found[Path(row["path"]).name] = float(digits[1:] if heart else digits)
    return found


def bare(panel: Panel, placed: Placed) -> float:
    """The share of the curves under which the page is not dark."""
    grey = _grey(panel.page)
    x_scale, y_scale = panel.grid.x_px_per_mm, panel.grid.y_px_per_mm
    paper = cv2.medianBlur(
        cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), 31
    )
    paper = cv2.resize(paper, grey.shape[::-1]).astype(np.float32)
    away = paper - grey
    dark = away > 0.5 * np.percentile(away[panel.ink.mask > 0], 50)
    tall = 2 * max(1, round(_NEAR_MM * y_scale)) + 1
    near = cv2.dilate(dark.astype(np.uint8), np.ones((tall, 3), np.uint8))
    missed, all_of_it = 0, 0
    for curve in placed.curves:
        inside = (curve.x_mm >= placed.begin_mm) & (curve.x_mm <= placed.begin_mm + placed.width_mm)
        cols = np.clip(np.rint(curve.x_mm[inside] * x_scale), 0, grey.shape[1] - 1).astype(int)
        rows = np.clip(np.rint(curve.y_mm[inside] * y_scale), 0, grey.shape[0] - 1).astype(int)
        missed += int((near[rows, cols] == 0).sum())
        all_of_it += cols.size
    return missed / all_of_it


def _grey(page: U8) -> U8:
    return page if page.ndim == 2 else np.asarray(page.min(axis=2), np.uint8)


def overlay(panel: Panel, placed: Placed) -> U8:
    """Draw the found curves and the columns over the pale page, BGR."""
    page = panel.page if panel.page.ndim == 3 else np.repeat(panel.page[..., None], 3, axis=2)
    shown = np.ascontiguousarray(255 - (255 - page[..., ::-1]) // 2)
    x_scale, y_scale = panel.grid.x_px_per_mm, panel.grid.y_px_per_mm
    columns = len(placed.layout.columns)
    for at in placed.begin_mm + placed.width_mm * np.arange(columns + 1) / columns:
        cv2.line(shown, (round(at * x_scale), 0), (round(at * x_scale), shown.shape[0]), _BLUE, 1)
    for curve in placed.curves:
        points = np.stack((curve.x_mm * x_scale, curve.y_mm * y_scale), axis=1)
        breaks = np.flatnonzero(np.diff(curve.x_mm) > 1.0) + 1
        for part in np.split(np.rint(points).astype(np.int32), breaks):
            cv2.polylines(shown, [part], isClosed=False, color=_RED, thickness=1)
    return shown


def judged(scorer: Scorer, picture: Picture, found: Tracings) -> str:
    """Tell whether the bundle scores what was read: `scored`, or why it refuses it."""
    pixels = drawn(found)
    prepared = Prepared(picture, found, pixels, preprocess(pixels, scorer.bundle.recipe))
    try:
        scorer.judge(prepared.tracings, prepared.steps.input)
    except Unscorable as error:
        return f"guard: {error.reason}"
    return "scored"


def run(scorer: Scorer, paths: list[Path], rates: Mapping[str, float], folder: Path | None) -> None:
    """Read every page of a set and print its two tables."""
    refused: Counter[str] = Counter()
    measured: dict[str, list[float]] = {name: [] for name in BOUNDS}
    wrong: dict[str, list[str]] = {}
    outcomes: Counter[str] = Counter()
    strips = 0
    for path in paths:
        picture = Picture(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]))
        try:
            panel = find_panel(picture)
            placed = place(panel)
            found = tracings(placed)
        except Unscorable as error:
            refused[error.reason] += 1
            print(f"- {path.name}: refused, {error.reason}: {error}")
            continue
        outcomes[judged(scorer, picture, found)] += 1
        strips += not np.isnan(found.rhythm_mv).all()
        told = checks(panel, placed, found, rates.get(path.name, 0.0))
        for name, value in told.items():
            measured[name].append(value)
        if failed(told):
            wrong[path.name] = [f"{name} {told[name]:.3f}" for name in failed(told)]
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{path.stem}.png"), overlay(panel, placed))
    placed_pages = sum(outcomes.values())
    print(f"\n{len(paths)} pages: {placed_pages} placed, {dict(refused)} refused by the reader; "
          f"{dict(outcomes)}; {strips} with a strip that repeats lead II; a check fails on "
          f"{len(wrong)}: {wrong}\n")  # fmt: skip
    print("| check | pages | median | p95 | most | bound | beyond it |")
    print("|---|---|---|---|---|---|---|")
    for name, values in measured.items():
        if values:
            middle, high, most = np.percentile(values, (50, 95, 100))
            beyond = sum(not value <= BOUNDS[name] for value in values)
            print(f"| {name} | {len(values)} | {middle:.3f} | {high:.3f} | {most:.3f} "
                  f"| {BOUNDS[name]:g} | {beyond} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overlay", type=Path, help="folder of the pictures to look at")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--data", type=Path, default=SHARED)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    scorer = Scorer.load(SHIPPED / "reference", "openvino-fp32", threads=1)
    rates = printed_rates(given.data / "mendeley")
    for name, place_of in SETS.items():
        print(f"\n### {name}\n")
        files = sorted((given.data / place_of).iterdir())[:: given.every]
        paths = [path for path in files if cv2.imread(str(path)) is not None]
        run(scorer, paths, rates, given.overlay and given.overlay / Path(place_of).name)


if __name__ == "__main__":
    main()
