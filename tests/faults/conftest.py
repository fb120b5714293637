"""A gateway and its EHR for the tests that try to break promise 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gateway import RunningGateway

from gateway.demo.ehr import Ehr


@pytest.fixture
def ehr(tmp_path: Path) -> Iterator[Ehr]:
    """A well-behaved EHR on a free port."""
    with Ehr(tmp_path / "ehr") as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, ehr: Ehr) -> Iterator[Callable[..., RunningGateway]]:
    """Start a gateway that reports to that EHR; it is stopped whatever happens."""
    started: list[RunningGateway] = []

    def run(env: dict[str, str] | None = None) -> RunningGateway:
        gateway = RunningGateway(tmp_path, ehr.port)
        started.append(gateway)
        gateway.start(env)
        return gateway

    yield run
    for gateway in started:
        gateway.kill_all()
