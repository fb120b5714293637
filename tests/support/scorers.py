"""A model that says what a test wants it to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

EVIDENCE = {
    "panel": np.arange(20, dtype=np.uint8).reshape(4, 5),
    "input": np.eye(3, dtype=np.uint8),
}


@dataclass
class Scored:
    """What a model says."""

    probability: float = 0.6
    logit: float = 0.4
    threshold: float = 0.5
    positive: bool = True
    model: str = "EIANet"
    version: str = "0"
    bundle: str = "b" * 64
    runtime: str = "openvino-int8"
    validated: bool = False
    evidence: dict[str, Any] = field(default_factory=lambda: dict(EVIDENCE))
    guard: dict[str, Any] = field(default_factory=lambda: {"ink": 0.1})
    timings_ms: dict[str, float] = field(default_factory=lambda: {"decode": 1.0})


class FakeScorer:
    """Says or raises what it was given, and notes what it was asked."""

    def __init__(self, answer: Scored | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, str]] = []

    def score(self, content: bytes, media_type: str) -> Scored:
        self.asked.append((content, media_type))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer
