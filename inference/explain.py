"""Where the model looks: attention gates, Grad-CAM, and the share of saliency by part of the beat.

A picture alone proves nothing, so the shares are measured: the R peaks of the page tell which
columns of the input lie in PR, QRS, ST and T; `enrichment` is the share of saliency there over the
share of ink, 1 = no more than the trace itself. Needs the `train` extra.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from inference import metrics
from inference.beats import SEGMENTS_S, page_rows, r_peaks
from inference.forms import F32, LEADS, U8, Picture, Tracings, Waveform
from inference.network import SaResNet50
from inference.occlusion import Changes, occlusion, on_print
from inference.prepare import page_of
from inference.render import png
from inference.render.heat import ROWS, Heat, of_gate, of_gradcam, over, stretched
from inference.runtime import probability
from inference.score import Scorer

SHARES = ("PR", "QRS", "ST", "T", "other")
PAGE_S = 10.0
COLUMNS = 4
CAM_LAYER = 2
RUNTIME = "torch"
"""What computes the score that is explained; `inference.score` may take a quicker runtime, whose
score differs by what the bundle's card states in `[parity]`."""
_NOISE, _DRAWS = 0.05, 8


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One ECG explained.

    Attributes:
        probability: the score by `RUNTIME`. threshold: the bundle's.
        images: `page` as it came; `gradcam`, `saliency` and `attention<layer>` over the page as a
            clinician reads it; RGB.
        shares: part of the beat to its share of the saliency; they add up to 1.
        ink: the same shares of the ink, for comparison.
        by_lead: (12, 5) share of the saliency per lead and part, in the order of `SHARES`.
        gates: layer to the lowest and highest value of its attention gate, 0 to 1.
        occlusion: part of the page to the change of the score without it; empty when not asked
            for, None where what is left cannot be scored.
    """

    probability: float
    threshold: float
    images: dict[str, U8]
    shares: dict[str, float]
    ink: dict[str, float]
    by_lead: F32
    gates: dict[int, tuple[float, float]]
    occlusion: dict[str, float | None] = field(default_factory=dict)

    @property
    def enrichment(self) -> dict[str, float]:
        """Give share of saliency over share of ink."""
        return {name: self.shares[name] / max(self.ink[name], 1e-9) for name in SHARES}

    def document(self) -> dict[str, object]:
        """Give every figure as plain values."""
        leads = {
            lead: {part: round(float(value), 5) for part, value in zip(SHARES, row, strict=True)}
            for lead, row in zip(LEADS, self.by_lead, strict=True)
        }
        return {
            "probability": self.probability,
            "runtime": RUNTIME,
            "threshold": self.threshold,
            "shares": self.shares,
            "ink": self.ink,
            "enrichment": self.enrichment,
            "by_lead": leads,
            "gates": {f"layer{n}": list(limits) for n, limits in self.gates.items()},
            "occlusion": self.occlusion,
        }


def explain(
    scorer: Scorer, network: SaResNet50, source: Waveform | Picture, *, occlude: bool = False
) -> Explained:
    """Explain the score of one decoded ECG.

    Raises:
        Unscorable: as `Scorer.score`.
    """
    prepared = scorer.prepare(source)
    given = torch.from_numpy(prepared.steps.input)[None, None]  # (1, 1, H, W)
    maps: dict[int, Tensor] = {}
    with torch.no_grad():
        network.feature_map(given, maps)
        logit = float(network(given))
    heat = saliency(network, given)
    table = parts_of(prepared.tracings, heat.shape[1])
    spread = by_lead(heat, table)
    chance = float(probability(np.array([logit]), scorer.bundle)[0])
    return Explained(
        probability=chance,
        threshold=scorer.bundle.threshold,
        images={"page": page_of(source)} | _pictures(prepared.tracings, network, given, heat, maps),
        shares=shares(heat, table),
        ink=shares(prepared.steps.input, table),
        by_lead=spread,
        gates={n: (float(m.min()), float(m.max())) for n, m in maps.items()},
        occlusion=_occluded(scorer, source, prepared.tracings, spread) if occlude else {},
    )


def _occluded(
    scorer: Scorer, source: Waveform | Picture, tracings: Tracings, spread: F32
) -> Changes:
    """Cover the page as we draw it and, of a picture, the page as it came."""
    lead = int(spread.sum(1).argmax())
    found = occlusion(scorer, tracings, lead)
    return found | (on_print(scorer, source, lead) if isinstance(source, Picture) else {})


def _pictures(
    tracings: Tracings, network: SaResNet50, given: Tensor, heat: F32, maps: Mapping[int, Tensor]
) -> dict[str, U8]:
    smooth = np.asarray(cv2.GaussianBlur(heat, (0, 0), 1.5), np.float32)
    heats = {
        "gradcam": of_gradcam(gradcam(network, given), CAM_LAYER),
        "saliency": Heat("Saliency: |input x gradient|, SmoothGrad", stretched(smooth)),
    }
    heats |= {f"attention{n}": of_gate(gate[0, 0].numpy(), n) for n, gate in maps.items()}
    return {name: over(tracings, each) for name, each in heats.items()}


def saliency(network: SaResNet50, given: Tensor, seed: int = 0) -> F32:
    """Give |input x gradient| averaged over noisy copies (SmoothGrad): (H, W), adding up to 1."""
    noise = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(given[0, 0])
    for _ in range(_DRAWS):
        noisy = given + _NOISE * torch.randn(given.shape, generator=noise)
        noisy.requires_grad_()
        (gradient,) = torch.autograd.grad(network(noisy).sum(), noisy)
        total += (gradient[0, 0] * given[0, 0]).abs()
    heat: F32 = (total / total.sum().clamp_min(1e-12)).detach().numpy()
    return heat


def gradcam(network: SaResNet50, given: Tensor, layer: int = CAM_LAYER) -> F32:
    """Give Grad-CAM (Selvaraju et al. 2017) after a layer: (h, w), 0 to 1."""
    kept: list[Tensor] = []
    handle = getattr(network, f"layer{layer}").register_forward_hook(
        lambda _module, _given, out: kept.append(out)
    )
    try:
        logit = network(given.clone().requires_grad_()).sum()
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(logit, kept[0])
    weights = gradient.mean((2, 3), keepdim=True)  # (1, c, 1, 1)
    cam = torch.relu((weights * kept[0]).sum(1))[0].detach()
    heat: F32 = (cam / cam.max().clamp_min(1e-12)).numpy()
    return heat


def parts_of(tracings: Tracings, width: int) -> U8:
    """Tell which part of the beat each input column shows: (width,) index into `SHARES`."""
    peaks = r_peaks(page_rows(tracings), tracings.rate_hz) / tracings.rate_hz  # s
    times = (np.arange(width) + 0.5) / width * PAGE_S
    table = np.full(width, SHARES.index("other"), np.uint8)
    for peak in peaks:
        for name, (start, stop) in SEGMENTS_S.items():
            table[(times >= peak + start) & (times < peak + stop)] = SHARES.index(name)
    return table


def shares(heat: F32, table: U8) -> dict[str, float]:
    """Give the share of (H, W) heat in each part of the beat."""
    columns = heat.sum(0, dtype=np.float64)
    total = max(float(columns.sum()), 1e-12)
    return {name: float(columns[table == n].sum() / total) for n, name in enumerate(SHARES)}


def by_lead(heat: F32, table: U8) -> F32:
    """Give the share of heat by lead and part: (12, 5); the rhythm strip is left out."""
    height, width = heat.shape
    cells = np.zeros((len(LEADS), len(SHARES)), np.float32)
    for place in range(len(LEADS)):
        column, row = divmod(place, 3)
        across = slice(column * width // COLUMNS, (column + 1) * width // COLUMNS)
        cell = heat[row * height // ROWS : (row + 1) * height // ROWS, across].sum(0)
        for part in range(len(SHARES)):
            cells[place, part] = cell[table[across] == part].sum()
    return cells / max(float(heat.sum()), 1e-12)


def compare(
    one: Sequence[Explained], other: Sequence[Explained], draws: int = 1000
) -> dict[str, tuple[metrics.Interval, metrics.Interval, metrics.Interval]]:
    """Compare two models on the same ECGs: part of the beat to enrichment of one, other, one less.

    The means have 95 % intervals, bootstrap by ECG.
    """
    out = {}
    for part in SHARES:
        pairs = np.array(
            [(a.enrichment[part], b.enrichment[part]) for a, b in zip(one, other, strict=True)]
        )
        wanted = {
            "one": lambda _, both: float(both[:, 0].mean()),
            "other": lambda _, both: float(both[:, 1].mean()),
            "less": lambda _, both: float((both[:, 0] - both[:, 1]).mean()),
        }
        none = np.zeros(len(pairs))
        found = metrics.bootstrap(none, pairs, np.arange(len(pairs)), wanted, draws=draws)
        out[part] = (found["one"], found["other"], found["less"])
    return out


def save(found: Explained, folder: Path) -> None:
    """Write the pictures as PNG and the figures as `explained.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in found.images.items():
        (folder / f"{name}.png").write_bytes(png(pixels))
    (folder / "explained.json").write_text(json.dumps(found.document(), indent=1))
