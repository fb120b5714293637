"""One running hospital per file of end-to-end tests: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hospital import Hospital
from support.servers import postgres_server

__all__ = ["hospital", "postgres_server"]


@pytest.fixture(scope="module")
def hospital(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    """A gateway and its EHR.

    A file may set `ENVIRONMENT` (process settings), `THRESHOLD` and `DESTINATION`, more keys of
    the EHR in the site's document.
    """
    environment = getattr(request.module, "ENVIRONMENT", {})
    threshold = getattr(request.module, "THRESHOLD", None)
    destination = getattr(request.module, "DESTINATION", "")
    folder = tmp_path_factory.mktemp("hospital")
    with Hospital(folder, environment, threshold, destination) as running:
        yield running
