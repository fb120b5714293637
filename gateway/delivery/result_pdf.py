"""The result as a PDF for people: what the message says, with the ECG and the network's maps.

It follows from the ECG's row, the site and what was judged, and from nothing else: the same give
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway import words
from gateway.delivery.prepare import ResultSite
from gateway.ecg import Encounter, Patient, Score, State
from gateway.hl7.oru import UNVALIDATED, VALIDATED
from gateway.policy import Mode
from gateway.store.rows import EcgRow
from inference.electrodes import warning
from inference.forms import Tracings, Waveform
from inference.prepare import Prepared
from inference.render.result import Words
from inference.render.result import result_pdf as drawn
from inference.thresholds import written

if TYPE_CHECKING:  # a model runtime
    from inference.runtime.maps import Maps

HAS_PDF = frozenset({State.SCORED, State.REPORTED})
"""States of an ECG with a result PDF; of a quarantined one it would name a patient in doubt."""
TEST = "TEST. Not for clinical decisions."
_RECORDED = "Traces: drawn from the recording."
_READ = "Traces: as software read them from the page that came; that page is what counts."


def result_pdf(ecg: EcgRow, site: ResultSite, prepared: Prepared, maps: Maps) -> bytes:
    """Draw the result PDF of a scored ECG.

    Args:
        ecg: its row, with score, encounter and guard.
        site: the site's values.
        prepared: what was judged.
        maps: where the network looked.

    Raises:
        ValueError: it has no score.
    """
    ecg = site.completed(ecg)
    if ecg.score is None:
        raise ValueError("an ECG without a score has no result PDF")
    source: Waveform | Tracings = prepared.tracings
    tracing = _READ
    if isinstance(prepared.source, Waveform):
        source, tracing = prepared.source, _RECORDED
    said = Words(
        marking=_marking(ecg.score, ecg, site),
        who=" · ".join(part for part in _who(ecg) if part),
        verdict=_verdict(ecg.score),
        tracing=" ".join(filter(None, (tracing, warning(ecg.guard)))),
        facts=tuple(_facts(ecg.score, ecg, site, maps)),
    )
    return drawn(source, prepared.tracings, maps.heats(), said)


def _marking(score: Score, ecg: EcgRow, site: ResultSite) -> str:
    if not score.validated:
        return UNVALIDATED
    trial = ecg.source.test or site.mode_of(ecg.source) in {Mode.OFF, Mode.SHADOW}
    return TEST if trial else VALIDATED


def _who(ecg: EcgRow) -> Iterator[str]:
    yield from _patient(ecg.patient)
    yield from _visit(ecg.encounter or Encounter())
    yield f"recorded {words.local(ecg.acquired_at)}"


def _patient(patient: Patient) -> Iterator[str]:
    given = " ".join(name for name in (patient.given, patient.middle) if name)
    yield ", ".join(name for name in (patient.family, given) if name)
    issuer = patient.id_authority.split("&")[0]
    yield f"id {patient.id or 'none given'}" + (f" ({issuer})" if issuer else "")
    yield f"born {words.day(patient.birth_date)}"
    yield patient.sex


def _visit(encounter: Encounter) -> Iterator[str]:
    if encounter.visit_number:
        yield f"visit {words.components(encounter.visit_number)}"
    yield words.components(encounter.location)


def _verdict(score: Score) -> str:
    side = "at or above" if score.positive else "below"
    category = "positive" if score.positive else "negative"
    return (
        f"Score {written(score.probability, score.threshold)}, {side} the threshold "
        f"{written(score.threshold)}: {category} · "
        f"{score.model} {score.version} · bundle {score.bundle[:12]}"
    )


def _facts(score: Score, ecg: EcgRow, site: ResultSite, maps: Maps) -> Iterator[str]:
    yield (
        f"Scored by {score.model} {score.version} on {score.runtime}. The maps are of the bundle's "
        f"fp32 network, which scores "
        f"{written(maps.probability, score.threshold)}. Bundle SHA-256 {score.bundle}."
    )
    if ecg.guard:
        yield f"Input domain: {words.guard(ecg)}."
    uids = (("Study Instance UID", ecg.study_uid), ("SOP Instance UID", ecg.sop_uid))
    named = [f"{name} {uid}" for name, uid in uids if uid]
    orders = (("placer", words.components(ecg.order.placer)), ("accession", ecg.order.accession))
    named += [f"{name} {number}" for name, number in orders if number]
    if named:
        yield " · ".join(named)
    sender = " (a test sender)" if ecg.source.test else ""
    yield (
        f"ECG {ecg.id} · received {words.local(ecg.received_at)} by {ecg.source.protocol} from "
        f"{words.components(ecg.source.peer)}{sender} · site configuration {site.version}, "
        f"mode {site.mode_of(ecg.source)}"
    )
