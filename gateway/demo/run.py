"""The demo: a real gateway, a simulated cart and a simulated EHR, and what came of each ECG."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from gateway.demo.cart import Hl7Line, Played, store_dicom
from gateway.demo.ehr import Ehr
from gateway.demo.ehr_page import EhrPage
from gateway.demo.folder import files, from_folder
from gateway.demo.outcomes import Outcome, refreshed
from gateway.demo.samples import Sample, samples, visits
from gateway.demo.served import NotStarted, ServedGateway
from gateway.store import Store, open_store

POLL_S = 0.05
PACE_S = 2.0
"""The cart's patience in seconds before it sends the next ECG."""
QUIET_S = 300.0
"""Seconds without any progress after which the demo gives up."""
WIDTH = 118


@dataclass(frozen=True, slots=True)
class _Ports:
    dicom: int
    hl7: int


def run_demo(
    data: Path | None, exit_when_done: bool, console: Console | None = None, *, pdf: bool = False
) -> int:
    """Play the demo.

    Args:
        data: a folder of ECG files to play; None plays the built-in ones.
        exit_when_done: end when every ECG has its outcome; else stay up until Ctrl-C.
        console: where to print.
        pdf: the EHR wants the result PDF in each result.

    Returns:
        Exit status: 0 when every ECG reached its outcome, 1 when not, 2 when it could not start.
    """
    out = console or _console()
    if data is not None and (not data.is_dir() or not files(data)):
        out.print(f"demo: {data} holds no ECG file (DICOM, PNG, JPEG, TIFF, PDF, XML)")
        return 2
    stop = threading.Event()
    with _stopping(stop), tempfile.TemporaryDirectory(prefix="ecg-demo-") as folder:
        try:
            with Ehr(Path(folder) / "ehr") as ehr:
                gateway = ServedGateway(Path(folder), ehr.port, pdf=pdf)
                return _play(ehr, gateway, data, exit_when_done, out, stop)
        except NotStarted as error:
            out.print(f"demo: the gateway did not start.\n{error}", markup=False)
            return 2


def _console() -> Console:
    """Terminals say how wide they are; a pipe gets lines that do not wrap."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into an event, so that everything is stopped in order."""

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _play(
    ehr: Ehr,
    served: ServedGateway,
    data: Path | None,
    exit_when_done: bool,
    out: Console,
    stop: threading.Event,
) -> int:
    """Start the gateway, play, print, stay."""
    now = datetime.now().astimezone().replace(microsecond=0)
    with served as gateway:
        with _progress(out) as progress:
            made = _prepare(data, now, progress)
            task = progress.add_task("starting the gateway", total=None)
            ports = gateway.wait_until_ready()
            progress.remove_task(task)
            with closing(open_store(gateway.database_url, gateway.data / "blobs")) as store:
                follower = _Follower(store, progress, len(made))
                _send(made, now, _Ports(ports["dicom"], ports["hl7"]), follower, stop)
                follower.watch(stop, QUIET_S)
            outcomes = follower.outcomes
        console_url = f"http://127.0.0.1:{ports['console']}/"
        with EhrPage(ehr.filing, console_url) as page:
            _report(outcomes, out)
            out.print(f"gateway console: {console_url}")
            out.print(f"EHR banner page: {page.url}")
            if not exit_when_done and not stop.is_set():
                out.print("Everything here is research software. Ctrl-C ends the demo.")
                stop.wait()
    return 0 if outcomes and all(_well_ended(one, data) for one in outcomes) else 1


def _progress(out: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        console=out,
        transient=True,
    )


def _prepare(data: Path | None, now: datetime, progress: Progress) -> list[Sample]:
    made = samples(now) if data is None else from_folder(data, now)
    total = None if data is None else len(files(data))
    return list(progress.track(made, total=total, description="preparing ECGs"))


def _send(
    made: Sequence[Sample],
    now: datetime,
    ports: _Ports,
    follower: _Follower,
    stop: threading.Event,
) -> None:
    """Announce the patients, then send one ECG after another, as a cart does.

    The next goes when the one before has its outcome or has waited for `PACE_S`, so that the times
    shown are those of an ECG and not those of a queue.
    """
    line = Hl7Line(ports.hl7)
    try:
        if any(sample.pseudonym.startswith("SIM-") for sample in made):
            for visit in visits(now):
                line.send(visit.message, visit.control_id)
        for sample in made:
            if stop.is_set():
                break
            begun_at = datetime.now(UTC)
            played = _send_one(sample, ports, line)
            follower.add(Outcome(sample, begun_at, played.accepted, played.answer))
            follower.watch(stop, PACE_S)
    finally:
        line.close()


def _send_one(sample: Sample, ports: _Ports, line: Hl7Line) -> Played:
    if sample.dicom is not None:
        return store_dicom(ports.dicom, sample.dicom)
    if not sample.message:
        return Played(accepted=False, answer="no readable file")
    return line.send(sample.message, sample.control_id)


class _Follower:
    """Watches what becomes of the ECGs that were sent, and shows it."""

    def __init__(self, store: Store, progress: Progress, total: int) -> None:
        self.outcomes: list[Outcome] = []
        self._store = store
        self._progress = progress
        self._sent = progress.add_task("cart has sent", total=total)
        self._ended = progress.add_task("EHR has acknowledged", total=total)

    def add(self, outcome: Outcome) -> None:
        """Take one more ECG."""
        self.outcomes.append(outcome)
        self._progress.advance(self._sent)

    def watch(self, stop: threading.Event, quiet_s: float) -> None:
        """Return when everything sent has its outcome, or nothing moved for so many seconds."""
        ended, moved_at = -1, time.monotonic()
        while not stop.is_set() and time.monotonic() - moved_at < quiet_s:
            self.outcomes = refreshed(self.outcomes, self._store)
            count = sum(one.ended for one in self.outcomes)
            self._progress.update(self._ended, completed=count)
            if count == len(self.outcomes):
                return
            if count != ended:
                ended, moved_at = count, time.monotonic()
            stop.wait(POLL_S)


def _report(outcomes: Sequence[Outcome], out: Console) -> None:
    """Print a line per ECG and the summary."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("source", "shows", "patient"):
        table.add_column(heading, no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("category", overflow="fold")
    table.add_column("alert")
    table.add_column("arrival to ACK", justify="right", no_wrap=True)
    for one in outcomes:
        table.add_row(*_row(one))
    out.print(table)
    received = sum(one.accepted for one in outcomes)
    scored = sum(one.scored for one in outcomes)
    acknowledged = sum(one.acknowledged for one in outcomes)
    out.print(f"demo: {received} received, {scored} scored, {acknowledged} acknowledged")


def _row(one: Outcome) -> tuple[str, ...]:
    score = f"{one.ecg.score.probability:.3f}" if one.ecg and one.ecg.score else "-"
    took = "-" if one.milliseconds is None else f"{one.milliseconds:.0f} ms"
    alert = "[bold red]yes[/]" if one.alert else "no"
    sample = one.sample
    return sample.wrapping, _plain(sample.shows), sample.pseudonym, score, one.category, alert, took


def _plain(text: str) -> str:
    """Keep a file's name from being read as markup."""
    return text.replace("[", r"\[")


def _well_ended(one: Outcome, data: Path | None) -> bool:
    """Tell whether an ECG came to its outcome: told and acknowledged.

    Real files may also be refused at the door or held for a person; that is an outcome, too.
    """
    if one.accepted and one.acknowledged:
        return True
    return data is not None and one.ended and (one.held or not one.accepted)
