"""The paper's four steps: ours (OpenCV) against the same steps in scikit-image, on the same panels.

    python benchmarks/preprocessing.py [--pages FOLDER] [--rounds N]

Panels are made-up ECGs in the one look; with `--pages` also real pages (JPEG or PNG), as grey
images at their own size. Both sides run in this process on one thread, in turns, each all images in
a row as a service does; of each image the least CPU time of all rounds counts, which other work on
the machine disturbs least. Both use the recipe's fixed level, a 3x3 median, 8-connected components,
and opening with the same square. What differs is told: at the image's left and top edge our opening
keeps a trace that the edge cuts (an even square has its centre off the pixel), and our input is
rounded to 1/255.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from skimage.filters import median, threshold_otsu
from skimage.measure import label
from skimage.morphology import opening, remove_small_objects
from skimage.transform import resize_local_mean

from inference.forms import Waveform
from inference.preprocess import PX_PER_MM, Recipe, preprocess
from inference.render import panel
from inference.tracings import cut

RECIPE = Recipe()
STEPS = ("binary", "denoised", "components", "opened")


def with_skimage(grey: np.ndarray) -> dict[str, np.ndarray]:
    """The same four steps and resize, by scikit-image's own functions."""
    binary = grey <= (threshold_otsu(grey) if RECIPE.binarise == "otsu" else RECIPE.fixed_level)
    denoised = median(binary.astype(np.uint8), np.ones((3, 3), np.uint8), mode="nearest") > 0
    least = RECIPE.min_component_mm2 * PX_PER_MM**2
    components = remove_small_objects(label(denoised, connectivity=2), max_size=int(least) - 1) > 0
    side = int(RECIPE.opening_mm * PX_PER_MM)
    opened = opening(components, np.ones((side, side), bool), mode="ignore")
    size = (RECIPE.input_height, RECIPE.input_width)
    return {
        "binary": binary,
        "denoised": denoised,
        "components": components,
        "opened": opened,
        "input": resize_local_mean(opened.astype(np.float32), size),
    }


def with_ours(grey: np.ndarray) -> dict[str, np.ndarray]:
    steps = preprocess(grey, RECIPE)
    return {name: getattr(steps, name) for name in (*STEPS, "input")}


def panels(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(2500) / 250
    out = []
    for _ in range(count):
        lead = sum(np.exp(-0.5 * ((t - beat) / 0.012) ** 2) for beat in np.arange(0.4, 10, 0.8))
        gains = rng.uniform(-1.5, 1.5, (12, 1))
        noise = rng.normal(0, 0.02, (12, 2500))
        out.append(panel(cut(Waveform((gains * lead + noise).astype(np.float32), 250.0))))
    return out


def pages(folder: Path, count: int) -> list[np.ndarray]:
    paths = sorted(p for p in folder.iterdir() if p.suffix in {".jpg", ".png"})[:count]
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


def seconds(work: Callable[[np.ndarray], object], grey: np.ndarray) -> float:
    begin = time.process_time()
    work(grey)
    return time.process_time() - begin


def compare(name: str, images: list[np.ndarray], rounds: int) -> None:
    theirs, ours = np.full((2, len(images)), np.inf)
    for _ in range(rounds):
        theirs = np.minimum(theirs, [seconds(with_skimage, grey) for grey in images])
        ours = np.minimum(ours, [seconds(with_ours, grey) for grey in images])
    high, wide = images[0].shape
    print(
        f"| {name} {wide}x{high} | {1e3 * np.median(theirs):.1f} ms "
        f"| {1e3 * np.median(ours):.2f} ms | {np.median(theirs / ours):.1f}x |"
    )
    differences(images)


def differences(images: list[np.ndarray]) -> None:
    both = [(with_skimage(grey), with_ours(grey)) for grey in images]
    for step in STEPS:
        differ = sum(int(((one[step] > 0) != (other[step] > 0)).sum()) for one, other in both)
        print(f"    {step}: {differ} of {sum(grey.size for grey in images)} pixels differ")
    worst = max(float(np.abs(one["input"] - other["input"]).max()) for one, other in both)
    print(f"    input: largest difference {worst:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    print("| images | scikit-image | ours | ratio |")
    print("|---|---|---|---|")
    compare("panels", panels(4), given.rounds)
    if given.pages:
        compare("pages", pages(given.pages, 4), given.rounds)


if __name__ == "__main__":
    main()
