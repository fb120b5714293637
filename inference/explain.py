"""Where the model looks: attention gates, Grad-CAM, and the share of saliency by part of the beat.

A picture alone proves nothing, so the shares are measured: the R peaks of the rhythm strip tell
which columns of the input lie in PR, QRS, ST and T; `enrichment` is the share of saliency there
over the share of ink, 1 = no more than the trace itself. Needs the `train` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inference.beats import SEGMENTS_S, r_peaks
from inference.decode import decode
from inference.forms import F32, LEADS, U8, Tracings
from inference.network import SaResNet50
from inference.prepare import pictures
from inference.runtime import probability
from inference.runtime.eager import network_of
from inference.score import Scorer

SHARES = ("PR", "QRS", "ST", "T", "other")
PAGE_S = 10.0
ROWS, COLUMNS = 4, 4
CAM_LAYER = 2
_NOISE, _DRAWS = 0.05, 8

__all__ = ["SHARES", "Explained", "explain", "gradcam", "network_of", "saliency", "save", "shares"]


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One ECG explained.

    Attributes:
        probability: the score.
        images: `panel`, `gradcam`, `saliency` and `attention<layer>`, over the panel, RGB.
        shares: part of the beat to its share of the saliency; they add up to 1.
        ink: the same shares of the ink, for comparison.
        by_lead: (12, 5) share of the saliency per lead and part, in the order of `SHARES`.
    """

    probability: float
    images: dict[str, U8]
    shares: dict[str, float]
    ink: dict[str, float]
    by_lead: F32

    @property
    def enrichment(self) -> dict[str, float]:
        """Give share of saliency over share of ink."""
        return {name: self.shares[name] / max(self.ink[name], 1e-9) for name in SHARES}


def explain(scorer: Scorer, network: SaResNet50, data: bytes) -> Explained:
    """Explain the score of one file.

    Raises:
        Undecodable, Unscorable: as `Scorer.score`.
    """
    prepared = scorer.prepare(decode(data))
    given = torch.from_numpy(prepared.steps.input)[None, None]  # (1, 1, H, W)
    gates: dict[int, Tensor] = {}
    with torch.no_grad():
        network.feature_map(given, gates)
        logit = float(network(given))
    heat = saliency(network, given)
    table = parts_of(prepared.tracings, heat.shape[1])
    panel = prepared.panel
    images = {"page": pictures(prepared)["page"], "panel": panel}
    images["gradcam"] = over(panel, gradcam(network, given))
    images["saliency"] = over(panel, cv2.GaussianBlur(heat, (0, 0), 1.5))
    images |= {f"attention{n}": over(panel, g[0, 0].numpy()) for n, g in gates.items()}
    return Explained(
        probability=float(probability(np.array([logit]), scorer.bundle)[0]),
        images=images,
        shares=shares(heat, table),
        ink=shares(prepared.steps.input, table),
        by_lead=by_lead(heat, table),
    )


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
    peaks = r_peaks(tracings.rhythm_mv[None], tracings.rate_hz) / tracings.rate_hz  # s
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


def over(panel: U8, heat: F32) -> U8:
    """Lay heat over a grey panel: (rows, cols, 3) RGB."""
    rows, cols = panel.shape
    wide = cv2.resize(np.asarray(heat, np.float32), (cols, rows), interpolation=cv2.INTER_CUBIC)
    low, high = float(wide.min()), float(wide.max())
    part = np.clip((wide - low) / max(high - low, 1e-9), 0, 1)[..., None]
    warm = np.array([255.0, 96.0, 0.0])
    ground = (1 - 0.65 * part) * 255 + 0.65 * part * warm
    ink = panel[..., None].astype(np.float32) / 255
    return np.asarray(ground * ink, np.uint8)


def save(found: Explained, folder: Path) -> None:
    """Write the pictures as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in found.images.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
