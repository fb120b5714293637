"""CPU of the `work` role per ECG against CPU of the model alone, by kind of ECG.

Both run in this process, in turns, on the same scorer and the same number of threads: the model
alone is `Scorer.score` (decode, one look, preprocessing, network), the worker is `score_one` on a
store of its own (claim, model, evidence, ORU, one commit). CPU time is that of all threads.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.arrivals import take

from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite
from gateway.demo.samples import samples
from gateway.ecg import MediaType
from gateway.hl7.oru import Sender
from gateway.policy import Mode
from gateway.scoring import Terms, score_one
from gateway.store import Store, open_store
from inference.installed import SHIPPED
from inference.score import Scorer

KINDS = ("DICOM waveform", "DICOM picture", "DICOM JPEG picture", "DICOM PDF")
EHR = Destination("ehr", "127.0.0.1", 1, test=True)
SITE = Terms(ResultSite(1, Mode.SHADOW, Sender("ECG-GATEWAY", "BENCH"), (EHR,), 3600.0))


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of one call, all threads."""
    begun = time.process_time()
    work()
    return 1e3 * (time.process_time() - begun)


def compare(scorer: Scorer, store: Store, content: bytes, rounds: int) -> tuple[float, float]:
    """Median CPU ms of the model alone and of the worker, measured in turns."""
    alone, whole = [], []
    for number in range(rounds + 1):
        ecg_id = take(store, f"dicom:{number}", content=content).ecg_id
        alone.append(cpu_ms(lambda: scorer.score(content, MediaType.DICOM.value)))
        whole.append(
            cpu_ms(
                lambda i=ecg_id: score_one(
                    i, store=store, scorer=scorer, site=SITE, owner="bench", lease_s=60
                )
            )
        )
        assert store.ecgs.get(ecg_id).score is not None
    return median(alone[1:]), median(whole[1:])


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="ECGs of each kind (default 20)")
    parser.add_argument("--threads", type=int, default=1, help="of the model (default 1)")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    scorer = Scorer.load(SHIPPED / "reference", threads=options.threads)
    found = {sample.wrapping: sample.dicom for sample in samples(datetime.now(UTC))}
    print(f"{scorer.runtime.name}, threads: {options.threads}\n")
    print("| ECG | model alone, CPU ms | worker, CPU ms | beside the model | ratio |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"sqlite:///{folder}/bench.sqlite3", Path(folder) / "blobs")
            alone, whole = compare(scorer, store, found[kind].content, options.rounds)
            store.close()
        rest = whole - alone
        print(f"| {kind} | {alone:.1f} | {whole:.1f} | {rest:.1f} | {whole / alone:.2f} |")


if __name__ == "__main__":
    main()
