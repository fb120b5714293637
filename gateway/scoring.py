"""One ECG: claim, compare with ADT, infer, and write score and deliveries in one transaction.

    claimed ──> ADT says another patient ───> quarantined
       ├──> Unscorable, Undecodable ────────> unscorable, told as policy says
       ├──> scored ─────────────────────────> scored, told as policy says
       │     └──> a live alert of a patient that ADT never told of ──> quarantined
       ├──> its original bytes are lost ────> failed, told as policy says
       ├──> the gateway's own trouble ──────> released, not counted
       └──> any other error, also an outcome
            that the database refuses ──────> released; after so many attempts failed and told

Of a quarantined ECG nobody is told: any message would name a patient, and which one is in doubt.

With the outcome its evidence is committed: the panel that was judged, the network's input, and the
result PDF where a destination that is told wants it in its message. Other pictures follow from
them and the original bytes, and are drawn when somebody looks (`gateway.console.pictures`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from gateway import failpoints
from gateway.delivery.prepare import (
    RESULT_PDF,
    ResultSite,
    Verdict,
    alerts_live,
    embeds_pdf,
    prepare,
)
from gateway.ecg import Score, State
from gateway.errors import BlobLost, NotStorable, OutOfResources, StoreUnavailable
from gateway.identity import Visit, find_visit, mismatch
from gateway.store import Blob, EcgRow, NewDelivery, Outcome, Store
from inference.errors import Undecodable, Unscorable
from inference.render import png

UNKNOWN = "patient-unknown"
"""Why an ECG is quarantined that would be a live alert on a patient that ADT never told of."""
NAME_NOT_COMPARED = "by identifier, birth date and sex: the names share no script"
"""What the timeline says where header and ADT name the patient in different scripts."""

Images = Mapping[str, NDArray[np.uint8]]

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
    evidence: Images
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
        draw: makes the result PDF of an ECG's row as it will be, and what was scored.
    """

    results: ResultSite
    threshold: float | None = None
    validated: bool = False
    draw: Callable[[EcgRow, Any], bytes] = lambda _ecg, _scored: b""


@dataclass(frozen=True, slots=True)
class _Job:
    """One claimed ECG, what brings it to an outcome, and the bytes to be committed with that."""

    ecg: EcgRow
    store: Store
    scorer: Scorer
    site: Terms
    now: Callable[[], datetime]
    staged: list[Blob] = field(default_factory=list)

    def keep(self, data: bytes) -> str:
        """Name bytes that belong to the outcome; the disk reserve is there for them."""
        blob = self.store.blobs.stage(data, into_reserve=True)
        self.staged.append(blob)
        return blob.digest


@dataclass(frozen=True, slots=True)
class _Result:
    outcome: Outcome
    deliveries: Sequence[NewDelivery] = ()


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
        result = _finish(job, owner, _attempt(job, max_attempts), max_attempts)
    except (StoreUnavailable, OutOfResources) as error:
        store.ecgs.release(ecg.id, owner, type(error).__name__, counted=False)
        raise
    except Exception as error:
        store.ecgs.release(ecg.id, owner, type(error).__name__)
        return
    if result is None:
        _log.warning("lease lost", ecg=ecg.id)
        return
    failpoints.hit("worker.after_commit")
    if result.deliveries:
        wake_couriers()
    if result.outcome.reason == UNKNOWN and _visit(job).known:  # ADT told while we scored
        store.ecgs.compare_again({ecg.patient.id})
    _log.info("scored", ecg=ecg.id, state=result.outcome.state, reason=result.outcome.reason)


def _finish(job: _Job, owner: str, result: _Result, max_attempts: int) -> _Result | None:
    """Commit the outcome, or where no attempt is left one that the database does take.

    Returns:
        What was committed; None, and nothing was, when the lease is no longer ours.

    Raises:
        StoreUnavailable: nothing can be written now.
        NotStorable: the database refuses the outcome, and an attempt is left.
    """
    reason = NotStorable.__name__
    try:
        return _committed(job, owner, result)
    except NotStorable:
        _log.exception("outcome refused", ecg=job.ecg.id, attempt=job.ecg.attempts)
        if job.ecg.attempts < max_attempts:
            raise
    try:
        return _committed(job, owner, _failed(job, reason))
    except NotStorable:
        _log.exception("failure not told", ecg=job.ecg.id)
        return _committed(job, owner, _Result(Outcome(State.FAILED, reason)))


