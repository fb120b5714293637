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
from inference.beats import SEGMENTS_S, r_peaks
from inference.forms import F32, LEADS, U8, Picture, Tracings, Waveform
from inference.network import SaResNet50
from inference.occlusion import occlusion
from inference.prepare import page_of
from inference.render import Style, page, png
from inference.render.layout import lay_out
from inference.render.look import ROW_MM, WIDTH_MM
from inference.runtime import probability
from inference.score import Scorer

SHARES = ("PR", "QRS", "ST", "T", "other")
PAGE_S = 10.0
ROWS, COLUMNS = 4, 4
CAM_LAYER = 2
_NOISE, _DRAWS = 0.05, 8
_WARM = np.array([255.0, 96.0, 0.0], np.float32)
_PX_PER_MM = 5


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One ECG explained.

    Attributes:
        probability: the score. threshold: the bundle's.
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
        occlusion=occlusion(scorer, prepared.tracings, int(spread.sum(1).argmax()))
        if occlude
        else {},
    )


def _pictures(
    tracings: Tracings, network: SaResNet50, given: Tensor, heat: F32, maps: Mapping[int, Tensor]
) -> dict[str, U8]:
    cam = gradcam(network, given)
    smooth = np.asarray(cv2.GaussianBlur(heat, (0, 0), 1.5), np.float32)
    out = {
        "gradcam": over(tracings, cam, f"Grad-CAM after layer {CAM_LAYER}: what raises the score"),
        "saliency": over(tracings, smooth, "Saliency: |input x gradient|, SmoothGrad"),
    }
    for number, gate in maps.items():
        words = f"Attention after layer {number}: gate {float(gate.min()):.2f} (white) to "
        words += f"{float(gate.max()):.2f} (orange)"
        out[f"attention{number}"] = over(tracings, gate[0, 0].numpy(), words)
    return out


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
    peaks = r_peaks(_rows(tracings), tracings.rate_hz) / tracings.rate_hz  # s
    times = (np.arange(width) + 0.5) / width * PAGE_S
    table = np.full(width, SHARES.index("other"), np.uint8)
    for peak in peaks:
        for name, (start, stop) in SEGMENTS_S.items():
            table[(times >= peak + start) & (times < peak + stop)] = SHARES.index(name)
    return table


def _rows(tracings: Tracings) -> F32:
    """The page's four rows over its ten seconds, each lead level: (4, samples) mV."""
    leads = tracings.leads_mv  # (12, window)
    level = np.nan_to_num(leads - np.median(np.nan_to_num(leads), 1, keepdims=True))
    three = level.reshape(COLUMNS, 3, -1).transpose(1, 0, 2).reshape(3, -1)
    strip = tracings.rhythm_mv[None, : three.shape[1]]
    return np.concatenate((three, np.nan_to_num(strip))).astype(np.float32)


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


def over(tracings: Tracings, heat: F32, words: str) -> U8:
    """Lay heat over the page that a clinician reads, row by row: (rows, cols, 3) RGB.

    Args:
        tracings: what the page shows.
        heat: (h, w) over the panel, which has the page's rows without the space between them.
        words: written above the traces.
    """
    style = Style(header=(words,), px_per_mm=_PX_PER_MM)
    laid, paper = lay_out(tracings, style), page(tracings, style)
    tall, wide = round(ROW_MM * _PX_PER_MM), round(WIDTH_MM * _PX_PER_MM)
    size = (wide, ROWS * tall)
    fine = cv2.resize(np.asarray(heat, np.float32), size, interpolation=cv2.INTER_LINEAR)
    part = (fine - fine.min()) / max(float(np.ptp(fine)), 1e-9)
    strength = np.zeros(paper.shape[:2], np.float32)
    left = round(min(trace.x_mm for trace in laid.leads) * _PX_PER_MM)
    for row, baseline_mm in enumerate(sorted({t.baseline_mm for t in laid.traces})):
        top = round((baseline_mm - ROW_MM / 2) * _PX_PER_MM)
        strength[top : top + tall, left : left + wide] = part[row * tall : (row + 1) * tall]
    tint = 1 - 0.65 * strength[..., None] * (1 - _WARM / 255)
    return np.asarray(paper * tint, np.uint8)


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
