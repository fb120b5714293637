"""One ECG file to one score, with everything that a clinician or an auditor may ask for.

bytes ── decode ─┬─ Waveform ── cut ───────────────┬─ Tracings ── draw ── preprocess ── runtime
                 └─ Picture ── find_panel, follow ─┘
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference import guard, render
from inference.bundle import Bundle, open_bundle
from inference.decode import decode
from inference.errors import BundleError
from inference.forms import U8, Picture, Tracings, Waveform
from inference.paper import find_panel
from inference.preprocess import Steps, preprocess
from inference.runtime import BOUNDS, Runtime, load, probability
from inference.trace import follow
from inference.tracings import cut

GOLDEN_RATE_HZ = 250.0
_KEPT_PAGE = render.Style(px_per_mm=5)  # sharp on a screen, at two fifths of print's cost


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the model says of one ECG.

    Attributes:
        probability: 0 to 1, after the card's calibration; calibrated only if the card says so.
        logit: the network's raw output.
        threshold: the bundle's decision threshold; positive: probability >= threshold.
        model, version, bundle: name, version and SHA-256 of the bundle.
        runtime: what computed it.
        validated: the card says that the bundle is validated at this site.
        prepared: what the score was made of.
        guard: `distance`, `bound`, `leads` and, for pages, what the digitiser found.
        timings_ms: milliseconds of each stage.
    """

    probability: float
    logit: float
    threshold: float
    positive: bool
    model: str
    version: str
    bundle: str
    runtime: str
    validated: bool
    prepared: Prepared
    guard: dict[str, float | int | str]
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def images(self) -> dict[str, U8]:
        """Draw the images for viewing, anew at each call: they cost more than the score.

        `page` (what a clinician sees), `panel`, the four steps `binary`, `denoised`, `components`,
        `opened`, and `input`; (rows, cols) or (rows, cols, 3) uint8.
        """
        return pictures(self.prepared)


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


class Scorer:
    """A bundle on a runtime, loaded once per process."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self.bundle, self.runtime = bundle, runtime

    @classmethod
    def load(
        cls, bundle_dir: Path, runtime: str = "auto", threads: int = 0, trusted: bytes | None = None
    ) -> Scorer:
        """Verify a bundle, load it and let it score its golden ECGs.

        Args:
            bundle_dir: the bundle.
            runtime: `auto` or one of `inference.runtime.RUNTIMES`.
            threads: inference threads; 0 = all cores.
            trusted: a raw Ed25519 public key that must have signed the bundle.

        Raises:
            BundleError, RuntimeMissing: it cannot be trusted or run here.
        """
        bundle = open_bundle(bundle_dir, trusted=trusted)
        scorer = cls(bundle, load(bundle, runtime, threads))
        self_test(scorer)
        return scorer

    def score(self, data: bytes, media_type: str = "") -> Scored:
        """Score one file.

        Args:
            data: the file's bytes.
            media_type: what the source says they are; the bytes decide.

        Raises:
            Undecodable, Unscorable: there is no ECG in it that the model may judge.
        """
        clock = Clock()
        with clock.stage("decode"):
            source = decode(data, media_type)
        prepared = self.prepare(source, clock)
        numbers = self._guarded(prepared)
        with clock.stage("infer"):
            logit = float(self.runtime.logits(prepared.steps.input[None, None])[0])
        return self._scored(logit, prepared, numbers, clock.timings_ms)

    def prepare(self, source: Waveform | Picture, clock: Clock | None = None) -> Prepared:
        """Bring a decoded ECG into the one look and through the four steps.

        Raises:
            Unscorable: no panel, too few leads, wrong speed and the like.
        """
        clock = clock or Clock()
        if isinstance(source, Waveform):
            with clock.stage("cut"):
                tracings = cut(source)
        else:
            with clock.stage("find"):
                panel = find_panel(source)
            with clock.stage("follow"):
                tracings = follow(panel)
        guard.check_leads(tracings, self.bundle.card.get("guard", {}))
        with clock.stage("render"):
            drawn = render.panel(tracings)
        with clock.stage("preprocess"):
            steps = preprocess(drawn, self.bundle.recipe)
        return Prepared(source, tracings, drawn, steps)

    def _guarded(self, prepared: Prepared) -> dict[str, float | int | str]:
        table = self.bundle.card.get("guard")
        numbers: dict[str, float | int | str] = {
            "source": "waveform" if isinstance(prepared.source, Waveform) else "page",
            "leads": guard.shown_leads(prepared.tracings),
        }
        if table:
            numbers["distance"] = round(guard.check(prepared.steps.input, table), 4)
            numbers["bound"] = float(table["bound"])
        return numbers

    def _scored(
        self,
        logit: float,
        prepared: Prepared,
        numbers: dict[str, float | int | str],
        timings_ms: dict[str, float],
    ) -> Scored:
        bundle = self.bundle
        chance = float(probability(np.array([logit]), bundle)[0])
        return Scored(
            probability=chance,
            logit=logit,
            threshold=bundle.threshold,
            positive=chance >= bundle.threshold,
            model=bundle.name,
            version=bundle.version,
            bundle=bundle.digest,
            runtime=self.runtime.name,
            validated=bundle.validated,
            prepared=prepared,
            guard=numbers,
            timings_ms=timings_ms,
        )


def pictures(prepared: Prepared) -> dict[str, U8]:
    """Give the images for viewing: page, panel, the four steps and the input."""
    steps = prepared.steps
    source = prepared.source
    page = source.pixels if isinstance(source, Picture) else render.page(source, _KEPT_PAGE)
    return {
        "page": page,
        "panel": prepared.panel,
        "binary": steps.binary,
        "denoised": steps.denoised,
        "components": steps.components,
        "opened": steps.opened,
        "input": np.rint(steps.input * 255).astype(np.uint8),
    }


def golden_inputs(bundle: Bundle, scorer: Scorer) -> Any:
    """Give the golden ECGs as network inputs, (n, 1, H, W)."""
    waveforms, _ = bundle.golden()
    inputs = [scorer.prepare(Waveform(each, GOLDEN_RATE_HZ)).steps.input for each in waveforms]
    return np.stack(inputs)[:, None]


def self_test(scorer: Scorer) -> float:
    """Score the bundle's golden ECGs, one at a time; give the largest difference in probability.

    Raises:
        BundleError: the runtime does not reproduce the card's golden scores within its bound.
    """
    bundle = scorer.bundle
    inputs = golden_inputs(bundle, scorer)
    logits = np.concatenate([scorer.runtime.logits(each[None]) for each in inputs])
    name = scorer.runtime.name.removesuffix("-cuda")
    wanted = bundle.golden(name)[1]
    apart = float(np.abs(probability(logits, bundle) - probability(wanted, bundle)).max())
    bound = BOUNDS[name]
    if not apart <= bound:
        raise BundleError(
            f"{bundle.name}: golden scores differ by {apart:.4f} on {name}; "
            f"up to {bound} is allowed"
        )
    return apart
