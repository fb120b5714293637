"""One ECG file to one score, with everything that a clinician or an auditor may ask for.

bytes ── decode ─┬─ Waveform ── cut ───────────────┬─ Tracings ── draw ── preprocess ── runtime
                 └─ Picture ── find_panel, follow ─┘
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference import electrodes, golden, guard
from inference.bundle import Bundle, open_bundle
from inference.decode import decode, decode_file
from inference.errors import BundleError, InferenceError, Record, Unscorable
from inference.forms import F32, F64, U8, Picture, Tracings, Waveform
from inference.prepare import Clock, Prepared, evidence, look, pictures
from inference.preprocess import preprocess
from inference.runtime import BOUNDS, Runtime, candidates, load, probability

_log = logging.getLogger(__name__)
NOT_MEASURED = "not measured"
"""The guard's record says so where an ECG was refused before, or the bundle cannot measure it."""


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
        guard: `source`; of a page all of `inference.forms.Read`; `leads` with `min_leads`,
            `distance` with its `bound`, and `embedding` with its `embedding_bound`; `embedding` is
            `not measured` where the bundle states none; `electrodes` names those that seem
            interchanged, else it is empty.
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
    guard: Record
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def evidence(self) -> dict[str, U8]:
        """Give what was judged, `panel` and `input`: all that must be kept beside the file."""
        return evidence(self.prepared)

    @property
    def images(self) -> dict[str, U8]:
        """Draw the images for viewing, anew at each call: they cost more than the score.

        `page` (what a clinician sees), `panel`, the four steps `binary`, `denoised`, `components`,
        `opened`, and `input`; (rows, cols) or (rows, cols, 3) uint8.
        """
        return pictures(self.prepared)


class Scorer:
    """A bundle on a runtime, loaded once per process."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self.bundle, self.runtime = bundle, runtime
        self._embedding = bundle.embedding()

    @classmethod
    def load(
        cls, bundle_dir: Path, runtime: str = "auto", threads: int = 0, trusted: bytes | None = None
    ) -> Scorer:
        """Verify a bundle, load it and let it score its golden ECGs.

        Args:
            bundle_dir: the bundle.
            runtime: one of `inference.runtime.RUNTIMES`, or `auto`: the first of its candidates
                that gives the golden scores here; a warning is logged of each that does not.
            threads: inference threads; 0 = all cores.
            trusted: a raw Ed25519 public key that must have signed the bundle.

        Raises:
            BundleError, RuntimeMissing: it cannot be trusted or run here.
        """
        bundle = open_bundle(bundle_dir, trusted=trusted)
        *first, last = candidates(bundle) if runtime == "auto" else [runtime]
        for name in first:
            try:
                return cls._tested(bundle, name, threads)
            except InferenceError as error:  # parity was measured on another processor
                _log.warning("%s is not used here: %s", name, error)
        return cls._tested(bundle, last, threads)

    @classmethod
    def _tested(cls, bundle: Bundle, runtime: str, threads: int) -> Scorer:
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
        return self._judge(source, clock)

    def score_file(self, path: Path) -> Scored:
        """Score a file on disk; a WFDB record by the name of its header, `NAME.hea`.

        Raises:
            Undecodable, Unscorable: there is no ECG in it that the model may judge.
            OSError: it cannot be read.
        """
        clock = Clock()
        with clock.stage("decode"):
            source = decode_file(path)
        return self._judge(source, clock)

    def _judge(self, source: Waveform | Picture, clock: Clock) -> Scored:
        form = {"source": "waveform" if isinstance(source, Waveform) else "page"}
        with guard.recorded(form):
            prepared = self.prepare(source, clock)
            logit, record = self.judge(prepared.tracings, prepared.steps.input, clock)
        return self._scored(logit, prepared, {**form, **record}, clock.timings_ms)

    def prepare(self, source: Waveform | Picture, clock: Clock | None = None) -> Prepared:
        """Bring a decoded ECG into the one look and through the four steps.

        Raises:
            Unscorable: no panel, too few leads, wrong speed and the like.
        """
        clock = clock or Clock()
        tracings, drawn = look(source, clock)
        guard.check_leads(tracings, self.bundle.card.get("guard", {}))
        with clock.stage("preprocess"):
            steps = preprocess(drawn, self.bundle.recipe)
        return Prepared(source, tracings, drawn, steps)

    def judge(
        self, tracings: Tracings, pixels: F32, clock: Clock | None = None
    ) -> tuple[float, Record]:
        """Give the logit of a prepared ECG that the guard lets pass, and the guard's record.

        Args:
            tracings: what the input was drawn of.
            pixels: (H, W) input.
            clock: takes the time of the inference.

        Raises:
            Unscorable: `too-few-leads`, `out-of-domain`.
        """
        table = self.bundle.card.get("guard", {})
        record: dict[str, float | int | str] = {
            **guard.reading(tracings),
            "embedding": NOT_MEASURED,
            "electrodes": electrodes.noted(tracings),
        }
        with guard.recorded(record):
            record |= guard.check_leads(tracings, table)
            record |= guard.check(pixels, table) if table else {}
            with (clock or Clock()).stage("infer"):
                logit, embedded = self.infer(pixels)
        return logit, {**record, **embedded}

    def infer(self, pixels: F32) -> tuple[float, Record]:
        """Give the logit of one (H, W) input, and how far its features are from the training's.

        Raises:
            Unscorable: `out-of-domain`.
        """
        if self._embedding is None:
            return self._number(self.runtime.logits(pixels[None, None])), {}
        given, table = self.runtime.outputs(pixels[None, None]), self.bundle.card["guard"]
        record = guard.check_features(given.features, self._embedding, table)
        with guard.recorded(record):
            return self._number(given.logits), record

    def _number(self, logits: F64) -> float:
        """Give the logit of one ECG; NaN would compare as negative with every threshold."""
        logit = float(logits[0])
        if not math.isfinite(logit):
            raise Unscorable(
                "out-of-domain",
                f"the network gave no finite number ({logit}) on {self.runtime.name}: there is "
                "neither a positive nor a negative",
            )
        return logit

    def _scored(
        self,
        logit: float,
        prepared: Prepared,
        record: Record,
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
            guard=record,
            timings_ms=timings_ms,
        )


def golden_inputs(bundle: Bundle, scorer: Scorer) -> Any:
    """Give the golden ECGs as network inputs, (n, 1, H, W)."""
    waveforms, _ = bundle.golden()
    inputs = [scorer.prepare(Waveform(each, golden.RATE_HZ)).steps.input for each in waveforms]
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
