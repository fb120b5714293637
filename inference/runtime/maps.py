"""Where the network looks, without torch: values of its forward pass, by OpenVINO in fp32.

The head averages the last feature maps `A` and weighs them: `logit = mean(sum_c w_c A_c) + b`. So
the gradient that Grad-CAM (Selvaraju et al. 2017) asks for at the last map is `w` itself, and
`relu(sum_c w_c A_c)` is Grad-CAM there, as well as the class activation map (Zhou et al. 2016).
The attention gates are values on the way. No backward pass is needed.

The maps are of the fp32 network, whichever runtime gave the score: an int8 graph has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.architecture import BLOCKS
from inference.bundle import Bundle, open_bundle
from inference.forms import F32
from inference.installed import path_of
from inference.render.heat import Heat, of_gate, of_gradcam
from inference.runtime import graph, probability
from inference.runtime.vino import core


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Where the network looked on one panel; every map covers all of the panel.

    Attributes:
        probability: the fp32 network's score, after the card's calibration.
        evidence: (h, w) what each field adds to the logit; their mean and the bias are the logit.
        gates: layer to the gate of its attention block, (h, w), 0 to 1.
    """

    probability: float
    evidence: F32
    gates: dict[int, F32]

    @property
    def gradcam(self) -> F32:
        """Give Grad-CAM at the last map, (h, w) 0 to 1, over what moves the score most either way.

        So what raises a negative ECG's score stays pale beside what lowers it.
        """
        most = max(float(np.abs(self.evidence).max()), 1e-12)
        return np.asarray(np.maximum(self.evidence, 0) / most, np.float32)

    def heats(self) -> list[Heat]:
        """Give the maps as they are drawn: Grad-CAM, then the attention of each block."""
        gates = [of_gate(gate, layer) for layer, gate in self.gates.items()]
        return [of_gradcam(self.gradcam, len(BLOCKS)), *gates]


def maps_of(
    digest: str, site_dir: Path | None = None, trusted: bytes | None = None
) -> MapNetwork | None:
    """Load the maps of the bundle of this digest; None when it is not installed here.

    Args:
        digest: SHA-256 hex of the card.
        site_dir: the site's directory of bundles.
        trusted: a raw Ed25519 public key (32 bytes); then the card must be signed with it.

    Raises:
        BundleError: it is, and cannot be trusted.
    """
    path = path_of(digest, site_dir)
    return MapNetwork(open_bundle(path, trusted=trusted)) if path else None


class MapNetwork:
    """A bundle's fp32 network with its maps as outputs; about a second to load."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Build and compile it; one thread gives the same values each time.

        Raises:
            BundleError: the weights do not fit the card's network.
        """
        self.bundle = bundle
        model = graph.build(bundle.weights(), bundle.network, maps=True)
        model.reshape([1, 1, bundle.network.height, bundle.network.width])
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._compiled = core().compile_model(model, "CPU", options)

    def of(self, pixels: F32) -> Maps:
        """Give the maps of one (H, W) input, 0 to 1."""
        found = self._compiled(np.ascontiguousarray(pixels[None, None], np.float32))
        gates = {
            layer: np.array(found[f"attention{layer}"][0, 0])
            for layer in sorted(self.bundle.network.sa_after)
        }
        chance = float(probability(np.array(found["logits"], np.float64), self.bundle)[0])
        return Maps(chance, np.array(found["evidence"][0, 0]), gates)
