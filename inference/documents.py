"""Settings of plain values, as JSON has them: what is unknown or of a wrong type is named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

_Settings = TypeVar("_Settings")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def settings_of(kind: type[_Settings], given: object, place: str = "") -> _Settings:
    """Make a dataclass of numbers, text, choices, whole numbers in a row and other dataclasses.

    Args:
        kind: the dataclass; what `given` leaves out keeps its default.
        given: a mapping from field to value.
        place: where it stands, for messages.

    Raises:
        ValueError: naming what is unknown, of another type, or refused by the dataclass itself.
    """
    if not isinstance(given, Mapping):
        raise _wrong(place or "what is given", "names with their values", given)
    kinds = get_type_hints(kind)
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    unknown = [_at(place, str(name)) for name in given if name not in known]
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
    return kind(
        **{name: _value(kinds[name], value, _at(place, name)) for name, value in given.items()}
    )


def _wrong(place: str, needed: str, given: object) -> ValueError:
    return ValueError(f"{place} must be {needed}, not {given!r}")


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _value(kind: Any, given: Any, place: str) -> Any:
    if is_dataclass(kind):
        return settings_of(kind, given, place)  # type: ignore[arg-type]
    if get_origin(kind) is Literal:
        if given not in get_args(kind):
            raise ValueError(f"{place} is one of {', '.join(get_args(kind))}, not {given!r}")
        return given
    if get_origin(kind) is tuple:
        if not isinstance(given, list | tuple):
            raise _wrong(place, "whole numbers in brackets", given)
        return tuple(_value(int, each, place) for each in given)
    return _plain(kind, given, place)


def _plain(kind: type, given: Any, place: str) -> Any:
    takes = (int, float) if kind is float else kind
    right = isinstance(given, takes) and (kind is bool or not isinstance(given, bool))
    if not right or (kind is float and not math.isfinite(given)):
        raise _wrong(place, _WORDS[kind], given)
    return float(given) if kind is float else given
