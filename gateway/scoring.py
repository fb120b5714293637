"""One ECG: claim, compare with ADT, infer, and write score and deliveries in one transaction.

    claimed ──> ADT says another patient ───> quarantined
       ├──> Unscorable, Undecodable ────────> unscorable, told as policy says
       ├──> scored ─────────────────────────> scored, told as policy says
       │     └──> a live alert of a patient that ADT never told of ──> quarantined
       ├──> its original bytes are lost ────> failed, told as policy says
       ├──> the gateway's own trouble ──────> released, not counted
       └──> any other error ────────────────> released; after so many attempts failed and told

Of a quarantined ECG nobody is told: any message would name a patient, and which one is in doubt.

The pictures are kept after the courier was woken: they cost more than the score, and nobody's
alert waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from gateway import failpoints
from gateway.delivery.prepare import ResultSite, Verdict, alerts_live, prepare
from gateway.ecg import Score, State
from gateway.errors import BlobLost, OutOfResources, StoreUnavailable
from gateway.identity import Visit, find_visit
from gateway.store import EcgRow, NewDelivery, Outcome, Store
from inference.errors import Undecodable, Unscorable

# A third of the time of OpenCV's defaults for pages and panels, and files no larger.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)

UNKNOWN = "patient-unknown"
"""Why an ECG is quarantined that would be a live alert on a patient that ADT never told of."""

Images = Mapping[str, NDArray[np.uint8]]
Draw = Callable[[], Images]

_log = structlog.get_logger(__name__)


class Scored(Protocol):
    """What inference says of one ECG; `inference.score.Scored` tells the fields."""

    probability: float
    model: str
    version: str
    bundle: str
    runtime: str
    threshold: float
    validated: bool
    images: dict[str, NDArray[np.uint8]]
    guard: dict[str, Any]
    timings_ms: dict[str, float]


class Scorer(Protocol):
    """The model, loaded once per process."""

    def score(self, content: bytes, media_type: str) -> Any:
        """Score original bytes and give a `Scored`.

        Raises:
            Undecodable: no readable file.
            Unscorable: readable, but not to be judged.
        """


@dataclass(frozen=True, slots=True)
class Terms:
    """What the site says of scoring and telling, as it is when an ECG is claimed.

    Attributes:
        results: what results need.
        threshold: the site's own decision threshold; None takes the bundle's.
        validated: the active bundle's card says that it is validated at this site.
    """

    results: ResultSite
    threshold: float | None = None
    validated: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """One claimed ECG and what is needed to bring it to an outcome."""

    ecg: EcgRow
    store: Store
    scorer: Scorer
    site: Terms
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Result:
    outcome: Outcome
    deliveries: Sequence[NewDelivery] = ()
    draw: Draw = dict


def score_one(
    ecg_id: str,
    *,
    store: Store,
    scorer: Scorer,
    site: Terms,
    owner: str,
    lease_s: float,
    max_attempts: int = 3,
    wake_couriers: Callable[[], None] = lambda: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Score one ECG if nobody else does; every outcome but trouble of the store is a row.

    Args:
        ecg_id: which one; one that is done or held is left alone.
        store: the store.
        scorer: the model.
        site: the site's terms.
        owner: unique name of this worker process.
        lease_s: seconds after which another worker may take over.
        max_attempts: attempts after which an ECG that keeps failing is `failed`.
        wake_couriers: called when there is something to deliver.
        now: the clock, aware UTC.

    Raises:
        StoreUnavailable: claim or outcome could not be written; the ECG is claimable again when
            its lease is over.
    """
    ecg = store.ecgs.claim(ecg_id, owner, lease_s)
    if ecg is None:
        return
    job = _Job(ecg, store, scorer, site, now)
    try:
        result = _attempt(job, max_attempts)
    except (StoreUnavailable, OutOfResources) as error:
        store.ecgs.release(ecg.id, owner, type(error).__name__, counted=False)
        raise
    except Exception as error:
        store.ecgs.release(ecg.id, owner, type(error).__name__)
        return
    if not _finish(ecg.id, owner, result, store):
        _log.warning("lease lost", ecg=ecg.id)
        return
    failpoints.hit("worker.after_commit")
    if result.deliveries:
        wake_couriers()
    if result.outcome.reason == UNKNOWN and _visit(job).known:  # ADT told while we scored
        store.ecgs.compare_again({ecg.patient.id})
    _log.info("scored", ecg=ecg.id, state=result.outcome.state, reason=result.outcome.reason)
    _keep_images(ecg.id, result.draw, store)


def _finish(ecg_id: str, owner: str, result: _Result, store: Store) -> bool:
    """Commit the outcome; an outcome that cannot be written is not the ECG's fault either."""
    try:
        return store.ecgs.finish(ecg_id, owner, result.outcome, result.deliveries)
    except StoreUnavailable as error:
        store.ecgs.release(ecg_id, owner, type(error).__name__, counted=False)
        raise


