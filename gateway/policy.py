"""Score, context and site policy in; whom to tell what, out. Pure: no clock, no store, no socket.

The rules, in the order in which they apply:

1. Mode `off` tells nobody, and what waits to be told when a site switches to it is held.
2. A result is *live* only when the bundle is validated at this site, the mode is `canary` or
   `live` and the source was not a test sender. Everything else reaches destinations marked `test`
   alone, under MSH-11 `T`.
3. A positive score is an *alert* while its ECG is younger than the deadline; older ones are filed
   as plain results (promise 5). In mode `canary` live destinations get plain results only.
4. An ECG that could not be scored, by its own fault or by ours, has its own kind of result and is
   never an alert and never negative (promise 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from gateway.clock import moment


class Mode(StrEnum):
    """How far results go, from nowhere to everywhere."""

    OFF = "off"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"


class Kind(StrEnum):
    """What a destination is told."""

    RESULT = "result"
    ALERT = "alert"
    UNSCORABLE = "unscorable"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Target:
    """A destination as far as policy cares: its name, and whether it is a test system."""

    name: str
    test: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """The site's values that decide.

    Attributes:
        version: version of the site configuration these values come from.
        mode: how far the active bundle's results go for the ECG's source.
        targets: the configured destinations.
        deadline_s: age in seconds at which a positive score is no longer an alert.
        unscorable_results: whether destinations are told of ECGs that could not be scored.
    """

    version: int
    mode: Mode
    targets: tuple[Target, ...]
    deadline_s: float
    unscorable_results: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What policy must know of one ECG.

    Attributes:
        positive: the score reached the threshold; None when the ECG could not be scored.
        validated: the bundle's card says that it is validated at this site.
        test_source: the sender marked it as not live (HL7 MSH-11 `T` or `D`).
        acquired_at: acquisition time; naive means this machine's own zone, None means unknown.
        received_at: when it arrived, UTC-aware.
        failed: there is no score because the gateway failed, not because the ECG is unscorable.
    """

    positive: bool | None
    validated: bool
    test_source: bool
    acquired_at: datetime | None
    received_at: datetime
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell one destination one thing.

    Attributes:
        destination: its name.
        kind: what it is told.
        live: MSH-11 is `P` when true, else `T`.
        late: the score is positive, but its ECG is older than the deadline.
        expires_at: when an alert turns stale, UTC-aware; None for what never expires.
    """

    destination: str
    kind: Kind
    live: bool
    late: bool = False
    expires_at: datetime | None = None

    @property
    def alert(self) -> bool:
        """Whether someone must look now."""
        return self.kind is Kind.ALERT


def stale_at(finding: Finding, deadline_s: float) -> datetime:
    """Give the moment, UTC-aware, at which this ECG is too old to alert on.

    The age counts from acquisition, but never from a moment after arrival: a cart whose clock runs
    ahead must not lengthen its own deadline. Without an acquisition time it counts from arrival.
    """
    received = finding.received_at.astimezone(UTC)
    taken = moment(finding.acquired_at or received, received)
    return min(taken, received) + timedelta(seconds=deadline_s)


def decide(finding: Finding, policy: Policy, now: datetime) -> list[Tell]:
    """Decide whom to tell what of one ECG.

    Args:
        finding: the ECG's score and context.
        policy: the site's values.
        now: the present, UTC-aware.

    Returns:
        One `Tell` per destination that is told, in the site's order.
    """
    if finding.positive is None and not policy.unscorable_results:
        return []
    genuine = finding.validated and not finding.test_source
    return [
        _tell(target, finding, policy, now)
        for target in policy.targets
        if (genuine or target.test) and reaches(policy.mode, test=target.test)
    ]


def least(*modes: Mode) -> Mode:
    """Give the mode in which results go least far."""
    return min(modes, key=list(Mode).index)


def reaches(mode: Mode, *, test: bool) -> bool:
    """Tell whether results go to a live or a test destination at all in this mode."""
    return mode is not Mode.OFF and (test or mode is not Mode.SHADOW)


def interrupts(mode: Mode, *, test: bool) -> bool:
    """Tell whether alerts go there as alerts, and not as plain results."""
    return reaches(mode, test=test) and (test or mode is not Mode.CANARY)


def _tell(target: Target, finding: Finding, policy: Policy, now: datetime) -> Tell:
    live = not target.test
    if finding.positive is None:
        return Tell(target.name, Kind.UNSCORED if finding.failed else Kind.UNSCORABLE, live)
    if not finding.positive:
        return Tell(target.name, Kind.RESULT, live)
    deadline = stale_at(finding, policy.deadline_s)
    if now >= deadline:
        return Tell(target.name, Kind.RESULT, live, late=True)
    if not interrupts(policy.mode, test=target.test):
        return Tell(target.name, Kind.RESULT, live)
    return Tell(target.name, Kind.ALERT, live, expires_at=deadline)
