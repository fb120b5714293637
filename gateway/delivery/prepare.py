"""One ECG's result to the deliveries that carry it: policy decides, ORU says, the blob keeps.

The worker commits what this gives in the same transaction as the score. Doing it twice (a worker
died before its commit) names the same MSH-10 and OBR-3 again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

import structlog

from gateway.clock import moment
from gateway.delivery.destination import Destination
from gateway.ecg import Encounter, Patient, Score, Source
from gateway.hl7 import oru
from gateway.policy import Finding, Mode, Policy, Target, Tell, decide, least
from gateway.store.rows import EcgRow, NewDelivery

RESULT_PDF = "result"
"""The name under which the result PDF is kept among an ECG's images."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResultSite:
    """The site's values that results need.

    Attributes:
        version: version of the site configuration.
        mode: how far the active bundle's results go.
        sender: MSH-3 and MSH-4.
        destinations: whom results may go to.
        deadline_s: age in seconds at which a positive score is no longer an alert.
        unscorable_results: whether destinations are told of ECGs that could not be scored.
        require_admission: whether ADT must have told of a patient before a live alert names him.
        authority: PID-3.4 of identifiers whose source names no issuer.
        zone: of acquisition times that came without one; None means this machine's.
        limit: how far results of a source's ECGs go at most.
        console_url: where receivers of results reach the console; empty when they do not.
    """

    version: int
    mode: Mode
    sender: oru.Sender
    destinations: tuple[Destination, ...]
    deadline_s: float
    unscorable_results: bool = True
    require_admission: bool = True
    authority: str = ""
    zone: tzinfo | None = None
    limit: Callable[[Source], Mode] = lambda _source: Mode.LIVE
    console_url: str = ""

    def completed(self, ecg: EcgRow) -> EcgRow:
        """Give an ECG with what its source left to the site: issuer and time zone."""
        patient, taken = ecg.patient, ecg.acquired_at
        if patient.id and not patient.id_authority:
            patient = replace(patient, id_authority=self.authority)
        if self.zone and taken and taken.tzinfo is None:
            taken = moment(taken, ecg.received_at, self.zone).astimezone(self.zone)
        return replace(ecg, patient=patient, acquired_at=taken)

    def mode_of(self, source: Source) -> Mode:
        """Give how far results of a source's ECGs go: as the site's mode, or less."""
        return least(self.mode, self.limit(source))

    def policy(self, source: Source) -> Policy:
        """Give the part of it that decides on a source's ECGs."""
        targets = tuple(Target(item.name, item.test) for item in self.destinations)
        mode = self.mode_of(source)
        return Policy(self.version, mode, targets, self.deadline_s, self.unscorable_results)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of scoring.

    Attributes:
        score: None when the ECG could not be scored.
        reason: why not; a stable code and perhaps a sentence, without PHI.
        validated: the active bundle's card says that it is validated at this site.
        failed: there is no score because the gateway failed, not because the ECG is unscorable.
        electrodes: those that seem interchanged, as the guard's record has them.
    """

    score: Score | None
    reason: str = ""
    validated: bool = False
    failed: bool = False
    electrodes: str = ""


def patient_key(patient: Patient) -> str:
    """Give the hash that keeps a patient's deliveries in order; empty without an identifier."""
    if not patient.id:
        return ""
    seed = f"{patient.id_authority}\0{patient.id}".encode()
    return hashlib.sha256(seed).hexdigest()


def prepare(
    ecg: EcgRow,
    verdict: Verdict,
    encounter: Encounter | None,
    site: ResultSite,
    *,
    keep: Callable[[bytes], str],
    now: datetime,
    pdf: bytes = b"",
) -> list[NewDelivery]:
    """Build one ECG's messages and keep them.

    Args:
        ecg: the ECG.
        verdict: what came of scoring.
        encounter: the visit that ADT knew of at ECG time; None leaves the source's own.
        site: the site's values.
        keep: makes bytes durable and names them (`store.blobs.put`).
        now: the present, UTC-aware.
        pdf: the result PDF; empty when there is none.

    Returns:
        One delivery per destination that policy wants told; to be committed with the outcome.
    """
    ecg = site.completed(ecg)
    prepared = []
    for tell, there in _told(ecg, verdict, site, now):
        report = _report(ecg, verdict, encounter, site, there, tell, now)
        report = _with_pdf(report, site, there, pdf)
        prepared.append(
            NewDelivery(
                destination=tell.destination,
                kind=tell.kind.value,
                control_id=report.control_id,
                filler=report.filler,
                payload=keep(oru.build(report)),
                alert=tell.alert,
                patient_key=patient_key(ecg.patient),
                expires_at=tell.expires_at,
            )
        )
    return prepared


