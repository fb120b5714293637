"""What ECGs leave on the disk: MB per 1,000, by the way they come, from intake to acknowledgement.

Each kind has a store of its own; every ECG is another recording of another patient, is told to one
destination, and is acknowledged. Counted is what the closed store takes on the disk above an empty
one; nothing of it is ever deleted.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from gateway.delivery.courier import Courier, Lease
from gateway.delivery.destination import Destination
from gateway.delivery.prepare import ResultSite
from gateway.demo import objects
from gateway.demo.objects import Taken
from gateway.dicom.arrival import from_file
from gateway.disk import MB, used_bytes
from gateway.ecg import Patient, Source, State
from gateway.hl7.inbox import Inbox
from gateway.hl7.oru import Sender
from gateway.hl7.peers import Peer
from gateway.intake import Intake
from gateway.policy import Mode
from gateway.scoring import Terms, score_one
from gateway.store import Store, open_store
from inference.installed import SHIPPED
from inference.render import Style, page, page_pdf
from inference.score import Scorer
from inference.simulate import KINDS, simulate

EHR = Destination("ehr", "127.0.0.1", 1, test=True)
SITE = ResultSite(1, Mode.SHADOW, Sender("ECG-GATEWAY", "HOSPITAL"), (EHR,), 3600.0)
CART = Source("dicom", "CART", "127.0.0.1")
STYLE = Style(px_per_mm=6)


class Answering:
    """A wire whose other end takes everything."""

    def send(self, _message: bytes, control_id: str) -> bytes:
        """Accept it."""
        return f"MSH|^~\\&|EHR|HOSPITAL|G|H|2026||ACK|9|T|2.5.1\rMSA|AA|{control_id}\r".encode()


def now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def recording(number: int):
    """A ten-second recording, another one for each number."""
    return simulate(list(KINDS)[number % len(KINDS)], seed=number)


def taken(number: int) -> Taken:
    """Another patient for each number."""
    person = Patient(f"P{number}", "HOSP", "MR", f"Family{number}", "Given", "", "19500101", "F")
    return Taken(person, now())


def by_dicom(content: Callable[[int], bytes]) -> Callable[[Store, int], None]:
    """Accept what a cart stores."""
    return lambda store, n: (
        Intake(store, lambda _: None).accept(from_file(content(n), CART)) and None
    )


def by_hl7(store: Store, number: int) -> None:
    """Accept a PDF in an ORU^R01, of which the message itself is kept, too."""
    pdf = page_pdf(recording(number), STYLE)
    message = objects.result_message(pdf, ("AP", "PDF"), taken(number), f"C{number}")
    inbox = Inbox(store, Intake(store, lambda _: None), lambda: (Peer("any"),), now)
    if inbox.handle(message, "127.0.0.1").code != "AA":
        raise SystemExit("a message was not taken")


KIND_OF_ARRIVAL: dict[str, Callable[[Store, int], None]] = {
    "DICOM 12-lead waveform, 10 s at 500 Hz": by_dicom(
        lambda n: objects.waveform_file(recording(n), taken(n)).content
    ),
    "DICOM Secondary Capture, JPEG page": by_dicom(
        lambda n: objects.picture_file(page(recording(n), STYLE), taken(n), jpeg=True).content
    ),
    "DICOM Encapsulated PDF": by_dicom(
        lambda n: objects.pdf_file(page_pdf(recording(n), STYLE), taken(n)).content
    ),
    "HL7 ORU^R01 with the same PDF": by_hl7,
}


def run(store: Store, scorer: Scorer, accept: Callable[[Store, int], None], count: int) -> None:
    """Take so many ECGs from arrival to acknowledgement."""
    for number in range(count):
        accept(store, number)
    for ecg_id in store.ecgs.unclaimed(-1, count):
        score_one(ecg_id, store=store, scorer=scorer, site=Terms(SITE), owner="w", lease_s=60)
    lease = Lease("courier", 60.0)
    courier = Courier(store, EHR, Answering(), lease=lease, wait=lambda _s: None, now=now)
    while courier.step(threading.Event()):
        pass
    ended = store.ecgs.count_by_state()
    if ended[State.REPORTED] + ended[State.UNSCORABLE] != count:
        raise SystemExit(f"not every ECG came to its end: {ended}")


def measured(scorer: Scorer, count: int) -> Iterator[tuple[str, int, int]]:
    """Give, for each kind, its name and the bytes of all its ECGs in files and in the database."""
    for name, accept in KIND_OF_ARRIVAL.items():
        sizes = []
        with tempfile.TemporaryDirectory() as folder:
            for number in (0, count):
                place = Path(folder) / str(number)
                place.mkdir()
                store = open_store(f"sqlite:///{place / 'gateway.sqlite3'}", place / "blobs")
                run(store, scorer, accept, number)
                store.close()
                files = used_bytes(place / "blobs")
                sizes.append((files, used_bytes(place) - files))
        (no_files, empty), (files, database) = sizes
        yield name, files - no_files, database - empty


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ecgs", type=int, default=50, help="of each kind (default 50)")
    count = parser.parse_args().ecgs
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    scorer = Scorer.load(SHIPPED / "reference")
    print("| 1,000 ECGs that come as | MB | in `blobs/` | in the database |\n|---|---|---|---|")
    for name, files, database in measured(scorer, count):
        values = (size / count * 1000 / MB for size in (files + database, files, database))
        print("| " + " | ".join([name, *(f"{value:.0f}" for value in values)]) + " |", flush=True)


if __name__ == "__main__":
    main()
