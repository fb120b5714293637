"""Encounters: what ADT told of a patient's visits, kept for the time of the ECG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gateway.ecg import Encounter, Patient
from gateway.store.engine import Database
from gateway.store.rows import EncounterRow, patient_of
from gateway.store.tables import encounters

_LOOK_BACK = 200
"""Rows of one patient that are looked at; ADT sends a handful per visit."""

_SINCE_EVER = datetime(1900, 1, 1, tzinfo=UTC)
"""Time of the row that says into which record, its `patient`, this one was merged."""

_FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)

# Built once: making such a statement takes Python five times as long as running it.
_INSERT = sa.insert(encounters)
_UNTIL = (
    sa.select(encounters)
    .where(encounters.c.patient_id == sa.bindparam("who"), encounters.c.at <= sa.bindparam("at"))
    .order_by(encounters.c.at.desc(), encounters.c.id.desc())
    .limit(_LOOK_BACK)
)
_OF_VISIT = sa.and_(
    encounters.c.patient_id == sa.bindparam("who"),
    encounters.c.authority.in_((sa.bindparam("issuer"), "")),
    encounters.c.encounter["visit_number"].as_string() == sa.bindparam("visit"),
)
_LAST_OF_VISIT = (
    sa.select(encounters.c.ended)
    .where(_OF_VISIT)
    .order_by(encounters.c.at.desc(), encounters.c.id.desc())
    .limit(1)
)


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
        *,
        ended: bool = False,
    ) -> None:
        """Keep what an ADT message said.

        Args:
            patient_id: PID-3.1.
            authority: PID-3.4, may be empty.
            encounter: the visit.
            at: when it holds from (EVN-2 or MSH-7), aware.
            patient: PID as ADT has it.
            ended: the patient is on no visit from then on; `encounter` is the last one.
        """
        values = {
            "patient_id": patient_id,
            "authority": authority,
            "at": at,
            "encounter": asdict(encounter),
            "patient": asdict(patient),
            "ended": ended,
        }
        with self._db.write() as tx:
            tx.execute(_INSERT, values)

    def known(self, patient_id: str, authority: str, when: datetime) -> EncounterRow | None:
        """Give the last word of ADT at a time (aware), also on a visit that had ended; else None.

        An empty authority on either side matches any, unless the id then means two patients. A
        record that was merged into another is looked for there; of merges in a circle nothing is
        known but what came after them.
        """
        return self._newest(patient_id, authority, when)

    def at(self, patient_id: str, authority: str, when: datetime) -> EncounterRow | None:
        """Give the visit that the patient was on at a time (aware); None when on none known."""
        found = self.known(patient_id, authority, when)
        return None if found is None or found.ended else found

    def latest(self, patient_id: str, authority: str) -> EncounterRow | None:
        """Give the newest word of ADT on a patient, whenever it was."""
        return self._newest(patient_id, authority, _FOR_EVER)

    def has_ended(self, patient_id: str, authority: str, visit_number: str) -> bool:
        """Tell whether the last word on a visit was its end."""
        given = _visit(patient_id, authority, visit_number)
        with self._db.read() as tx:
            return bool(tx.execute(_LAST_OF_VISIT, given).scalar_one_or_none())

    def forget(self, patient_id: str, authority: str, visit_number: str) -> None:
        """Drop a visit that never was."""
        with self._db.write() as tx:
            given = _visit(patient_id, authority, visit_number)
            tx.execute(sa.delete(encounters).where(_OF_VISIT), given)

    def resume(self, patient_id: str, authority: str, visit_number: str) -> None:
        """Let a visit go on whose end was a mistake."""
        change = sa.update(encounters).where(_OF_VISIT).values(ended=False)
        with self._db.write() as tx:
            tx.execute(change, _visit(patient_id, authority, visit_number))

    def merge(self, retired_id: str, retired_authority: str, into_id: str, authority: str) -> None:
        """Make two records one: what was known of both is known of the second."""
        retired, into = (retired_id, retired_authority), (into_id, authority)
        if retired == into:
            return
        merged = sa.and_(sa.or_(_record(*retired), _record(*into)), encounters.c.at == _SINCE_EVER)
        move = sa.update(encounters).where(_record(*retired))
        with self._db.write() as tx:
            tx.execute(sa.delete(encounters).where(merged))  # where they once led to
            tx.execute(move.values(patient_id=into_id, authority=authority))
            survivor = Patient(into_id, authority)
            self.put(*retired, Encounter(), _SINCE_EVER, survivor, ended=True)

    def _newest(self, patient_id: str, authority: str, until: datetime) -> EncounterRow | None:
        who, seen = (patient_id, authority), set[tuple[str, str]]()
        while who[0] and who not in seen:  # merges can lead in a circle where issuers are left out
            seen.add(who)
            found = _of_authority(self._rows(who[0], until), who[1])
            if found is None or found.at != _SINCE_EVER:
                return found
            who = (found.patient.id, found.patient.id_authority)
        return None

    def _rows(self, patient_id: str, until: datetime) -> list[EncounterRow]:
        with self._db.read() as tx:
            return [_encounter(row) for row in tx.execute(_UNTIL, {"who": patient_id, "at": until})]


def _record(patient_id: str, authority: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        encounters.c.patient_id == patient_id, encounters.c.authority.in_({authority, ""})
    )


def _visit(patient_id: str, authority: str, visit_number: str) -> dict[str, str]:
    """Give the values that `_OF_VISIT` asks for."""
    return {"who": patient_id, "issuer": authority, "visit": visit_number}


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
        patient=patient_of(row.patient),
        ended=row.ended,
    )