def alerts_live(ecg: EcgRow, verdict: Verdict, site: ResultSite, now: datetime) -> bool:
    """Tell whether policy makes a live alert of it: one that may name no patient in doubt."""
    told = _told(site.completed(ecg), verdict, site, now)
    return any(tell.live and tell.alert for tell, _ in told)


def embeds_pdf(ecg: EcgRow, verdict: Verdict, site: ResultSite, now: datetime) -> bool:
    """Tell whether anybody who is told of it wants the result PDF in the message."""
    told = _told(site.completed(ecg), verdict, site, now)
    return verdict.score is not None and any(there.pdf == "embed" for _, there in told)


def prepare_late(
    ecg: EcgRow,
    destination: str,
    site: ResultSite,
    *,
    keep: Callable[[bytes], str],
    now: datetime,
    pdf: bytes = b"",
) -> NewDelivery | None:
    """Build what one destination is told instead of an alert that must not go any more.

    Args:
        ecg: a scored ECG.
        destination: its name.
        site: the site's values, as they are now.
        keep: makes bytes durable and names them.
        now: the present, UTC-aware.
        pdf: the result PDF; empty when there is none.

    Returns:
        The plain result, marked late if it is; also where the site, whose deadline is a longer one
        by now, would still call it an alert. None when it tells that destination nothing.
    """
    there = tuple(item for item in site.destinations if item.name == destination)
    verdict = Verdict(
        ecg.score,
        ecg.reason,
        validated=bool(ecg.score and ecg.score.validated),
        electrodes=ecg.guard.get("electrodes", ""),
    )
    site = replace(site, destinations=there)
    if any(tell.alert for tell, _ in _told(site.completed(ecg), verdict, site, now)):
        site = replace(site, deadline_s=0.0)
    told = prepare(ecg, verdict, ecg.encounter, site, keep=keep, now=now, pdf=pdf)
    return next((delivery for delivery in told if not delivery.alert), None)


def _told(
    ecg: EcgRow, verdict: Verdict, site: ResultSite, now: datetime
) -> list[tuple[Tell, Destination]]:
    """Give whom policy tells what."""
    by_name = {item.name: item for item in site.destinations}
    tells = decide(_finding(ecg, verdict), site.policy(ecg.source), now)
    return [(tell, by_name[tell.destination]) for tell in tells]


def _with_pdf(report: oru.Report, site: ResultSite, there: Destination, pdf: bytes) -> oru.Report:
    """Give a report with the result PDF, with a link to it, or with neither."""
    if report.score is None or there.pdf == "none":
        return report
    size_kb = math.ceil(len(pdf) / 1024)
    if there.pdf == "embed" and 0 < size_kb <= there.pdf_max_kb:
        return replace(report, pdf=pdf)
    if there.pdf == "embed":
        _log.warning(
            "pdf.not_embedded",
            ecg=report.filler,
            destination=there.name,
            size_kb=size_kb,
            most_kb=there.pdf_max_kb,
            linked=bool(site.console_url),
        )
    if not site.console_url:
        return report
    return replace(report, pdf_url=f"{site.console_url}/ecgs/{report.filler}/result.pdf")


def _finding(ecg: EcgRow, verdict: Verdict) -> Finding:
    return Finding(
        positive=verdict.score.positive if verdict.score else None,
        validated=verdict.validated,
        test_source=ecg.source.test,
        acquired_at=ecg.acquired_at,
        received_at=ecg.received_at,
        failed=verdict.failed,
    )


def _report(
    ecg: EcgRow,
    verdict: Verdict,
    encounter: Encounter | None,
    site: ResultSite,
    destination: Destination,
    tell: Tell,
    now: datetime,
) -> oru.Report:
    receiver = oru.Receiver(
        destination.receiving_application,
        destination.receiving_facility,
        destination.hl7_version,
    )
    return oru.Report(
        control_id=oru.control_id(ecg.id, tell.destination, tell.kind.value),
        filler=ecg.id,
        sender=site.sender,
        receiver=receiver,
        made_at=now,
        live=tell.live,
        notice="alert" if tell.alert else "late" if tell.late else "file",
        patient=ecg.patient,
        encounter=encounter or ecg.encounter,
        order=ecg.order,
        acquired_at=ecg.acquired_at,
        score=verdict.score,
        reason=verdict.reason,
        electrodes=verdict.electrodes,
        policy_version=site.version,
        study_uid=ecg.study_uid,
        sop_uid=ecg.sop_uid,
    )
