"""The error tree of the inference library.

InferenceError
├── Undecodable       the bytes are not a readable ECG file
├── Unscorable        readable, but no ECG that the model may judge; carries a reason code
├── BundleError       a model bundle is missing, damaged, tampered with or incompatible
├── RuntimeMissing    the asked-for runtime is not installed here
└── CohortError       a training or validation table is not usable as it is
"""

from __future__ import annotations

from collections.abc import Mapping

Record = Mapping[str, float | int | str]
"""What the input-domain guard measured of an ECG, each distance with its bound."""


class InferenceError(Exception):
    """Root of every error that this library raises on purpose; no message carries PHI."""


class Undecodable(InferenceError):
    """The bytes are not a readable file of any format we know."""


class Unscorable(InferenceError):
    """A readable file that the model must not judge.

    Attributes:
        reason: a stable code, e.g. `no-grid`, `too-few-leads`, `wrong-speed`, `overlapping`,
            `blank`, `not-an-ecg`, `low-resolution`, `saturated`, `flat-line`, `too-short`,
            `contradictory-leads`, `mixed-gain`, `out-of-domain`.
        detail: one sentence for people: what was found and what is needed.
        guard: what had been measured by then, as `inference.score.Scored.guard` has it of a score.
    """

    def __init__(self, reason: str, detail: str, guard: Record | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.guard = dict(guard or {})


class BundleError(InferenceError):
    """A model bundle that cannot be trusted or used; the message says why."""


class RuntimeMissing(InferenceError):
    """The asked-for runtime is not installed; the message says what to install."""


class CohortError(InferenceError):
    """A cohort table that cannot be used; the message names the row and the column."""