def _committed(job: _Job, owner: str, result: _Result) -> _Result | None:
    store = job.store
    with store.together():
        for blob in job.staged:
            store.blobs.add(blob)
        ours = store.ecgs.finish(job.ecg.id, owner, result.outcome, result.deliveries)
    return result if ours else None


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
        _log.exception("scoring failed", ecg=job.ecg.id, attempt=job.ecg.attempts)
        if job.ecg.attempts < max_attempts:
            raise
        return _failed(job, type(error).__name__)
    return result


def _work(job: _Job) -> _Result:
    visit = _visit(job)
    if visit.disagreement:
        return _quarantined(visit)
    content = job.store.blobs.get(job.ecg.digest)
    state, verdict, scored, guard = _judge(content, job.ecg, job.scorer, job.site)
    evidence = scored.evidence if scored else {}
    outcome = Outcome(
        state,
        verdict.reason,
        score=verdict.score,
        images={name: job.keep(png(pixels)) for name, pixels in evidence.items()},
        guard=guard,
        encounter=visit.encounter,
        compared=_compared(visit),
    )
    if _in_doubt(job, verdict, visit):
        return _Result(replace(outcome, state=State.QUARANTINED, reason=UNKNOWN))
    pdf = _pdf(job, verdict, visit, scored) if scored else b""
    if pdf:
        outcome = replace(outcome, images={**outcome.images, RESULT_PDF: job.keep(pdf)})
    return _Result(outcome, _told(job, verdict, visit, pdf))


def _pdf(job: _Job, verdict: Verdict, visit: Visit, scored: Scored) -> bytes:
    """Make the result PDF if somebody wants it; a result does not fall for want of its picture."""
    if not embeds_pdf(job.ecg, verdict, job.site.results, job.now()):
        return b""
    encounter = visit.encounter or job.ecg.encounter
    named = _named(job.ecg, visit)
    ecg = replace(named, score=verdict.score, encounter=encounter, guard=scored.guard)
    try:
        return job.site.draw(ecg, scored)
    except Exception:
        _log.exception("pdf.not_made", ecg=job.ecg.id)
        return b""


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
        outcome = replace(outcome, compared=_compared(visit))
        return _Result(outcome, _told(job, verdict, visit))
    except (StoreUnavailable, OutOfResources):
        raise
    except Exception:
        _log.exception("failure not told", ecg=job.ecg.id)
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
    reason = mismatch(visit.disagreement)
    return _Result(Outcome(State.QUARANTINED, reason, compared=_compared(visit)))


def _compared(visit: Visit) -> str:
    return NAME_NOT_COMPARED if visit.unlike_scripts else ""


def _told(job: _Job, verdict: Verdict, visit: Visit, pdf: bytes = b"") -> list[NewDelivery]:
    ecg, site = _named(job.ecg, visit), job.site.results
    return prepare(ecg, verdict, visit.encounter, site, keep=job.keep, now=job.now(), pdf=pdf)


def _named(ecg: EcgRow, visit: Visit) -> EcgRow:
    """Give an ECG whose patient has the identifier that holds, should ADT have merged theirs."""
    return replace(ecg, patient=visit.merged or ecg.patient)


def _judge(
    content: bytes, ecg: EcgRow, scorer: Scorer, site: Terms
) -> tuple[State, Verdict, Scored | None, dict[str, Any]]:
    try:
        scored: Scored = scorer.score(content, ecg.media_type.value)
    except Unscorable as error:
        verdict = Verdict(None, error.reason, site.validated, electrodes=_electrodes(error.guard))
        return State.UNSCORABLE, verdict, None, error.guard
    except Undecodable:
        return State.UNSCORABLE, Verdict(None, "undecodable", site.validated), None, {}
    score = _score(scored, site.threshold)
    verdict = Verdict(score, "", score.validated, electrodes=_electrodes(scored.guard))
    return State.SCORED, verdict, scored, scored.guard


def _electrodes(guard: Mapping[str, Any]) -> str:
    return str(guard.get("electrodes", ""))


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
