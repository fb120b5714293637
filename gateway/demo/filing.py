"""The simulated EHR's files: one per MSH-10, on disk before it is acknowledged."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from pathlib import Path

from gateway.demo.chart import Result, parse_result


class Filing:
    """What an EHR has filed; a message that comes again is acknowledged and not filed again.

    Attributes:
        deliveries: how often each MSH-10 came, in the order of first arrival.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder, with what an earlier run filed there."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Condition()
        self._results: dict[str, Result] = {}
        self._seen: set[str] = set()
        self.deliveries: Counter[str] = Counter()
        for path in sorted(folder.glob("*.hl7"), key=lambda path: path.stat().st_mtime_ns):
            result = parse_result(path.read_bytes())
            self._results[result.control_id] = result

    def file(self, result: Result) -> bool:
        """Make a result durable; tells whether it is new."""
        with self._changed:
            self.deliveries[result.control_id] += 1
            new = result.control_id not in self._results
            if new:
                _write(self._folder / _name(result.control_id), result.message)
                self._results[result.control_id] = result
            self._changed.notify_all()
        return new

    def refuse(self, result: Result) -> None:
        """Count a message that is not filed."""
        with self._changed:
            self.deliveries[result.control_id] += 1
            self._changed.notify_all()

    @property
    def results(self) -> list[Result]:
        """Everything filed, in the order of arrival."""
        with self._changed:
            return list(self._results.values())

    def get(self, control_id: str) -> Result | None:
        """Give one result by its MSH-10."""
        with self._changed:
            return self._results.get(control_id)

    def of(self, filler: str) -> list[Result]:
        """Give the results about one ECG, by its OBR-3; more than one means told twice."""
        return [result for result in self.results if result.filler == filler]

    def see(self, control_id: str) -> None:
        """Note that a person has seen an alert."""
        with self._changed:
            self._seen.add(control_id)

    @property
    def open_alerts(self) -> list[Result]:
        """Alerts that nobody has seen yet, newest first."""
        with self._changed:
            found = [
                r for r in self._results.values() if r.alert and r.control_id not in self._seen
            ]
        return found[::-1]

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until so many results are filed."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._results) >= count, timeout_s)

    def wait_for_deliveries(self, count: int, timeout_s: float) -> bool:
        """Wait until so many messages came, repeats included."""
        with self._changed:
            return self._changed.wait_for(lambda: self.deliveries.total() >= count, timeout_s)


def _name(control_id: str) -> str:
    """Name a file; a control id of a stranger may hold anything."""
    plain = control_id.isascii() and control_id.isalnum()
    return f"{control_id if plain else hashlib.sha256(control_id.encode()).hexdigest()}.hl7"


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
