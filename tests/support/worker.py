"""A worker process for tests: `python worker.py BROKER_URL DATABASE_URL BLOBS NAME`.

It scores with a fake model that takes `SCORE_MS` and writes one line per event to its output.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from pathlib import Path

from gateway import failpoints
from gateway.dispatch.app import make_app
from gateway.dispatch.owners import is_dead, make_owner
from gateway.dispatch.sweeper import Sweeper
from gateway.dispatch.wake import Wakeups
from gateway.dispatch.worker import run_worker, time_limit
from gateway.ecg import State
from gateway.store import Outcome, open_store


def say(*words: object) -> None:
    """Print one line at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(broker_url: str, database_url: str, blobs: str, name: str) -> None:
    """Work until SIGTERM; SIGABRT tells where each thread was."""
    faulthandler.enable()
    store = open_store(database_url, Path(blobs))
    wakeups = Wakeups(broker_url)
    owner = make_owner(name)
    score_s = float(os.environ.get("SCORE_MS", "0")) / 1000

    def score(ecg_id: str) -> None:
        ecg = store.ecgs.claim(ecg_id, owner, 60)
        if ecg is None:
            return
        say("scoring", ecg_id)
        with time_limit(float(os.environ.get("LIMIT_S", "300"))):
            threading.Event().wait(score_s)
        failpoints.hit("worker.mid_score")
        if store.ecgs.finish(ecg_id, owner, Outcome(State.SCORED), []):
            say("scored", ecg_id)

    sweeper = Sweeper(store.ecgs, wakeups, is_dead, 0.5)
    run_worker(make_app(broker_url, score), sweeper, lambda: say("ready"), f"{name}@test")
    wakeups.close()
    store.close()
    say("ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
