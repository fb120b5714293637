"""Build a bundle: weights + facts -> threshold, guard, int8 model, golden scores, parity, card.

Needs the `train` extra. Nothing here looks at a test fold or at an external cohort.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference import embedding, golden, guard, known, parity
from inference.bundle import GOLDEN, INT8, WEIGHTS, Bundle, open_bundle, write_card
from inference.forms import F32, Waveform
from inference.network import NetworkConfig
from inference.preprocess import Recipe, preprocess
from inference.render import panel
from inference.runtime import Outputs, Runtime, probability
from inference.runtime.eager import TorchRuntime
from inference.runtime.vino import VinoRuntime
from inference.thresholds import ThresholdRule
from inference.tracings import cut

_CALIBRATION = 300


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a bundle is built from.

    Attributes:
        weights: a safetensors file as `inference.train` exports it.
        network, recipe: what it was trained with.
        training: (n, H, W) inputs of training ECGs, for the guard and for quantisation.
        validation: (m, H, W) inputs; labels: (m,) 0 or 1; never the test fold.
        pages: (m, H, W) the same ECGs as pages show them, some without a rhythm strip: with
            `validation` they set the bound on the embedding distance.
        golden: (k, 12, 2500) mV at 250 Hz, simulated.
        facts: the card's other tables: name, version, endpoint, data, training and so on.
        rule: chooses the threshold on the validation ECGs.
        known: SHA-256 of the ECGs of `training` and `validation`, so that they are known again.
    """

    weights: Path
    network: NetworkConfig
    recipe: Recipe
    training: F32
    validation: F32
    pages: F32
    labels: np.ndarray[Any, Any]
    golden: F32
    facts: Mapping[str, Any]
    rule: ThresholdRule = field(default_factory=ThresholdRule)
    known: Collection[str] = ()


def build_bundle(material: Material, out: Path, *, int8: bool = True) -> Bundle:
    """Write a bundle to `out`, replacing what is there; give it, opened and verified."""
    partial = out.with_name(f".{out.name}.building")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / GOLDEN).parent.mkdir(parents=True)
    shutil.copyfile(material.weights, partial / WEIGHTS)
    np.savez_compressed(partial / GOLDEN, uv=np.rint(material.golden * 1000).astype(np.int16))
    if material.known:
        known.save(partial, known.shortened(material.known))
    draft = _draft(material, partial)
    torch = TorchRuntime(draft)
    reference = torch.outputs(material.validation[:, None])
    card = dict(draft.card) | {
        "golden": {"logits": [float(v) for v in torch.logits(_golden_inputs(draft))]},
        "threshold": material.rule.choose(material.labels, probability(reference.logits, draft)),
        "threshold_rule": material.rule.document() | {"ecgs": "the validation ECGs"},
        "guard": _guard(material, torch, reference, partial),
    }
    write_card(partial, card)
    if int8:
        quantise(draft, material.training[:_CALIBRATION], partial)
        write_card(partial, card)
        quick = VinoRuntime(open_bundle(partial), "int8").logits(_golden_inputs(draft))
        card["golden"] = card["golden"] | {"openvino-int8": [float(v) for v in quick]}
        write_card(partial, card)
    card["parity"] = parity.measure(
        open_bundle(partial), material.validation[:, None], material.labels, reference
    )
    write_card(partial, card)
    _replace(partial, out)
    return open_bundle(out)


def _guard(material: Material, torch: Runtime, seen: Outputs, folder: Path) -> dict[str, Any]:
    """Fit both halves of the guard; write the embedding and give the card's table."""
    table = guard.fit(np.concatenate((material.training, material.validation)))
    described = embedding.fit(torch.outputs(material.training[:, None]).features)
    described.save(folder)
    pages = torch.outputs(material.pages[:, None]).features
    features = np.concatenate((seen.features, pages))
    return table | {"embedding": guard.fit_features(described, features)}


def _draft(material: Material, folder: Path) -> Bundle:
    network = replace(material.network, auxiliary=0)
    card = dict(material.facts) | {
        "threshold": 0.5,
        "network": network.document(),
        "preprocess": material.recipe.to_table(),
        "golden": {"logits": [0.0] * len(material.golden)},
    }
    write_card(folder, card)
    return open_bundle(folder)


def _golden_inputs(draft: Bundle) -> F32:
    waveforms, _ = draft.golden()
    drawn = [panel(cut(Waveform(each, golden.RATE_HZ))) for each in waveforms]
    return np.stack([preprocess(each, draft.recipe).input for each in drawn])[:, None]


def quantise(bundle: Bundle, inputs: F32, out: Path) -> None:
    """Write the int8 graph: NNCF post-training quantisation on (n, H, W) training inputs."""
    import nncf  # noqa: PLC0415 - seconds to import, and part of the train extra
    import openvino as ov  # noqa: PLC0415

    from inference.runtime import graph  # noqa: PLC0415

    model = graph.build(bundle.weights(), bundle.network)
    items = [each[None, None] for each in inputs]
    dataset = nncf.Dataset(items)
    quantised = nncf.quantize(
        model, dataset, subset_size=len(items), preset=nncf.QuantizationPreset.MIXED
    )
    ov.save_model(quantised, out / INT8[0], compress_to_fp16=True)


def _replace(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


__all__ = ["Material", "build_bundle", "quantise"]
