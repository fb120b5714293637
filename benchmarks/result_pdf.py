"""What the result PDF costs the worker: CPU per ECG with and without a destination that embeds it.

Both run in this process, in turns, on the same scorer and store: `score_one` for a destination
that takes no PDF, and for one that has it in its message (maps by the fp32 network on one thread,
two pages, one more blob, a message of three hundred times the size). CPU time is of all threads.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.arrivals import take

from gateway.delivery.destination import Destination
from gateway.delivery.prepare import RESULT_PDF, ResultSite
from gateway.delivery.result_pdf import result_pdf
from gateway.demo.samples import samples
from gateway.hl7.oru import Sender
from gateway.policy import Mode
from gateway.scoring import Terms, score_one
from gateway.store import Store, open_store
from inference.installed import SHIPPED
from inference.runtime.maps import MapNetwork
from inference.score import Scorer

KINDS = ("DICOM waveform", "DICOM picture", "DICOM PDF")
EHR = Destination("ehr", "127.0.0.1", 1, test=True)
PLAIN = ResultSite(1, Mode.SHADOW, Sender("ECG-GATEWAY", "BENCH"), (EHR,), 3600.0)
EMBEDDING = replace(PLAIN, destinations=(replace(EHR, pdf="embed"),))


def cpu_ms(store: Store, scorer: Scorer, terms: Terms, ecg_id: str) -> float:
    """CPU milliseconds of scoring and telling one ECG."""
    begun = time.process_time()
    score_one(ecg_id, store=store, scorer=scorer, site=terms, owner="bench", lease_s=60)
    return 1e3 * (time.process_time() - begun)


def compare(store: Store, scorer: Scorer, network: MapNetwork, content: bytes, rounds: int):
    """Median CPU ms without and with the PDF, measured in turns, and the size of one in kB."""

    def draw(ecg, scored):
        return result_pdf(ecg, EMBEDDING, scored.prepared, network.of(scored.prepared.steps.input))

    took: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * rounds + 2):
        embedded = number % 2 == 1
        terms = Terms(EMBEDDING, draw=draw) if embedded else Terms(PLAIN)
        ecg_id = take(store, f"dicom:{number}", content=content).ecg_id
        took[embedded].append(cpu_ms(store, scorer, terms, ecg_id))
    size = len(store.blobs.get(store.ecgs.get(ecg_id).images[RESULT_PDF]))
    return median(took[False][1:]), median(took[True][1:]), size / 1024


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="ECGs of each kind (default 20)")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    scorer = Scorer.load(SHIPPED / "reference", threads=1)
    begun = time.process_time()
    network = MapNetwork(scorer.bundle)
    print(f"{scorer.runtime.name}; maps loaded in {time.process_time() - begun:.1f} s of CPU\n")
    print("| ECG | worker, CPU ms | with result PDF | more | PDF, kB |")
    print("|---|---|---|---|---|")
    found = {sample.wrapping: sample.dicom for sample in samples(datetime.now(UTC))}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"sqlite:///{folder}/bench.sqlite3", Path(folder) / "blobs")
            given = found[kind].content
            plain, embedded, size = compare(store, scorer, network, given, options.rounds)
            store.close()
        print(f"| {kind} | {plain:.1f} | {embedded:.1f} | {embedded - plain:.1f} | {size:.0f} |")


if __name__ == "__main__":
    main()
