"""Promise 2: a kill -9 anywhere loses nothing and tells nobody twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cart import people, recording, send_until_accepted
from support.gateway import RunningGateway, until

from gateway.demo.ehr import Ehr
from gateway.ecg import State
from gateway.failpoints import NAMES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.timeout(600),
    # pynetdicom's client leaves its socket open when the listener dies while it connects.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


def _all_reported(gateway: RunningGateway, count: int) -> None:
    """Wait until so many ECGs are `reported` and none is in another state."""
    store = gateway.store()
    try:
        until(
            lambda: store.ecgs.count_by_state()[State.REPORTED] == count,
            f"{count} ECGs to be reported",
            240,
        )
        others = {s: n for s, n in store.ecgs.count_by_state().items() if n}
        assert others == {State.REPORTED: count}
    finally:
        store.close()


def _each_once(ehr: Ehr, count: int) -> None:
    """Each filler was filed once; whatever came again came under the same MSH-10."""
    fillers = Counter(result.filler for result in ehr.filing.results)
    assert len(fillers) == count
    assert set(fillers.values()) == {1}


@pytest.mark.parametrize("name", NAMES)
def test_kill_at_each_state_change(
    name: str, start: Callable[..., RunningGateway], ehr: Ehr, tmp_path: Path
) -> None:
    """The process that reaches the named place dies there; every ECG is acknowledged once."""
    marker = tmp_path / "killed"
    gateway = start({"ECG_GATEWAY_FAILPOINT": f"{name}:{marker}"})
    data = [recording(person) for person in people(3)]
    send_until_accepted(lambda: gateway.ports["dicom"], data)
    _all_reported(gateway, len(data))
    assert marker.exists(), f"nothing reached {name}"
    _each_once(ehr, len(data))


@pytest.mark.parametrize("role", ["listen", "work", "deliver", "console"])
def test_kill_a_role_under_load(role: str, start: Callable[..., RunningGateway], ehr: Ehr) -> None:
    """Killing every process of a role while ECGs flow changes no outcome, and the role returns."""
    gateway = start()
    data = [recording(person) for person in people(12)]
    send_until_accepted(lambda: gateway.ports["dicom"], data[:6])
    before = gateway.pids(role)
    gateway.kill(role)
    send_until_accepted(lambda: gateway.ports["dicom"], data[6:])
    _all_reported(gateway, len(data))
    _each_once(ehr, len(data))
    until(lambda: set(gateway.pids(role)) - set(before), f"{role} to be restarted")


def test_broker_killed_and_emptied(start: Callable[..., RunningGateway], ehr: Ehr) -> None:
    """The broker dies, with all it held, while 50 ECGs are in flight: all end acknowledged."""
    gateway = start()
    data = [recording(person) for person in people(50)]
    send_until_accepted(lambda: gateway.ports["dicom"], data)
    assert len(ehr.filing.results) < len(data), "some are in flight"
    gateway.kill("broker")
    _all_reported(gateway, len(data))
    _each_once(ehr, len(data))


def test_supervisor_killed(start: Callable[..., RunningGateway], ehr: Ehr) -> None:
    """Kill -9 of the supervisor takes its children along; a new start ends what was begun."""
    gateway = start()
    data = [recording(person) for person in people(8)]
    send_until_accepted(lambda: gateway.ports["dicom"], data)
    children = [pid for role in ("listen", "work", "deliver") for pid in gateway.pids(role)]
    assert gateway.process is not None
    gateway.process.kill()
    gateway.process.wait(10)
    until(lambda: not any(_alive(pid) for pid in children), "the children to end")
    gateway.start()
    _all_reported(gateway, len(data))
    _each_once(ehr, len(data))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