def _attempt(job: _Job, max_attempts: int) -> _Result:
    """Bring an ECG to its outcome.

    Raises:
        StoreUnavailable, OutOfResources: the gateway's own trouble.
        Exception: something else went wrong, and an attempt is left.
    """
    if job.ecg.attempts > max_attempts:  # the workers that tried died of it
        return _failed(job, "worker-died")
    try:
        result = _work(job)
        failpoints.hit("worker.mid_score")
    except BlobLost:  # for ever: later is no better
        return _failed(job, "original-lost")
    except (StoreUnavailable, OutOfResources):
        raise
    except Exception as error:
        _log.error("scoring failed", ecg=job.ecg.id, attempt=job.ecg.attempts, error=error)
        if job.ecg.attempts < max_attempts:
            raise
        return _failed(job, type(error).__name__)
    return result


def _work(job: _Job) -> _Result:
    visit = _visit(job)
    if visit.disagreement:
        return _quarantined(visit)
    content = job.store.blobs.get(job.ecg.digest)
    state, verdict, draw, guard = _judge(content, job.ecg, job.scorer, job.site)
    outcome = Outcome(
        state, verdict.reason, score=verdict.score, guard=guard, encounter=visit.encounter
    )
    if _in_doubt(job, verdict, visit):
        held = replace(outcome, state=State.QUARANTINED, reason=UNKNOWN)
        return _Result(held, draw=draw)
    return _Result(outcome, _told(job, verdict, visit), draw)


def _failed(job: _Job, reason: str) -> _Result:
    """Give an ECG up and say so, because silence could be taken for a negative.

    What made it fail may also keep its message from being built; then it is held untold.
    """
    outcome = Outcome(State.FAILED, reason)
    verdict = Verdict(None, reason, job.site.validated, failed=True)
    try:
        visit = _visit(job)
        if visit.disagreement:
            return _quarantined(visit)
        return _Result(outcome, _told(job, verdict, visit))
    except (StoreUnavailable, OutOfResources):
        raise
    except Exception as error:
        _log.error("failure not told", ecg=job.ecg.id, error=error)
        return _Result(outcome)


def _visit(job: _Job) -> Visit:
    return find_visit(job.site.results.completed(job.ecg), job.store.encounters)


def _in_doubt(job: _Job, verdict: Verdict, visit: Visit) -> bool:
    """Tell whether a live alert would name a patient on the word of the cart alone (promise 3)."""
    site = job.site.results
    named = bool(job.ecg.patient.id)
    if visit.known or (named and not site.require_admission):
        return False
    return alerts_live(job.ecg, verdict, site, job.now())


def _quarantined(visit: Visit) -> _Result:
    return _Result(Outcome(State.QUARANTINED, f"patient-mismatch-{visit.disagreement}"))


def _told(job: _Job, verdict: Verdict, visit: Visit) -> list[NewDelivery]:
    keep = partial(job.store.blobs.put, into_reserve=True)
    site = job.site.results
    return prepare(job.ecg, verdict, visit.encounter, site, keep=keep, now=job.now())


def _judge(
    content: bytes, ecg: EcgRow, scorer: Scorer, site: Terms
) -> tuple[State, Verdict, Draw, dict[str, Any]]:
    try:
        scored: Scored = scorer.score(content, ecg.media_type.value)
    except Unscorable as error:
        return State.UNSCORABLE, Verdict(None, error.reason, site.validated), dict, {}
    except Undecodable:
        return State.UNSCORABLE, Verdict(None, "undecodable", site.validated), dict, {}
    score = _score(scored, site.threshold)
    verdict = Verdict(score, "", score.validated)
    return State.SCORED, verdict, lambda: scored.images, scored.guard


def _score(scored: Scored, threshold: float | None) -> Score:
    applied = scored.threshold if threshold is None else threshold
    return Score(
        probability=float(scored.probability),
        threshold=float(applied),
        positive=bool(scored.probability >= applied),
        model=scored.model,
        version=scored.version,
        bundle=scored.bundle,
        runtime=scored.runtime,
        validated=scored.validated,
        timings_ms={name: float(value) for name, value in scored.timings_ms.items()},
    )


def _keep_images(ecg_id: str, draw: Draw, store: Store) -> None:
    """Draw the pictures and keep them as PNG; without them the score stands and can be replayed."""
    begun = time.perf_counter()
    try:
        images = draw()
        if not images:
            return
        # Together, because each waits for the disk and the disk syncs many as fast as one.
        with ThreadPoolExecutor(len(images)) as pool:
            kept = pool.map(lambda pixels: store.blobs.put(png(pixels)), images.values())
            store.ecgs.attach(ecg_id, dict(zip(images, kept, strict=True)))
    except Exception as error:
        _log.error("pictures not kept", ecg=ecg_id, error=error)
        return
    _log.debug("pictures kept", ecg=ecg_id, ms=round(1000 * (time.perf_counter() - begun), 1))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Write an image as PNG.

    Args:
        pixels: (rows, cols) grey or (rows, cols, 3) RGB, uint8.

    Raises:
        ValueError: the array is no such image.
    """
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., ::-1])  # OpenCV writes BGR
    done, encoded = cv2.imencode(".png", pixels, _PNG)
    if not done:
        raise ValueError("not an image")
    return bytes(encoded.tobytes())
