"""`python -m inference.reference.probe DATA BUNDLE`: what the shipped network looks at, and int8.

For docs/model-card.md, on ECGs of the internal test fold and on real prints of the external set:
the change of the score when what is no trace is covered, the share of saliency by lead and part of
the beat, and how far int8 is from fp32 on the inputs of the prints. Nothing is chosen by it.
Needs the `train` extra.
"""

from __future__ import annotations

import argparse
import csv
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from inference import parity
from inference.bundle import Bundle
from inference.decode import decode_file
from inference.errors import Unscorable
from inference.explain import SHARES, by_lead, parts_of, saliency, shares
from inference.forms import F32, LEADS, Picture, Waveform
from inference.metrics import Array
from inference.occlusion import Changes, occlusion, on_print, without
from inference.reference.validate import OUTCOME, internal
from inference.runtime import load
from inference.runtime.eager import network_of
from inference.score import Scorer

FP32, INT8 = "openvino-fp32", "openvino-int8"
T = TypeVar("T")


class Share(NamedTuple):
    """Where saliency lies on one ECG: (5,) of all of it and of the ink, (12, 5) by lead."""

    heat: Array
    ink: Array
    leads: F32


def prints(data: Path) -> list[tuple[Path, int]]:
    """List the real prints, each with whether it has the outcome."""
    with (data / "mendeley" / "labels.csv").open(newline="") as file:
        return [(data / row["path"], int(row["class"] in OUTCOME)) for row in csv.DictReader(file)]


def inputs(scorer: Scorer, pages: Iterable[tuple[Path, int]]) -> tuple[F32, Array]:
    """Give (n, 1, H, W) inputs of the prints that can be read, and (n,) outcomes."""
    found, labels = [], []
    for path, label in pages:
        try:
            found.append(scorer.prepare(decode_file(path)).steps.input)
        except Unscorable:
            continue
        labels.append(label)
    return np.stack(found)[:, None], np.array(labels)


def int8_parity(bundle: Bundle, given: F32, labels: Array) -> dict[str, Any]:
    """Compare int8 with fp32, both OpenVINO: a table as in the card's `[parity]`."""
    wanted = load(bundle, FP32).outputs(given)
    return parity.compare(INT8, bundle, labels, load(bundle, INT8).outputs(given), wanted)


def seen(scorer: Scorer, ecgs: Sequence[Waveform | Picture]) -> list[Share]:
    """Measure the saliency of each ECG that can be read."""
    import torch  # noqa: PLC0415 - part of the train extra

    network = network_of(scorer.bundle)
    found = []
    for ecg in ecgs:
        try:
            prepared = scorer.prepare(ecg)
        except Unscorable:
            continue
        pixels = prepared.steps.input
        heat = saliency(network, torch.from_numpy(pixels)[None, None])
        table = parts_of(prepared.tracings, heat.shape[1])
        of_heat, of_ink = (np.array(list(shares(each, table).values())) for each in (heat, pixels))
        found.append(Share(of_heat, of_ink, by_lead(heat, table)))
    return found


def covered(
    scorer: Scorer, waves: Sequence[Waveform], pages: Sequence[Picture]
) -> dict[str, list[float | None]]:
    """Cover drawn pages, each lead in turn, and prints, one lead; the changes by what it was."""
    found: dict[str, list[float | None]] = {}

    def keep(changes: Changes, where: str = "") -> None:
        for name, change in changes.items():
            lead, _, what = name.partition(" ")
            told = f"{where}one lead {what}" if lead in LEADS else name
            found.setdefault(told, []).append(change)

    for number, wave in enumerate(waves):
        tracings = scorer.prepare(wave).tracings
        chosen = number % len(LEADS)
        keep(occlusion(scorer, tracings, chosen))
        for lead in set(range(len(LEADS))) - {chosen}:
            keep(without(scorer, tracings, lead))
    for number, picture in enumerate(pages):
        try:
            keep(on_print(scorer, picture, number % len(LEADS)), "print: ")
        except Unscorable:
            keep({"print: not placed": None})
    return found


def occlusion_table(found: Mapping[str, Sequence[float | None]]) -> str:
    """Write the changes of probability as a Markdown table."""
    rows = [
        "| covered or changed | scored | not scorable | mean | largest |",
        "|---|---|---|---|---|",
    ]
    for name, changes in found.items():
        known = np.abs([change for change in changes if change is not None])
        told = f"{known.mean():.4f} | {known.max():.4f}" if known.size else "- | -"
        rows.append(f"| {name} | {known.size} | {len(changes) - known.size} | {told} |")
    return "\n".join(rows)


def saliency_table(sets: Mapping[str, Sequence[Share]]) -> str:
    """Write enrichment by part of the beat, and share by lead, of each set."""
    names = list(sets)
    rows = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for part, name in enumerate(SHARES):
        means = [np.mean([s.heat[part] / max(s.ink[part], 1e-9) for s in sets[n]]) for n in names]
        rows.append(f"| enrichment {name} | {' | '.join(f'{m:.2f}' for m in means)} |")
    for place, lead in enumerate(LEADS):
        cells = []
        for name in names:
            mean = np.mean([share.leads[place] for share in sets[name]], axis=0)
            cells.append(f"{mean.sum():.1%} ({mean[SHARES.index('ST')]:.1%})")
        rows.append(f"| {lead}: all (ST) | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.reference.probe", description=__doc__
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--covered", type=int, default=40, help="ECGs of each kind to cover")
    parser.add_argument("--explained", type=int, default=60, help="ECGs of each kind to explain")
    given = parser.parse_args()
    scorer = Scorer.load(given.bundle, FP32)
    say = sys.stdout.write
    waves = [item.waveform for item in internal(given.data)]
    pages = prints(given.data)
    changes = covered(scorer, _some(waves, given.covered), _pictures(_some(pages, given.covered)))
    say(occlusion_table(changes) + "\n\n")
    sets = {
        "internal": seen(scorer, _some(waves, given.explained)),
        "prints": seen(scorer, _pictures(_some(pages, given.explained))),
    }
    say(", ".join(f"{name}: {len(each)} ECGs" for name, each in sets.items()) + "\n")
    say(saliency_table(sets) + "\n\n")
    found = int8_parity(scorer.bundle, *inputs(scorer, pages))
    say(f"int8 against fp32 on {platform.processor() or platform.machine()}: {found}\n")


def _pictures(pages: Iterable[tuple[Path, int]]) -> list[Picture]:
    decoded = [decode_file(path) for path, _ in pages]
    return [each for each in decoded if isinstance(each, Picture)]


def _some(items: Sequence[T], count: int) -> list[T]:
    """At most `count`, evenly over all."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)), dtype=int)
    return [items[place] for place in places]


if __name__ == "__main__":
    main()
