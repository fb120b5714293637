"""One file to its score: median of each stage, and the memory that it takes.

    python benchmarks/file_to_score.py [FILE ...] [--runtime auto] [--threads 1] [--rounds 20]

Without files: the demo's DICOM waveform, pictures and PDF. Each file is scored in a process of its
own, so that the peak is that of this file: Python, libraries and model are in it, and told apart
as what is taken before the first ECG.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from gateway.demo.samples import samples
from inference.installed import SHIPPED
from inference.score import Scorer

STAGES = {
    "decode": ("decode",),
    "trace": ("cut", "find", "follow"),  # of a waveform; of a page
    "render": ("render",),
    "preprocess": ("preprocess",),
    "network": ("infer",),
}


def measured(data: bytes, runtime: str, threads: int, rounds: int) -> dict[str, float]:
    """Milliseconds by stage, median after one to warm up, and memory in MB."""
    scorer = Scorer.load(SHIPPED / "reference", runtime, threads)
    loaded = peak_mb()
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        timings = scorer.score(data).timings_ms
        for stage, parts in STAGES.items():
            taken[stage].append(sum(timings.pop(part, 0.0) for part in parts))
        assert not timings, f"stages in no column: {timings}"
        if number == 0:
            taken.clear()
    told = {stage: median(each) for stage, each in taken.items()}
    whole = median(map(sum, zip(*taken.values(), strict=True)))
    return told | {"whole": whole, "loaded": loaded, "peak": peak_mb()}


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="instead of the demo's")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of the model (default 1)")
    parser.add_argument("--rounds", type=int, default=20, help="of each file (default 20)")
    given = parser.parse_args()
    contents = {file.name: file.read_bytes() for file in given.files} or {
        each.wrapping: each.dicom.content for each in samples(datetime.now(UTC)) if each.dicom
    }
    name = Scorer.load(SHIPPED / "reference", given.runtime).runtime.name
    print(f"{name}, threads: {given.threads}; milliseconds\n")
    print(f"| file | {' | '.join(STAGES)} | **whole** | MB loaded | MB at most |")
    print("|---|" + "---|" * (len(STAGES) + 3))
    for kind, content in contents.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            told = alone.submit(
                measured, content, given.runtime, given.threads, given.rounds
            ).result()
        stages = " | ".join(f"{told[stage]:.1f}" for stage in STAGES)
        memory = f"{told['loaded']:.0f} | {told['peak']:.0f}"
        print(f"| {kind} | {stages} | **{told['whole']:.1f}** | {memory} |")


if __name__ == "__main__":
    main()
