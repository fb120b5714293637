"""Encounters: what ADT told of a patient's visits, kept for the time of the ECG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.ecg import Encounter, Patient
from gateway.store.engine import Database
from gateway.store.rows import EncounterRow
from gateway.store.tables import encounters

_LOOK_BACK = 200
"""Rows of one patient that are looked at; ADT sends a handful per visit."""


_INSERT = sa.insert(encounters)  # built once: making it takes longer than running it


class Encounters:
    """The cached ADT."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(
        self,
        patient_id: str,
        authority: str,
        encounter: Encounter,
        at: datetime,
        patient: Patient,
    ) -> None:
        """Keep what an ADT message said.

        Args:
            patient_id: PID-3.1.
            authority: PID-3.4, may be empty.
            encounter: the visit.
            at: when it holds from (EVN-2 or MSH-7), aware.
            patient: PID as ADT has it.
        """
        values = {
            "patient_id": patient_id,
            "authority": authority,
            "at": at,
            "encounter": asdict(encounter),
            "patient": asdict(patient),
        }
        with self._db.write() as tx:
            tx.execute(_INSERT, values)

    def at(self, patient_id: str, authority: str, when: datetime) -> EncounterRow | None:
        """Give what was known to hold at a time (aware); None when nothing was.

        An empty authority on either side matches any, unless the id then means two patients.
        """
        return self._newest(patient_id, authority, encounters.c.at <= when)

    def latest(self, patient_id: str, authority: str) -> EncounterRow | None:
        """Give the newest word of ADT on a patient, whenever it was."""
        return self._newest(patient_id, authority, sa.true())

    def _newest(
        self, patient_id: str, authority: str, condition: sa.ColumnElement[bool]
    ) -> EncounterRow | None:
        if not patient_id:
            return None
        query = (
            sa.select(encounters)
            .where(encounters.c.patient_id == patient_id, condition)
            .order_by(encounters.c.at.desc(), encounters.c.id.desc())
            .limit(_LOOK_BACK)
        )
        with self._db.read() as tx:
            rows = [_encounter(row) for row in tx.execute(query)]
        return _of_authority(rows, authority)


def _of_authority(rows: Iterable[EncounterRow], authority: str) -> EncounterRow | None:
    matching = [row for row in rows if not authority or row.authority in {authority, ""}]
    if len({row.authority for row in matching if row.authority}) > 1:
        return None
    return matching[0] if matching else None


def _encounter(row: sa.Row[Any]) -> EncounterRow:
    return EncounterRow(
        patient_id=row.patient_id,
        authority=row.authority,
        at=row.at,
        encounter=Encounter(**row.encounter),
        patient=Patient(**row.patient),
    )
