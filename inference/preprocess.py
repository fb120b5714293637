"""The paper's four steps on a panel, and the resize to the network's input.

    panel ── binary form ──> noise reduction ──> component analysis ──> opening ──> area resize

The order is the paper's (Lu et al., J Med Internet Res 2025;27:e67576); how each step is done is
this project's choice and a field of `Recipe`, so that it can be switched and ablated. Component
area and opening are in mm and mean the same at another resolution; the median is of 3x3 pixels,
0.75 mm at the panel's 4 px/mm. It is also the one step that is not idempotent: a second run of the
chain changes up to 2.5 % of the ink (tests/unit/test_preprocess.py), so a panel goes through once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.errors import BundleError
from inference.forms import F32, U8

Binarise = Literal["otsu", "fixed", "none"]
Denoise = Literal["median3", "none"]
Opening = Literal["on", "none"]
Polarity = Literal["dark", "light"]

PX_PER_MM = 4.0
"""Resolution of the panel that `inference.render.panel` draws."""

_NO_FLOOR = ("least_level", 0)  # of cards up to 0.2.0
_lent = threading.local()
_LARGEST_PX = 2**31 // 255  # its integral image fits 32 bits
_BLANK = 8  # rows: fewer blank ones are not worth a part of their own
_CONTRAST = 32  # grey levels: a flatter panel shows nothing, and Otsu would split its noise


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a panel becomes the network's input; one table of a bundle's card.

    Attributes:
        binarise: `fixed` (at `fixed_level`), `otsu` or `none` (grey stays grey), for ablation.
        fixed_level: grey level, 0 to 255; darker or equal is trace. The panel is drawn by this
            project, ink 0 on paper 255, so its levels are known. Otsu's fall at 137 to 145, where
            the steep leg of a QRS, 2 px wide and off the pixel grid, becomes 1 px and the median
            removes it: 1.2 % of the traces' length was lost, 0.01 % is at 160.
        denoise: median of 3x3 pixels, whatever the resolution, or none.
        min_component_mm2: 8-connected components with less ink than this are dropped; 0 keeps all.
        opening: morphological opening with a square of `opening_mm`, or none.
        opening_mm: at most the stroke width (0.5 mm), so that no trace is lost.
        input_height, input_width: the network's input in px.
        polarity: whether the trace is `dark` or `light` in the panel.
    """

    binarise: Binarise = "fixed"
    fixed_level: int = 160
    denoise: Denoise = "median3"
    min_component_mm2: float = 4.0
    opening: Opening = "on"
    opening_mm: float = 0.5
    input_height: int = 128
    input_width: int = 256
    polarity: Polarity = "dark"

    def __post_init__(self) -> None:
        choices = (
            ("binarise", Binarise),
            ("denoise", Denoise),
            ("opening", Opening),
            ("polarity", Polarity),
        )
        for name, allowed in choices:
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"recipe: {name} must be one of {get_args(allowed)}")
        if not 0 <= self.fixed_level <= 255:
            raise ValueError("recipe: fixed_level must lie in 0..255")
        if self.min_component_mm2 < 0 or self.opening_mm <= 0:
            raise ValueError("recipe: areas and lengths must be positive")
        if min(self.input_height, self.input_width) < 32:
            raise ValueError("recipe: the input must have at least 32 px a side")
        if self.binarise == "none" and self.min_component_mm2 > 0:
            raise ValueError("recipe: components need a binary form; set min_component_mm2 to 0")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Recipe:
        """Read the `[preprocess]` table of a card; raises BundleError for anything unknown."""
        table = {name: value for name, value in table.items() if (name, value) != _NO_FLOOR}
        unknown = sorted(set(table) - {each.name for each in fields(cls)})
        if unknown:
            raise BundleError(f"recipe: unknown keys {', '.join(unknown)}")
        try:
            return cls(**table)
        except (TypeError, ValueError) as error:
            raise BundleError(str(error)) from error

    def to_table(self) -> dict[str, Any]:
        """The table that `from_table` reads."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Steps:
    """Each step's image, for people, and the input, for the network.

    Attributes:
        binary, denoised, components, opened: (rows, cols) uint8, trace = 255.
        input: (input_height, input_width) float32, 0..1, share of trace in each pixel's area.
    """

    binary: U8
    denoised: U8
    components: U8
    opened: U8
    input: F32


def preprocess(panel: U8, recipe: Recipe, px_per_mm: float = PX_PER_MM) -> Steps:
    """Run the four steps on a grey panel (rows, cols) uint8 and resize by area.

    Raises:
        ValueError: the panel is not a two-dimensional uint8 image of up to 8.4 million pixels.
    """
    if panel.ndim != 2 or panel.dtype != np.uint8 or panel.size > _LARGEST_PX:
        raise ValueError("a panel is a (rows, cols) uint8 image of up to 8.4 million pixels")
    first, second, third, fourth = np.empty((4, *panel.shape), np.uint8)  # a block: large pages
    binary = _binary(panel, recipe, first)
    denoised: U8 = cv2.medianBlur(binary, 3, second) if recipe.denoise == "median3" else binary
    components = drop_small(denoised, recipe.min_component_mm2 * px_per_mm**2, third)
    side = max(1, int(recipe.opening_mm * px_per_mm + 1e-6))
    opened = opening(components, side, fourth) if recipe.opening == "on" else components
    return Steps(binary, denoised, components, opened, _input(opened, recipe))


def _binary(panel: U8, recipe: Recipe, out: U8) -> U8:
    grey = panel if recipe.polarity == "dark" else cv2.bitwise_not(panel)
    if recipe.binarise == "none":
        return np.asarray(cv2.bitwise_not(grey, out), np.uint8)
    level = recipe.fixed_level
    if recipe.binarise == "otsu":
        low, high, _, _ = cv2.minMaxLoc(grey)
        if high - low < _CONTRAST:
            return np.zeros_like(grey)
        found, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU, out)
        level = int(found)
    return np.asarray(cv2.threshold(grey, level, 255, cv2.THRESH_BINARY_INV, out)[1], np.uint8)


def drop_small(binary: U8, min_px: float, out: U8 | None = None) -> U8:
    """Clear the 8-connected components of fewer than `min_px` pixels, into `out` if given.

    Blank rows part an image into bands, which share no component. Blank ones, a third of a panel or
    page, need no labels, and those of one band stay in the processor's cache.
    """
    if min_px <= 1:
        return binary
    kept = np.empty_like(binary) if out is None else out
    np.copyto(kept, binary)
    for band in _bands(binary):
        _drop_small(binary[band], min_px, kept[band])
    return kept


def _bands(binary: U8) -> list[slice]:
    """The rows with ink, together where less than `_BLANK` blank ones lie between."""
    inked = np.flatnonzero(binary.any(axis=1))
    parts = np.split(inked, np.flatnonzero(np.diff(inked) > _BLANK) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts if part.size]


def _drop_small(binary: U8, min_px: float, kept: U8) -> None:
    """Clear the small components of one band in `kept`, its copy.

    Only the ink is counted: labelling without statistics and a count over the few foreground
    pixels take a third of the time of `connectedComponentsWithStats` on a panel.
    """
    mask = np.not_equal(binary, 0, out=_scratch(binary.shape, np.bool_))
    ink = np.flatnonzero(mask)  # eight times faster than on bytes
    count, labels = cv2.connectedComponentsWithAlgorithm(
        binary, 8, cv2.CV_32S, cv2.CCL_SPAGHETTI, labels=_scratch(binary.shape, np.int32)
    )
    of_ink = labels.ravel()[ink]
    small = np.bincount(of_ink, minlength=count) < min_px
    kept.ravel()[ink[small[of_ink]]] = 0


def opening(binary: U8, side_px: int, out: U8 | None = None) -> U8:
    """Morphological opening with a square of `side_px`, into `out` if given.

    `cv2.morphologyEx` does not reflect the element, so an even side would shift the image by one
    pixel; the dilation here has the mirrored anchor. Pixels beyond the border count as trace for
    the erosion, so that a trace is not eaten at the panel's edge.
    """
    if side_px <= 1:
        return binary
    element = np.ones((side_px, side_px), np.uint8)
    anchor, mirrored = side_px // 2, side_px - 1 - side_px // 2
    area = _scratch(binary.shape, np.uint8)
    eroded = cv2.erode(binary, element, area, anchor=(anchor, anchor))
    return np.asarray(cv2.dilate(eroded, element, out, anchor=(mirrored, mirrored)), np.uint8)


def _input(opened: U8, recipe: Recipe) -> F32:
    """Share of trace in the area of each input pixel, rounded to 1/255.

    What `cv2.resize` with INTER_AREA gives, in a third of its time where the sizes are no multiple:
    the sum over an area that begins and ends within pixels is read from the integral image, which
    is bilinear within each pixel.
    """
    y, down = _edges(opened.shape[0], recipe.input_height)
    x, right = _edges(opened.shape[1], recipe.input_width)
    shape = (opened.shape[0] + 1, opened.shape[1] + 1)
    sums = cv2.integral(opened, _scratch(shape, np.int32), cv2.CV_32S)
    above, below = sums[y], sums[y + 1]  # (height + 1, cols + 1)
    upper = above.take(x, 1) * (1 - right) + above.take(x + 1, 1) * right
    lower = below.take(x, 1) * (1 - right) + below.take(x + 1, 1) * right
    corners = upper + down[:, None] * (lower - upper)  # (height + 1, width + 1)
    cells = np.diff(np.diff(corners, axis=0), axis=1)
    grey: F32 = np.rint(cells * (cells.size / opened.size)).astype(np.float32)
    return grey * np.float32(1 / 255)


def _scratch(shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """Lend this thread's work area until the next call: fresh memory costs a fault each 4 kB."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    if getattr(_lent, "area", np.empty(0)).size < size:
        _lent.area = np.empty(size, np.uint8)
    area: NDArray[Any] = _lent.area[:size].view(kind).reshape(shape)
    return area


def _edges(size: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where `count` equal parts of `size` pixels begin and end: the pixel, and the share of it."""
    at = np.arange(count + 1) * size
    pixel = np.minimum(at // count, size - 1)
    return pixel, at / count - pixel
