"""The layout of ORU^R01 by hl7apy: which segments stand in which groups, and fields in segments.

hl7apy takes 20 ms a message, most of it spent on asking its tables again about the same fields, so
each set of known fields is laid out once, with a place for each value. It accepts fields that the
declared version lacks, so it is no validator: the tests read every message back with our own reader
and check positions, and hold it against what hl7apy makes of the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hl7apy.core import Message, Segment

_TRUNCATING, _NOT_TRUNCATING = "MSH|^~\\&#|", "MSH|^~\\&|"
"""hl7apy declares a truncation character from 2.7; we cut nothing, and a room may end in `#`."""

_LAYOUTS = {"2.8": "2.7"}
"""hl7apy's 2.8 tables lack the withdrawn OBR-14, OBR-15 and OBR-27 and so shift what follows."""


@lru_cache(maxsize=256)
def layout(version: str, filled: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    """Lay out a message that has these fields: its ER7 text with `{}` for each value."""
    return lay_out(version, [(name, dict.fromkeys(fields, "{}")) for name, fields in filled])


def lay_out(version: str, segments: Iterable[tuple[str, Mapping[int, str]]]) -> str:
    """Let hl7apy write ORU^R01 (chapter 7.3.1).

    Args:
        version: of HL7.
        segments: name and fields by position of each, in order.

    Returns:
        The message as ER7, segments ended by CR.

    Raises:
        hl7apy.exceptions.UnsupportedVersion: hl7apy has no tables of this version.
    """
    message = Message("ORU_R01", version=_LAYOUTS.get(version, version))
    result = _group(message, "RESPONSE" if version == "2.3" else "PATIENT_RESULT")
    patient, order = _group(result, "PATIENT"), _group(result, "ORDER_OBSERVATION")
    for name, fields in segments:
        if name == "MSH":
            _fill(message.msh, fields)
        elif name == "PID":
            _add(patient, name, fields)
        elif name == "PV1":
            _add(_group(patient, "VISIT"), name, fields)
        elif name == "OBX":
            observation = _group(order, "OBSERVATION")
            _add(observation, name, fields)
        elif name == "PRT":
            _add(observation, name, fields)
        else:
            _add(order, name, fields)
    text: str = message.to_er7().replace(_TRUNCATING, _NOT_TRUNCATING, 1)
    return text.rstrip("\r") + "\r"


def _group(parent: Any, name: str) -> Any:
    return parent.add_group(f"ORU_R01_{name}")


def _add(group: Any, name: str, fields: Mapping[int, str]) -> None:
    """Add a segment; it is filled first, because hl7apy asks every parent at each field."""
    segment = Segment(name, version=group.version)
    _fill(segment, fields)
    group.add(segment)


def _fill(segment: Any, fields: Mapping[int, str]) -> None:
    for position, value in fields.items():
        setattr(segment, f"{segment.name.lower()}_{position}", value)
