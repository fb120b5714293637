"""What became of each ECG that the cart played, read from the gateway's own store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gateway.demo.samples import Sample
from gateway.ecg import DeliveryState, State
from gateway.store import DeliveryRow, EcgRow, Store

_HELD = {State.QUARANTINED, State.FAILED, State.DISMISSED}
_OPEN = {DeliveryState.PENDING, DeliveryState.SENT}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the demo.

    Attributes:
        sample: what was played. begun_at: when its sending began, aware.
        answer: how the gateway answered; accepted: and whether it took it.
        ecg: its row; None when it was not taken.
        deliveries: what was told of it.
    """

    sample: Sample
    begun_at: datetime
    accepted: bool
    answer: str
    ecg: EcgRow | None = None
    deliveries: tuple[DeliveryRow, ...] = ()

    @property
    def scored(self) -> bool:
        """It has a score."""
        return self.ecg is not None and self.ecg.score is not None

    @property
    def acknowledged(self) -> bool:
        """The EHR was told of it and acknowledged everything."""
        states = {row.state for row in self.deliveries}
        return states == {DeliveryState.ACKNOWLEDGED}

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it by itself."""
        if self.ecg is None:
            return not self.accepted
        if self.ecg.state in {State.RECEIVED, State.SCORING}:
            return False
        return not any(row.state in _OPEN for row in self.deliveries)

    @property
    def held(self) -> bool:
        """It waits for a person, visible in the console: nobody is to be told of it."""
        if self.ecg is None:
            return False
        return self.ecg.state in _HELD or (
            self.ecg.state is State.UNSCORABLE and not self.deliveries
        )

    @property
    def alert(self) -> bool:
        """Somebody was alerted."""
        return any(row.alert for row in self.deliveries)

    @property
    def category(self) -> str:
        """`positive`, `negative`, or the state with its reason."""
        if self.ecg is None:
            return f"not taken: {self.answer}"
        if self.ecg.score is not None:
            return "positive" if self.ecg.score.positive else "negative"
        reason = self.ecg.reason.split(":")[0]
        return f"{self.ecg.state.value}: {reason}" if reason else self.ecg.state.value

    @property
    def milliseconds(self) -> float | None:
        """From the begin of sending to the EHR's acknowledgement, committed."""
        times = [row.acknowledged_at for row in self.deliveries if row.acknowledged_at]
        if not times or not self.acknowledged:
            return None
        return (max(times) - self.begun_at).total_seconds() * 1000


def refreshed(outcomes: Iterable[Outcome], store: Store) -> list[Outcome]:
    """Read again what is not ended."""
    now = list(outcomes)
    waiting = {one.sample.identity for one in now if one.accepted and not one.ended}
    rows = {
        row.identity: row
        for row in store.ecgs.recent(max(len(now) * 2, 100))
        if row.identity in waiting
    }
    return [_with_row(one, rows.get(one.sample.identity), store) for one in now]


def _with_row(one: Outcome, row: EcgRow | None, store: Store) -> Outcome:
    if row is None:
        return one
    told = tuple(store.deliveries.of_ecg(row.id))
    return Outcome(one.sample, one.begun_at, one.accepted, one.answer, row, told)
