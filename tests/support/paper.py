"""Paper pages of known waveforms; the drawer shares nothing with `inference.render`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

RATE_HZ = 250
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_FINE = 4  # supersampling

LAYOUTS = {
    "3x4": (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6")),
    "3x4-cabrera": (
        ("aVL", "I", "-aVR"),
        ("II", "aVF", "III"),
        ("V1", "V2", "V3"),
        ("V4", "V5", "V6"),
    ),
    "6x2": (LEADS[:6], LEADS[6:]),
    "6x2-cabrera": (("aVL", "I", "-aVR", "II", "aVF", "III"), LEADS[6:]),
    "12x1": (LEADS,),
    "4x3": (LEADS[:4], LEADS[4:8], LEADS[8:]),
}
GRIDS = {
    "pink": ((255, 214, 214), (246, 170, 170)),
    "red": ((250, 190, 180), (230, 110, 100)),
    "grey": ((225, 225, 225), (190, 190, 190)),
    "green": ((200, 235, 205), (130, 200, 140)),
    "blue": ((210, 225, 250), (150, 180, 235)),
}


def heart(seed: int = 0, seconds: float = 10.0, noise_mv: float = 0.01) -> np.ndarray:
    """A made-up ECG, (12, samples) mV at 250 Hz, that keeps Einthoven's and Goldberger's laws."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    beats = np.cumsum(rng.normal(rng.uniform(0.55, 1.05), 0.02, 40)) - rng.uniform(0, 0.5)
    # centre in s after the R peak, width in s
    waves = {"P": (-0.17, 0.025), "Q": (-0.028, 0.009), "R": (0.0, 0.011), "S": (0.03, 0.011),
             "T": (0.27, 0.05)}  # fmt: skip
    sizes = {
        "I": (0.08, -0.05, 0.7, -0.15, 0.2),
        "II": (0.14, -0.07, 1.0, -0.2, 0.3),
        "V1": (0.05, 0.0, 0.25, -1.0, -0.1),
        "V2": (0.06, 0.0, 0.5, -1.5, 0.5),
        "V3": (0.06, 0.0, 0.9, -0.9, 0.5),
        "V4": (0.07, -0.05, 1.6, -0.5, 0.45),
        "V5": (0.07, -0.08, 1.4, -0.25, 0.35),
        "V6": (0.07, -0.08, 1.0, -0.1, 0.25),
    }
    shown = {}
    for lead, size in sizes.items():
        signal = 0.06 * np.sin(2 * np.pi * rng.uniform(0.1, 0.3) * t + rng.uniform(0, 6))
        for (centre, width), peak in zip(waves.values(), size, strict=True):
            height = peak * rng.uniform(0.7, 1.3)
            phase = t[:, None] - beats[None] - centre
            signal = signal + height * np.exp(-0.5 * (phase / width) ** 2).sum(axis=1)
        shown[lead] = signal + rng.normal(0, noise_mv, t.size)
    shown["III"] = shown["II"] - shown["I"]
    shown["aVR"] = -(shown["I"] + shown["II"]) / 2
    shown["aVL"] = shown["I"] - shown["II"] / 2
    shown["aVF"] = shown["II"] - shown["I"] / 2
    return np.stack([shown[lead] for lead in LEADS]).astype(np.float32)


@dataclass(frozen=True)
class Style:
    """How a page looks."""

    layout: str = "3x4"
    strips: tuple[str, ...] = ("II",)
    strips_first: bool = False
    grid: str = "pink"
    px_per_mm: float = 5.0
    stroke_mm: float = 0.35
    pulse: str = "left"
    labels: bool = True
    separators: bool = False
    dotted: bool = False
    row_mm: float = 32.0
    speed: float = 25.0
    gain: float = 10.0
    skew_deg: float = 0.0
    jpeg: int = 0
    noise: float = 0.0
    header: bool = True


def draw(samples: np.ndarray, style: Style) -> np.ndarray:
    """Draw (12, 2500) mV as an RGB page (rows, cols, 3)."""
    columns = LAYOUTS[style.layout]
    rows = len(columns[0]) + len(style.strips)
    row_mm = style.row_mm if rows <= 7 else 14.0
    left, top = 22.0, 30.0
    width = left + 10 * style.speed + 12
    height = top + rows * row_mm + 15
    k = style.px_per_mm * _FINE
    page = np.full((round(height * k), round(width * k), 3), 255, np.uint8)
    _grid(page, style, k, top - 5)
    first = len(style.strips) if style.strips_first else 0
    strip0 = 0 if style.strips_first else len(columns[0])
    middle = lambda row: top + (row + 0.5) * row_mm  # noqa: E731 - one line says it best
    for c, names in enumerate(columns):
        span_s = 10 / len(columns)
        for r, name in enumerate(names):
            sign = -1 if name.startswith("-") else 1
            lead = sign * samples[LEADS.index(name.lstrip("-"))]
            _trace(page, lead, c * span_s, span_s, left, middle(r + first), style, k)
            x = left + c * span_s * style.speed
            if style.labels:
                _text(page, name, x + 1.5, middle(r + first) - 9, k)
            if style.separators and c and r == 0:
                a, b = middle(first) - 5, middle(first + len(names) - 1) + 5
                dots = np.arange(a, b, 1.0) if style.dotted else [a]
                for y in dots:
                    _line(page, [(x, y), (x, y + 0.3 if style.dotted else b)], style, k)
    for r, name in enumerate(style.strips):
        _trace(page, samples[LEADS.index(name)], 0, 10, left, middle(r + strip0), style, k)
        if style.labels:
            _text(page, name, left + 1.5, middle(r + strip0) - 9, k)
    if style.pulse:
        x = left - 9 if style.pulse == "left" else left + 10 * style.speed + 2
        for r in range(rows):
            y, u = middle(r), style.gain
            up, down = (x + 1, y - u), (x + 6, y - u)
            _line(page, [(x, y), (x + 1, y), up, down, (x + 6, y), (x + 7, y)], style, k)
    if style.header:
        for n, text in enumerate(("ECG REPORT  Name: Doe  ID 12345", "HR 72  PR 160 ms  QRS 92")):
            _text(page, text, 15, 8 + 6 * n, k)
        _text(page, f"{style.speed:.0f} mm/s  {style.gain:.0f} mm/mV", 15, height - 4, k)
    return _scanned(page, style)


