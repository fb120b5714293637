"""Model time at batch 1 and 8 for each runtime against eager fp32 torch, and file to score.

Usage: python benchmarks/scoring.py [BUNDLE] [FILE ...]; prints a Markdown table with ratios.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from inference.bundle import SHIPPED, open_bundle
from inference.errors import RuntimeMissing
from inference.runtime import RUNTIMES, load
from inference.score import Scorer

_SECONDS = 3.0


def median_ms(call) -> float:
    """Median of as many calls as fit into a few seconds, after one to warm up."""
    call()
    taken, began = [], time.perf_counter()
    while time.perf_counter() - began < _SECONDS or len(taken) < 5:
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def runtimes(path: Path) -> None:
    bundle = open_bundle(path)
    shape = (1, bundle.network.height, bundle.network.width)
    rng = np.random.default_rng(0)
    times: dict[str, dict[int, float]] = {}
    for name in reversed(RUNTIMES):
        try:
            runtime = load(bundle, name)
        except RuntimeMissing as error:
            print(f"<!-- {name}: {error} -->")
            continue
        times[name] = {}
        for size in (1, 8):
            batch = (rng.random((size, *shape)) < 0.05).astype(np.float32)
            times[name][size] = median_ms(lambda r=runtime, b=batch: r.logits(b)) / size
    print(f"Model only, {shape[1]}x{shape[2]}, ms per ECG (median)\n")
    print("| runtime | batch 1 | ratio | batch 8 | ratio |")
    print("|---|---|---|---|---|")
    base = times.get("torch")
    for name, each in times.items():
        cells = []
        for size in (1, 8):
            ratio = f"{base[size] / each[size]:.1f}x" if base else ""
            cells += [f"{each[size]:.1f}", ratio]
        print(f"| {name} | " + " | ".join(cells) + " |")


def files(path: Path, names: list[str]) -> None:
    scorer = Scorer.load(path)
    print(f"\nFile to score on {scorer.runtime.name}, ms (median of 5)\n")
    for name in names:
        data = Path(name).read_bytes()
        stages: dict[str, list[float]] = defaultdict(list)
        for _ in range(5):
            for stage, taken in scorer.score(data).timings_ms.items():
                stages[stage].append(taken)
        told = {stage: statistics.median(each) for stage, each in stages.items()}
        parts = ", ".join(f"{stage} {taken:.1f}" for stage, taken in told.items())
        print(f"- {Path(name).name}: **{sum(told.values()):.1f}** ({parts})")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory of this process: {peak_mb:.0f} MB")


def main() -> None:
    given = sys.argv[1:]
    path = SHIPPED / "reference"
    if given and (Path(given[0]) / "card.toml").is_file():
        path = Path(given.pop(0))
    runtimes(path)
    if given:
        files(path, given)


if __name__ == "__main__":
    main()
