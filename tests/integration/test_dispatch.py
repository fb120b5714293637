"""Wake-ups over a real Redis, and a worker process that loses its broker, its life or its ECG."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from support.arrivals import take
from support.servers import RedisServer, free_port, short_folder, wait_until

from gateway.dispatch.app import QUEUE, make_app
from gateway.dispatch.wake import Wakeups
from gateway.ecg import State
from gateway.store import Store

pytestmark = pytest.mark.peer
WORKER = Path(__file__).parents[1] / "support" / "worker.py"


class Worker:
    """A worker process whose lines can be waited for."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "error::ResourceWarning", str(WORKER), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._hear(line.strip())

    def _hear(self, line: str) -> None:
        self.lines.append(line)

    def has_said(self, word: str) -> bool:
        assert self.process.poll() is None, self.lines
        return any(line.startswith(word) for line in self.lines)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(60)
        self._reader.join(60)
        return status


@pytest.fixture
def start(
    redis_server: RedisServer, database_url: str, tmp_path: Path
) -> Iterator[Callable[..., Worker]]:
    """Start workers on the test's broker and store; what still runs at the end is aborted."""
    started: list[Worker] = []

    def start(name: str = "work-1", url: str | None = None, **environment: str) -> Worker:
        arguments = [url or redis_server.url, database_url, str(tmp_path / "blobs"), name]
        started.append(Worker(arguments, environment))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.end(signal.SIGABRT)  # a failed test then shows where its threads were


@pytest.fixture
def wakeups(redis_server: RedisServer) -> Iterator[Wakeups]:
    made = Wakeups(redis_server.url)
    yield made
    made.close()


def all_scored(store: Store, count: int) -> Callable[[], bool]:
    return lambda: store.ecgs.count_by_state()[State.SCORED] == count


def test_a_message_carries_an_id_and_nothing_else(redis_server: RedisServer, wakeups: Wakeups):
    """What lies in the broker is JSON with the ECG's id as its only argument."""
    wakeups.score("0123abcd")
    wait_until(lambda: wakeups.backlog() == 1, "the wake-up is in the broker")
    with redis.Redis(unix_socket_path=redis_server.url.partition("://")[2]) as client:
        (raw,) = client.lrange(QUEUE, 0, -1)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "ecg.score"
    assert message["headers"]["argsrepr"] == "['0123abcd']"


def test_pickles_are_refused():
    """The application takes and sends JSON, keeps no results and acknowledges late."""
    conf = make_app("redis+socket:///nowhere").conf
    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")
    assert conf.result_backend is None
    assert conf.task_ignore_result
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_enable_remote_control


def test_a_wake_up_is_followed(store: Store, start: Callable[..., Worker], wakeups: Wakeups):
    """A worker that is woken scores; SIGTERM ends it with status 0."""
    worker = start()
    wait_until(lambda: worker.has_said("ready"), "the worker is ready")
    ecg_id = take(store).ecg_id
    wakeups.score(ecg_id)
    wait_until(lambda: worker.has_said(f"scored {ecg_id}"), "the ECG is scored")
    assert worker.end() == 0
    assert worker.lines[-1] == "ended"


def test_the_task_at_hand_is_finished(store: Store, start: Callable[..., Worker], wakeups: Wakeups):
    """SIGTERM in the middle of scoring lets the ECG be scored first."""
    worker = start(SCORE_MS="1500")
    ecg_id = take(store).ecg_id
    wakeups.score(ecg_id)
    wait_until(lambda: worker.has_said("scoring"), "scoring begins")
    assert worker.end() == 0
    assert worker.lines[-2:] == [f"scored {ecg_id}", "ended"]


def test_a_lost_wake_up_is_swept_up(store: Store, start: Callable[..., Worker]):
    """ECGs that nobody was woken for are found."""
    for number in range(5):
        take(store, f"dicom:{number}")
    start()
    wait_until(all_scored(store, 5), "the sweeper finds all five")


def test_the_ecg_of_a_killed_worker_is_taken_up(
    store: Store, start: Callable[..., Worker], wakeups: Wakeups, tmp_path: Path
):
    """Kill -9 in the middle of scoring: the next worker scores it long before the lease ends."""
    marker = tmp_path / "marker"
    first = start(ECG_GATEWAY_FAILPOINT=f"worker.mid_score:{marker}")
    ecg_id = take(store).ecg_id
    wakeups.score(ecg_id)
    assert first.process.wait(60) == -signal.SIGKILL
    assert store.ecgs.get(ecg_id).state is State.SCORING
    start("work-2")
    wait_until(all_scored(store, 1), "another worker takes it up", timeout_s=55)
    assert store.ecgs.get(ecg_id).attempts == 2
    assert "worker died" in {event.detail for event in store.ecgs.events(ecg_id)}


