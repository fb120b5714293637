"""Turns pydantic's and tomllib's errors into sentences, and finds the line that they are about."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from config.errors import ConfigError, Problem

Location = tuple[int | str, ...]
SECRET_KEYS = re.compile(r"(password|secret|token|url)(_file)?$")
_TABLE = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\"]+)\s*\]\]?")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-\"]+)\s*=")


def read_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: the text is not TOML; the message gives line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{source}, line {line[1]}" if line else source
        raise ConfigError([Problem(where, "this file", "", f"is not TOML: {error}")]) from error


def dotted(location: Location) -> str:
    """Write a location as people do: `destinations[0].port`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "this document"


def line_of(text: str, location: Location) -> int | None:
    """Find the line, from 1, on which the key at `location` stands; else that of its table.

    Args:
        text: TOML text.
        location: keys and indices, e.g. `("destinations", 0, "port")`.
    """
    counts: dict[str, int] = {}
    here: Location = ()
    best: tuple[int, int] | None = None  # (matched parts, line)
    for number, line in enumerate(text.splitlines(), start=1):
        if table := _TABLE.match(line):
            here = _table_location(table, counts)
            found = here
        elif key := _KEY.match(line):
            found = (*here, key[1].strip('"'))
        else:
            continue
        if found == location[: len(found)] and (best is None or len(found) > best[0]):
            best = (len(found), number)
    return best[1] if best else None


def _table_location(table: re.Match[str], counts: dict[str, int]) -> Location:
    """Give the location of a `[table]` or of the next `[[entry]]` of an array of tables."""
    name = table[2].replace('"', "")
    parts: Location = tuple(name.split("."))
    if table[1] == "[[":
        counts[name] = counts.get(name, -1) + 1
        return (*parts, counts[name])
    if parts[0] in counts:  # [destinations.x] belongs to the entry above it
        return (parts[0], counts[str(parts[0])], *parts[1:])
    return parts


def problems_of(
    error: ValidationError, model: type[BaseModel], where: Callable[[Location], str]
) -> list[Problem]:
    """Say what pydantic found: key, value and what is allowed, one problem each."""
    return [
        Problem(
            where(tuple(item["loc"])),
            dotted(tuple(item["loc"])),
            _shown(tuple(item["loc"]), item["type"], item["input"]),
            _allowed(item["type"], item["msg"], item.get("ctx", {}), tuple(item["loc"]), model),
        )
        for item in error.errors(include_url=False)
    ]


def _shown(location: Location, kind: str, value: object) -> str:
    """Show a bad value briefly, a secret never."""
    if kind == "missing" or isinstance(value, Mapping | list):
        return ""
    if location and SECRET_KEYS.search(str(location[-1])):
        return "***"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_BOUNDS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
_TYPES = {
    "int_parsing": "allowed is a whole number",
    "int_type": "allowed is a whole number",
    "int_from_float": "allowed is a whole number",
    "float_parsing": "allowed is a number",
    "float_type": "allowed is a number",
    "bool_parsing": "allowed is true or false",
    "bool_type": "allowed is true or false",
    "string_type": 'allowed is text in "quotes"',
    "path_type": 'allowed is a path in "quotes"',
    "tuple_type": "allowed is a list in [brackets]",
    "model_type": "allowed is a [section] with its own keys",
    "missing": "this key is required",
}


def _allowed(
    kind: str, message: str, context: Mapping[str, Any], location: Location, model: type[BaseModel]
) -> str:
    """Say what may stand at a location."""
    if kind == "extra_forbidden":
        return _known_keys(location, model)
    if kind == "literal_error":
        return f"allowed is one of {context['expected']}"
    if bounds := [f"{_BOUNDS[key]} {context[key]}" for key in _BOUNDS if key in context]:
        return f"allowed is {' and '.join(bounds)}"
    if kind == "string_pattern_mismatch":
        return f"allowed is text that matches {context['pattern']}"
    if kind == "string_too_short":
        return "allowed is text that is not empty"
    return _TYPES.get(kind) or message.removeprefix("Value error, ")


def _known_keys(location: Location, model: type[BaseModel]) -> str:
    """Name the keys that exist where an unknown one stands, the closest first."""
    known = sorted(fields_at(location[:-1], model))
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"is not a key; {hint}known here: {', '.join(known)}"


def fields_at(location: Location, model: type[BaseModel]) -> dict[str, Any]:
    """Give the fields of the model that a location inside `model` leads to."""
    fields: dict[str, Any] = dict(model.model_fields)
    for part in location:
        if isinstance(part, int):
            continue
        inner = _model_in(fields[part].annotation) if part in fields else None
        fields = dict(inner.model_fields) if inner else {}
    return fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the pydantic model in an annotation such as `tuple[Destination, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _model_in(inner):
            return found
    return None
