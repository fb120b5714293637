"""What the place of a page under the scanner changes: its tracings in mm, and its score.

    python benchmarks/page_reading.py [--pages FOLDER] [--every N] [--records FILE.npz]

Real prints are moved by parts of a pixel and by whole ones and read anew. To compare with,
waveforms are delayed by as little, which no reader sees: what their scores change is the network's
own, and that of its panel in black and white. Score: probability of the reference bundle on
`openvino-fp32`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from inference.errors import Unscorable
from inference.forms import Picture, Tracings, Waveform
from inference.installed import SHIPPED
from inference.runtime import probability
from inference.score import Scorer

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
MOVES = {"1 px": (1.0, 1.0), "2 px": (2.0, 2.0), "0.5 px across": (0.5, 0.0),
         "0.5 px down": (0.0, 0.5), "0.3 px": (0.3, 0.3)}  # fmt: skip
DELAYS_MM = (0.01, 0.02, 0.05, 0.1)
RATE_HZ, MM_PER_S = 250.0, 25.0


def moved(pixels: np.ndarray, x: float, y: float) -> np.ndarray:
    """The page moved: whole pixels exactly, parts of them by cubic interpolation."""
    if x == int(x) and y == int(y):
        return np.roll(pixels, (int(y), int(x)), (0, 1))
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = (pixels.shape[1], pixels.shape[0])
    return cv2.warpAffine(
        pixels, shift, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def delayed(samples: np.ndarray, mm: float) -> np.ndarray:
    """Leads (12, n) mV later by `mm` of paper, exact for what their rate can hold."""
    turns = np.fft.rfftfreq(samples.shape[1], 1 / RATE_HZ) * mm / MM_PER_S
    spectrum = np.fft.rfft(samples, axis=1) * np.exp(-2j * np.pi * turns)
    return np.fft.irfft(spectrum, samples.shape[1], axis=1).astype(np.float32)


def apart_mm(one: Tracings, other: Tracings) -> float:
    """95th percentile of the distance on the paper of each sample from the other's curve."""
    count, fine = one.leads_mv.shape[1], 4
    at = np.arange((count - 1) * fine + 1)
    curves = np.stack([np.interp(at / fine, np.arange(count), lead) for lead in other.leads_mv])
    best = np.full(one.leads_mv.shape, np.inf)
    for step in range(-10 * fine, 10 * fine + 1):
        where = np.clip(np.arange(count) * fine + step, 0, at[-1])
        along = (where / fine - np.arange(count)) * MM_PER_S / RATE_HZ
        best = np.fmin(best, np.hypot(along, (curves[:, where] - one.leads_mv) * 10))
    return float(np.percentile(best[np.isfinite(best)], 95))


def judged(scorer: Scorer, source: Picture | Waveform) -> tuple[Tracings, float]:
    """The tracings of an ECG and its score."""
    prepared = scorer.prepare(source)
    logits = scorer.runtime.logits(prepared.steps.input[None, None])
    return prepared.tracings, float(probability(logits, scorer.bundle)[0])


def spread(values: list[float]) -> str:
    return " | ".join(f"{value:.3f}" for value in np.percentile(values, (50, 95, 100)))


def pages(scorer: Scorer, paths: list[Path]) -> None:
    print("| page moved by | pages | mm apart: median | p95 | most | score: median | p95 | most |")
    print("|---|---|---|---|---|---|---|---|")
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in MOVES}
    refused = dict.fromkeys(MOVES, 0)
    for path in paths:
        pixels = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        try:
            before, score = judged(scorer, Picture(pixels))
        except Unscorable:
            continue
        for name, (x, y) in MOVES.items():
            try:
                after, other = judged(scorer, Picture(moved(pixels, x, y)))
            except Unscorable:
                refused[name] += 1
                continue
            rows[name].append((apart_mm(before, after), abs(other - score)))
    for name, found in rows.items():
        off, change = (list(each) for each in zip(*found, strict=True))
        print(f"| {name} | {len(found)} | {spread(off)} | {spread(change)} |")
    if any(refused.values()):
        print(f"\nRefused when moved, read before: {refused}")


def records(scorer: Scorer, samples_uv: np.ndarray) -> None:
    print("\n| waveform delayed by | waveforms | score: median | p95 | most |")
    print("|---|---|---|---|---|")
    leads = [each[:, :2500].astype(np.float32) / 1000 for each in samples_uv]
    before = [judged(scorer, Waveform(each, RATE_HZ))[1] for each in leads]
    for mm in DELAYS_MM:
        after = [judged(scorer, Waveform(delayed(each, mm), RATE_HZ))[1] for each in leads]
        change = np.abs(np.subtract(after, before)).tolist()
        print(f"| {mm} mm | {len(leads)} | {spread(change)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path, default=SHARED / "mendeley" / "pages_half")
    parser.add_argument(
        "--records", type=Path, default=SHARED / "ptbxl" / "raw_250hz_uv.npz", help="x in uV"
    )
    parser.add_argument("--every", type=int, default=6)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    scorer = Scorer.load(SHIPPED / "reference", "openvino-fp32", threads=1)
    pages(scorer, sorted(given.pages.iterdir())[:: given.every])
    records(scorer, np.load(given.records)["x"][:: 3 * given.every])


if __name__ == "__main__":
    main()
