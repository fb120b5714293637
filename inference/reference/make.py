"""`python -m inference.reference.make DATA RUN OUT`: a bundle from the weights of a run."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from inference import augment, golden
from inference.architecture import NetworkConfig
from inference.augment import AugmentConfig
from inference.build import Material, build_bundle
from inference.bundle import Bundle, created
from inference.examples import to_input
from inference.forms import F32
from inference.metrics import auprc, auroc, best_f1_threshold, f1
from inference.preprocess import Recipe
from inference.reference import ptbxl, recipe
from inference.reference.sources import PtbxlSource
from inference.runtime import load, probability

NAME = "reference"


def make(data: Path, run: Path, out: Path, version: str, *, int8: bool = True) -> Bundle:
    """Build the reference bundle from RUN/weights.safetensors."""
    trained = json.loads((run / "config.json").read_text())
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    parts = recipe.read(data / "ptbxl").split()
    settings = Recipe.from_table(trained["recipe"])
    known = [s for s in parts.training if not s.record.scaled]
    shuffled = np.random.default_rng(5).permutation(len(known))
    material = Material(
        weights=run / "weights.safetensors",
        network=NetworkConfig.of(trained["network"]),
        recipe=settings,
        training=inputs(known, settings, augment.PAGES)[shuffled],
        validation=inputs(parts.validation, settings),
        pages=inputs(parts.validation, settings, augment.PAGES),
        labels=np.array([s.label for s in parts.validation]),
        golden=golden.waveforms(),
        facts=facts(trained, log, (run / "command").read_text(), parts) | {"version": version},
    )
    return build_bundle(material, out, int8=int8)


def inputs(
    sources: list[PtbxlSource], settings: Recipe, config: AugmentConfig = augment.NONE
) -> F32:
    """Draw each source once, as it is served: (n, H, W)."""
    drawn = []
    for number, source in enumerate(sources):
        rng = np.random.default_rng(number)
        page = source.draw(augment.NONE, rng).tracings
        drawn.append(to_input(page, settings, config, rng))
    return np.stack(drawn)


def facts(
    trained: dict[str, Any], log: list[dict[str, Any]], command: str, parts: recipe.Split
) -> dict[str, Any]:
    """Give the card's tables that tell what the model is and what it is not."""
    return {
        "name": NAME,
        "created": created(),
        "summary": "SA-ResNet50 on the image of a 12-lead ECG; stand-in endpoint, not for care",
        "endpoint": {
            "name": ptbxl.ENDPOINT,
            "meaning": "PTB-XL superclass MI or STTC: myocardial infarction or ST/T change",
            "caution": (
                "A stand-in. The published EIANet predicts emergency-department cardiac arrest; "
                "no such outcome was available here and no figure of this bundle is the paper's."
            ),
        },
        "validation": {
            "status": "not validated",
            "note": "Not validated on any hospital's outcomes; results go out marked as test.",
        },
        "data": {
            "attribution": ptbxl.ATTRIBUTION,
            "license": "CC-BY-4.0",
            "changes": (
                "resampled, drawn as images; two thirds of the training records were z-scored per "
                "lead, so their gain is artificial; injury currents were drawn onto normal records"
            ),
            "training": len(parts.training),
            "validation": len(parts.validation),
            "test": len(parts.test),
            "positive": {
                "training": sum(s.label for s in parts.training),
                "validation": sum(s.label for s in parts.validation),
                "test": sum(s.label for s in parts.test),
            },
            "split": "PTB-XL folds, and 5 label-stratified folds of `raw` (seed 2025) by record",
        },
        "training": {
            "epochs_planned": trained["epochs"],
            "epochs_done": log[-1]["epoch"],
            "seed": trained["seed"],
            "loss": trained["loss"]["kind"],
            "peak_lr": trained["peak_lr"],
            "batch": trained["batch"],
            "command": command,
            "start_sha256": _start(trained),
            "auxiliary": (
                "superclasses, statements where told, and per-lead ST, T, R and S amplitudes; "
                "dropped at export"
            ),
        },
    }


def _start(trained: dict[str, Any]) -> str:
    """Give the digest of the weights that the run started from; empty: from nothing."""
    if not trained["pretrained"]:
        return ""
    return hashlib.sha256(Path(trained["pretrained"]).read_bytes()).hexdigest()


def measured(data: Path, bundle: Bundle) -> dict[str, dict[str, float]]:
    """Score validation and internal test records with a bundle, in fp32."""
    parts = recipe.read(data / "ptbxl").split()
    runtime = load(bundle, "openvino-fp32")
    out = {}
    for name, sources in (("validation", parts.validation), ("test", parts.test)):
        labels = np.array([s.label for s in sources])
        logits = runtime.logits(inputs(sources, bundle.recipe)[:, None])
        scores = probability(logits, bundle)
        out[name] = {
            "n": float(labels.size),
            "auroc": auroc(labels, scores),
            "auprc": auprc(labels, scores),
            "f1_at_threshold": f1(labels, scores, bundle.threshold),
            "f1_best": f1(labels, scores, best_f1_threshold(labels, scores)),
        }
    return out


def main() -> None:
    """Build the bundle and print its parity and its validation metrics."""
    parser = argparse.ArgumentParser(prog="python -m inference.reference.make", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--version", required=True, help="of the bundle, such as 0.3.0")
    parser.add_argument("--no-int8", action="store_true")
    parser.add_argument("--measure", action="store_true", help="also score validation and test")
    given = parser.parse_args()
    bundle = make(given.data, given.run, given.out, given.version, int8=not given.no_int8)
    told: dict[str, Any] = {"digest": bundle.digest, "threshold": bundle.threshold}
    told |= {"guard": bundle.card["guard"]["bound"], "parity": bundle.card["parity"]}
    if given.measure:
        told["measured"] = measured(given.data, bundle)
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
