"""Arrival to acknowledgement, through a whole running gateway with the reference bundle.

One at a time: from the beginning of C-STORE to the commit of the EHR's acknowledgement, and where
the time goes. Sustained: many ECGs at once, ECGs per second, and CPU seconds per ECG, by role,
against those of the model alone on the same input, runtime and threads in the same run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.cart import people, recording, send_until_accepted
from support.gateway import SETTINGS, RunningGateway, until

from gateway.demo.ehr import Ehr
from gateway.ecg import State

TICKS = os.sysconf("SC_CLK_TCK")


ROLES = ("listen", "work", "deliver", "console", "broker")


def cpu_s(gateway: RunningGateway) -> dict[str, float]:
    """CPU seconds used so far by each role of the gateway, and by the rest (the supervisor)."""
    role_of = {pid: role for role in ROLES for pid in gateway.pids(role)}
    spent = dict.fromkeys((*ROLES, "supervisor"), 0.0)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == gateway.process.pid:  # session: serve was started as its leader
            role = role_of.get(int(stat.parent.name), "supervisor")
            spent[role] += (int(fields[11]) + int(fields[12])) / TICKS
    return spent


def one_at_a_time(gateway: RunningGateway, store, count: int) -> list[dict[str, float]]:
    """Send one, wait until it is acknowledged, send the next; milliseconds per step."""
    steps = []
    for number, person in enumerate(people(count)):
        data = recording(person)
        begun = datetime.now(UTC)
        send_until_accepted(lambda: gateway.ports["dicom"], [data])
        answered = datetime.now(UTC)
        until(lambda n=number: store.ecgs.count_by_state()[State.REPORTED] > n, "acknowledgement")
        row = store.ecgs.recent(1)[0]
        delivery = store.deliveries.of_ecg(row.id)[0]
        events = {event.what: event.at for event in store.ecgs.events(row.id)}
        marks = [
            ("C-STORE begin → durable", begun, row.received_at),
            ("durable → claimed by a worker", row.received_at, events["scoring"]),
            ("claimed → score and delivery committed", events["scoring"], delivery.created_at),
            ("committed → sent", delivery.created_at, delivery.sent_at),
            ("sent → acknowledgement committed", delivery.sent_at, delivery.acknowledged_at),
            ("C-STORE begin → answered (cart's view)", begun, answered),
            ("**arrival → ACK**", begun, delivery.acknowledged_at),
        ]
        steps.append({name: (end - start).total_seconds() * 1e3 for name, start, end in marks})
    return steps[2:]  # the first two warm caches and connections


def model_cpu_s(count: int) -> float:
    """CPU seconds per ECG of decode, preprocessing and network alone, on a worker's threads."""
    import io

    from inference.installed import SHIPPED
    from inference.score import Scorer

    buffer = io.BytesIO()
    recording(people(1)[0]).save_as(buffer)
    scorer = Scorer.load(SHIPPED / "reference", threads=len(os.sched_getaffinity(0)))
    scorer.score(buffer.getvalue(), "application/dicom")
    begun = time.process_time()
    for _ in range(count):
        scorer.score(buffer.getvalue(), "application/dicom")
    return (time.process_time() - begun) / count


def sustained(gateway: RunningGateway, store, count: int) -> tuple[float, dict[str, float]]:
    """ECGs/s and CPU seconds per ECG by role, from the first C-STORE to the last answer."""
    already = store.ecgs.count_by_state()[State.REPORTED]
    data = [recording(person) for person in people(count)]
    before, begun = cpu_s(gateway), time.monotonic()
    send_until_accepted(lambda: gateway.ports["dicom"], data)
    until(
        lambda: store.ecgs.count_by_state()[State.REPORTED] == already + count,
        "all acknowledged",
        300,
    )
    wall, after = time.monotonic() - begun, cpu_s(gateway)
    return count / wall, {role: (after[role] - before[role]) / count for role in after}


def main() -> None:
    """Run both and print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ecgs", type=int, default=40, help="one at a time (default 40)")
    parser.add_argument("--burst", type=int, default=100, help="sustained (default 100)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Ehr(Path(folder) / "ehr") as ehr:
        settings = SETTINGS.replace("sweep_s = 1.0", "sweep_s = 5.0")
        gateway = RunningGateway(Path(folder), ehr.port, settings)
        gateway.start()
        store = gateway.store()
        try:
            steps = one_at_a_time(gateway, store, options.ecgs + 2)
            rate, per_ecg = sustained(gateway, store, options.burst)
        finally:
            store.close()
            gateway.stop()
    print("| step, one ECG at a time | median ms | p95 ms |\n|---|---|---|")
    for name in steps[0]:
        values = [step[name] for step in steps]
        print(f"| {name} | {median(values):.1f} | {np.percentile(values, 95):.1f} |")
    alone = model_cpu_s(options.burst)
    print("\n| sustained | value |\n|---|---|")
    print(f"| ECGs/s, {options.burst} on one association | {rate:.1f} |")
    whole = sum(per_ecg.values())
    print(f"| CPU ms per ECG, whole gateway | {whole * 1e3:.0f} |")
    for role, spent in per_ecg.items():
        print(f"| - {role} | {spent * 1e3:.1f} |")
    print(f"| CPU ms per ECG, decode + preprocess + network alone | {alone * 1e3:.0f} |")
    print(f"| ratio | {whole / alone:.2f} |")


if __name__ == "__main__":
    main()