def test_a_hung_worker_ends_and_its_ecg_is_taken_up(
    store: Store, start: Callable[..., Worker], wakeups: Wakeups
):
    """A scoring that never returns costs its process, not the gateway: the next one goes on."""
    first = start(SCORE_MS="600000", LIMIT_S="0.5")
    ecg_id = take(store).ecg_id
    wakeups.score(ecg_id)
    assert first.process.wait(60) in {1, -signal.SIGSEGV}  # the sweeper runs while it is read
    assert store.ecgs.get(ecg_id).state is State.SCORING
    start("work-2")
    wait_until(all_scored(store, 1), "another worker takes it up", timeout_s=55)


def test_broker_killed_and_emptied(
    store: Store, start: Callable[..., Worker], wakeups: Wakeups, redis_server: RedisServer
):
    """The broker dies with 50 ECGs waiting: two workers still score each exactly once."""
    workers = [start(f"work-{number}", SCORE_MS="20") for number in (1, 2)]
    wait_until(lambda: all(worker.has_said("ready") for worker in workers), "workers are ready")
    for number in range(50):
        wakeups.score(take(store, f"dicom:{number}").ecg_id)
        if number == 25:
            redis_server.kill()
    redis_server.start()
    wait_until(all_scored(store, 50), "all 50 are scored")
    assert [worker.end() for worker in workers] == [0, 0]
    scored = [line for worker in workers for line in worker.lines if line.startswith("scored")]
    assert len(scored) == len(set(scored)) == 50


def test_a_worker_waits_for_its_broker(
    store: Store, start: Callable[..., Worker], redis_server: RedisServer
):
    """Started before the broker, a worker is ready when the broker comes, and can be stopped."""
    redis_server.kill()
    take(store)
    worker = start()
    other = start("work-2")
    assert other.end() in {0, -signal.SIGTERM}
    redis_server.start()
    wait_until(lambda: worker.has_said("ready"), "the worker finds the broker")
    wait_until(all_scored(store, 1), "it works")


@pytest.mark.slow
def test_a_silent_broker_is_a_lost_broker(redis_server: RedisServer, wakeups: Wakeups):
    """A broker that keeps its connections and says nothing holds nobody for ever."""
    assert wakeups.backlog() == 0
    redis_server.freeze()
    assert wakeups.backlog() is None


def test_publishing_never_waits(redis_server: RedisServer):
    """With the broker away a listener's wake-up returns at once, and comes when it is back."""
    redis_server.kill()
    wakeups = Wakeups(redis_server.url)
    done = threading.Event()

    def publish() -> None:
        for number in range(1000):
            wakeups.score(f"{number}")
        done.set()

    threading.Thread(target=publish).start()
    assert done.wait(30)
    assert wakeups.backlog() is None
    redis_server.start()
    wait_until(lambda: wakeups.backlog() == 1000, "what was kept is sent")
    wakeups.close()


def test_closing_with_the_broker_away(redis_server: RedisServer):
    """A process that ends does not wait for a broker that is gone."""
    redis_server.kill()
    wakeups = Wakeups(redis_server.url)
    wakeups.score("x")
    wakeups.deliver()
    assert not wakeups.wait_deliver(0.1)
    wakeups.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wake-")]


def test_couriers_are_all_woken(redis_server: RedisServer, wakeups: Wakeups):
    """A delivery wake-up reaches every process that waits, each once."""
    couriers = [Wakeups(redis_server.url) for _ in range(2)]
    for courier in couriers:
        assert courier.wait_deliver(30)  # the first one says: look once, you may have missed one
    wakeups.deliver()
    for courier in couriers:
        assert courier.wait_deliver(30)
        assert not courier.wait_deliver(0.05)
        courier.close()


def test_a_courier_hears_again_after_the_broker_was_gone(
    redis_server: RedisServer, wakeups: Wakeups
):
    """After an outage the courier is told to look once, and hears what comes next."""
    assert wakeups.wait_deliver(30)
    redis_server.kill()
    redis_server.start()
    assert wakeups.wait_deliver(30)
    other = Wakeups(redis_server.url)
    other.deliver()
    assert wakeups.wait_deliver(30)
    other.close()


def test_over_tcp_as_well(
    store: Store, start: Callable[..., Worker], request: pytest.FixtureRequest
):
    """An external Redis is reached by URL; nothing else changes."""
    with short_folder() as folder:
        server = RedisServer(folder, free_port())
        request.addfinalizer(server.kill)
        server.start()
        worker = start(url=server.url)
        wait_until(lambda: worker.has_said("ready"), "the worker is ready")
        wakeups = Wakeups(server.url)
        wakeups.score(take(store).ecg_id)
        wait_until(all_scored(store, 1), "scored")
        assert wakeups.wait_deliver(30)
        wakeups.close()
        assert worker.end() == 0
