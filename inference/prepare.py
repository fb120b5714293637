"""A decoded ECG on its way to the network, and the pictures of that way. Needs no model runtime.

Waveform ── cut ──────────────┐
                              ├─ Tracings ── draw ── panel ── recipe's steps ── input
Picture ── find_panel, follow ┘

Every step is deterministic, so the pictures need not be kept: drawn anew from the same bytes they
are the same, pixel for pixel, and `panel` and `input`, which are kept, prove it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np

from inference import limbs, render
from inference.errors import Unscorable
from inference.forms import F32, U8, Picture, Tracings, Waveform
from inference.paper import find_panel
from inference.preprocess import Recipe, Steps, preprocess
from inference.trace import follow
from inference.tracings import cut

_SCREEN_PX_PER_MM = 5  # sharp on a screen, at two fifths of print's cost


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An ECG on its way to the network: the tracings, the panel drawn of them, the four steps."""

    source: Waveform | Picture
    tracings: Tracings
    panel: U8
    steps: Steps


class Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, also when it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[name] = round(1000 * (time.perf_counter() - began), 3)


def look(source: Waveform | Picture, clock: Clock | None = None) -> tuple[Tracings, U8]:
    """Bring a decoded ECG into the one look: its tracings and the panel drawn of them.

    Raises:
        Unscorable: no panel, too few leads, wrong speed, contradictory leads and the like.
    """
    clock = clock or Clock()
    tracings = tracings_of(source, clock)
    with clock.stage("render"):
        return tracings, render.panel(tracings)


def tracings_of(source: Waveform | Picture, clock: Clock | None = None) -> Tracings:
    """Give what a page of 3 rows x 4 columns shows of a decoded ECG.

    Raises:
        Unscorable: as `look`.
    """
    clock = clock or Clock()
    if isinstance(source, Waveform):
        with clock.stage("cut"):
            tracings = cut(source)
            limbs.check(source)
            return tracings
    with clock.stage("find"):
        panel = find_panel(source)
    with clock.stage("follow"):
        return follow(panel)


def page_of(source: Waveform | Picture, header: Sequence[str] = ()) -> U8:
    """Give what a clinician reads: a picture as it came, or the page drawn of a waveform.

    Args:
        source: the decoded ECG; it need not be one that can be scored.
        header: lines above the traces of a drawn page.
    """
    if isinstance(source, Picture):
        return source.pixels
    return render.page(source, render.Style(header=tuple(header), px_per_mm=_SCREEN_PX_PER_MM))


def steps_of(steps: Steps) -> dict[str, U8]:
    """Give the images of the four steps: `binary`, `denoised`, `components`, `opened`."""
    return {
        "binary": steps.binary,
        "denoised": steps.denoised,
        "components": steps.components,
        "opened": steps.opened,
    }


def as_grey(given: F32) -> U8:
    """Give the network's (H, W) input as an image, 255 = all trace; exact, for it is in 1/255."""
    return np.rint(given * 255).astype(np.uint8)


def evidence(prepared: Prepared) -> dict[str, U8]:
    """Give what was judged: `panel` and `input`."""
    return {"panel": prepared.panel, "input": as_grey(prepared.steps.input)}


def pictures(prepared: Prepared) -> dict[str, U8]:
    """Give every image: `page`, `panel`, the four steps and `input`."""
    judged = evidence(prepared)
    page = {"page": page_of(prepared.source), "panel": judged["panel"]}
    return {**page, **steps_of(prepared.steps), "input": judged["input"]}


def pictures_of_refused(source: Waveform | Picture, recipe: Recipe) -> dict[str, U8]:
    """Give the images of an ECG that has no score, as far as it was understood.

    Returns:
        `page`; of a picture whose traces were found `found`, the page upright and to scale; and,
        where only the guard refused it, all that `pictures` gives.
    """
    shown = {"page": page_of(source)}
    with suppress(Unscorable):
        if isinstance(source, Picture):
            shown["found"] = find_panel(source).page
        tracings, panel = look(source)
        shown |= pictures(Prepared(source, tracings, panel, preprocess(panel, recipe)))
    return shown
