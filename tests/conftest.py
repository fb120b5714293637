"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from gateway.store import Store, open_store

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


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The time of the store; a file or a folder may state another."""
    return lambda: datetime.now(UTC)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The URL of an empty SQLite database, where the gateway's own lies in a data directory."""
    return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"


@pytest.fixture
def store(database_url: str, tmp_path: Path, clock: Callable[[], datetime]) -> Iterator[Store]:
    """An empty store."""
    with closing(open_store(database_url, tmp_path / "blobs", now=clock)) as opened:
        yield opened
