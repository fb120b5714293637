"""The one look: bare traces on white, the same for every source.

250 mm x 125 mm, four rows of 31.25 mm (I aVR V1 V4 / II aVL V2 V5 / III aVF V3 V6 / rhythm II),
25 mm/s, 10 mm/mV, a round pen, nothing else.
"""

from __future__ import annotations

import numpy as np

from inference.forms import F64, U8, Tracings
from inference.render.ink import Pen, centred, coverage

WIDTH_MM = 250.0
HEIGHT_MM = 125.0
ROW_MM = 31.25
COLUMN_MM = 62.5
SPEED_MM_PER_S = 25.0
GAIN_MM_PER_MV = 10.0
STROKE_MM = 0.5
PX_PER_MM = 4


def panel(
    tracings: Tracings,
    *,
    stroke_mm: float = STROKE_MM,
    px_per_mm: int = PX_PER_MM,
    gain: float = 1.0,
) -> U8:
    """Draw tracings in the one look.

    Each trace is centred on its row's middle by the median over its own window, because a page
    that was digitised has no absolute baseline. Traces may cross into neighbour rows and are
    clipped at the panel's edges; the pen is up where a trace is NaN.

    Args:
        tracings: leads and rhythm strip in mV.
        stroke_mm: pen width in mm.
        px_per_mm: resolution; 4 gives (500, 1000).
        gain: factor on 10 mm/mV.

    Returns:
        (125 * px_per_mm, 250 * px_per_mm) uint8, 0 = ink, 255 = paper.
    """
    pen = Pen(stroke_mm, px_per_mm, SPEED_MM_PER_S)
    scale = GAIN_MM_PER_MV * gain * px_per_mm  # px per mV
    middle = (np.arange(4) + 0.5) * ROW_MM * px_per_mm  # (4,) px
    columns = round(COLUMN_MM * px_per_mm) * pen.fine
    leads = np.tile(middle[:3], 4)[:, None] - scale * centred(tracings.leads_mv)  # (12, samples) px
    strip = middle[3] - scale * centred(tracings.rhythm_mv[None])  # (1, 4 samples) px
    lead_ends = pen.mark(leads, tracings.rate_hz, columns)
    strip_ends = pen.mark(strip, tracings.rate_hz, 4 * columns)
    top, bottom = (
        np.concatenate([_rows(of_leads), of_strip])
        for of_leads, of_strip in zip(lead_ends, strip_ends, strict=True)
    )
    shape = (round(HEIGHT_MM * px_per_mm), round(WIDTH_MM * px_per_mm))
    return np.subtract(255, coverage(top, bottom, shape, pen.fine)).astype(np.uint8)


def _rows(ends: F64) -> F64:
    """(12, columns), three leads below one another per column of the page, to (3, 4 columns)."""
    columns = ends.shape[1]
    return ends.reshape(4, 3, columns).transpose(1, 0, 2).reshape(3, 4 * columns)
