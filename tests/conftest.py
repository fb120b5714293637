"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Log plain lines: the library's default draws every local variable of a traceback."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real ECGs and messages; a test that needs it is marked `shared`."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside this checkout: real ECGs are not available here")
    return SHARED
