"""An EHR that is away: nothing is lost, and each patient's results come in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cart import people, recording, send_until_accepted
from support.gateway import RunningGateway, until

from gateway.demo.ehr import Ehr
from gateway.ecg import State

pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.timeout(600),
    # pynetdicom's client leaves its socket open when the listener dies while it connects.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


def test_ehr_down_then_up(tmp_path: Path, start: Callable[..., RunningGateway], ehr: Ehr) -> None:
    """Results made while the EHR is down are all filed once it is back, in order per patient."""
    gateway = start()
    port = ehr.port
    ehr.cut()
    ehr.manners = lambda _result: pytest.fail("the EHR is down")
    ehr._server.shutdown()
    ehr._server.server_close()
    sent = [(person.id, recording(person)) for _ in range(4) for person in people(3)]
    for _, data in sent:
        send_until_accepted(lambda: gateway.ports["dicom"], [data])
    store = gateway.store()
    try:
        until(lambda: store.ecgs.count_by_state()[State.SCORED] == len(sent), "all scored", 240)
        with Ehr(tmp_path / "ehr-back", port=port) as back:
            assert back.filing.wait_for(len(sent), 240)
            until(lambda: store.ecgs.count_by_state()[State.REPORTED] == len(sent), "all reported")
            order = defaultdict(list)
            for result in back.filing.results:
                order[result.patient_id].append(result.filler)
        received = defaultdict(list)
        for row in reversed(store.ecgs.recent(len(sent))):
            received[row.patient.id].extend(
                delivery.filler for delivery in store.deliveries.of_ecg(row.id)
            )
        assert {key: order[key] for key in received} == received
    finally:
        store.close()