def _grid(page: np.ndarray, style: Style, k: float, top_mm: float) -> None:
    thin, bold = GRIDS[style.grid]
    high, wide = page.shape[:2]
    for colour, every, width_mm in ((thin, 1, 0.12), (bold, 5, 0.2)):
        w = max(1, round(width_mm * k))
        for n in range(0, int(wide / k) + 1, every):
            x = round(n * k)
            page[round(top_mm * k) :, x : x + w] = colour
        for n in range(0, int(high / k - top_mm) + 1, every):
            y = round((top_mm + n) * k)
            page[y : y + w] = colour


def _trace(
    page: np.ndarray, lead: np.ndarray, start_s: float, span_s: float, left: float, y0: float,
    style: Style, k: float,
) -> None:  # fmt: skip
    n = np.arange(round(start_s * RATE_HZ), min(lead.size, round((start_s + span_s) * RATE_HZ) + 1))
    x = left + n / RATE_HZ * style.speed
    y = y0 - (lead[n] - np.median(lead)) * style.gain
    _line(page, np.stack([x, y], 1), style, k)


def _line(page: np.ndarray, points: object, style: Style, k: float) -> None:
    at = np.round((np.asarray(points, float) * k - 0.5) * 16).astype(np.int32)
    cv2.polylines(page, [at], False, (0, 0, 0), round(style.stroke_mm * k), cv2.LINE_AA, 4)


def _text(page: np.ndarray, text: str, x: float, y: float, k: float) -> None:
    scale = 3.0 * k / 21
    at = (round(x * k), round(y * k))
    cv2.putText(page, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), max(1, round(0.3 * k)))


def _scanned(page: np.ndarray, style: Style) -> np.ndarray:
    size = (round(page.shape[1] / _FINE), round(page.shape[0] / _FINE))
    page = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    if style.skew_deg:
        turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), -style.skew_deg, 1)
        page = cv2.warpAffine(page, turn, size, borderValue=(255, 255, 255), flags=cv2.INTER_CUBIC)
    if style.noise:
        rng = np.random.default_rng(1)
        page = np.clip(page + rng.normal(0, style.noise, page.shape), 0, 255).astype(np.uint8)
    if style.jpeg:
        coded = cv2.imencode(".jpg", page[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, style.jpeg])[1]
        page = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
    return page


def photographed(page: np.ndarray, tilt: tuple[float, float], curl_px: float = 0) -> np.ndarray:
    """A page as a camera sees it: its far edge shorter by twice `tilt[0]` and lower, curled."""
    ground = (120, 110, 100)
    page = cv2.copyMakeBorder(page, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=ground)
    high, wide = page.shape[:2]
    left, down = tilt[0] * wide, tilt[1] * high
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    seen = corners + np.array([[left, down], [-left, 2 * down], [0, 0], [0, 0]], np.float32)
    view = cv2.getPerspectiveTransform(corners, seen)
    page = cv2.warpPerspective(page, view, (wide, high), borderValue=ground)
    x, y = np.meshgrid(np.arange(wide, dtype=np.float32), np.arange(high, dtype=np.float32))
    y += np.float32(curl_px) * np.sin(np.pi * x / wide)
    return cv2.remap(page, x, y, cv2.INTER_LINEAR, borderValue=ground)


def distances_mm(found: np.ndarray, known: np.ndarray, reach: int = 15) -> np.ndarray:
    """Distance in mm of each found sample from the known curve on the paper (250 Hz, 25 mm/s).

    Both are (samples,) mV; the known curve is taken between its samples too. NaN stays NaN.
    """
    fine = 4
    dense = np.interp(np.arange((known.size - 1) * fine + 1) / fine, np.arange(known.size), known)
    best = np.full(found.size, np.inf)
    at = np.arange(found.size)
    for shift in range(-reach * fine, reach * fine + 1):
        where = np.clip(at * fine + shift, 0, dense.size - 1)
        dx = (where / fine - at) * 0.1
        best = np.minimum(best, np.hypot(dx, (dense[where] - found) * 10))
    best[np.isnan(found)] = np.nan
    return best
