"""Site documents: TOML text or stored JSON in, validated `Site` out, and back; differences."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from config.errors import ConfigError, Problem
from config.explain import Location, dotted, line_of, problems_of, read_toml
from config.loader import default_text
from config.masking import MASK, masked, unmasked
from config.site import Site


def parse_site(text: str, source: str, kept: Mapping[str, Any] | None = None) -> Site:
    """Read a site document from TOML and validate it as a whole.

    Args:
        text: TOML.
        source: the name of the file, for messages.
        kept: the stored document in force; its secrets fill what an export masked.

    Raises:
        ConfigError: every problem found, each with its line.
    """
    document = unmasked(read_toml(text, source), dict(kept or {}))

    def where(location: Location) -> str:
        line = line_of(text, location)
        return f"{source}, line {line}" if line else source

    if left := _still_masked(document, ()):
        allowed = "is a mask, not a secret: write the secret itself"
        raise ConfigError([Problem(where(at), dotted(at), MASK, allowed) for at in left])
    return _validated(document, where)


def site_of(document: Mapping[str, Any], source: str = "stored site configuration") -> Site:
    """Validate a stored document.

    Raises:
        ConfigError: it was stored by another version of the software and does not fit this one.
    """
    return _validated(dict(document), lambda _location: source)


def _validated(document: dict[str, Any], where: Any) -> Site:
    """Validate, with messages for people."""
    try:
        return Site.model_validate(document)
    except ValidationError as error:
        raise ConfigError(problems_of(error, Site, where)) from error


def _still_masked(value: Any, at: Location) -> list[Location]:
    """Find masks that no stored secret could fill."""
    if isinstance(value, dict):
        return [hit for key, inner in value.items() for hit in _still_masked(inner, (*at, key))]
    if isinstance(value, list):
        return [hit for i, inner in enumerate(value) for hit in _still_masked(inner, (*at, i))]
    return [at] if isinstance(value, str) and MASK in value else []


def document_of(site: Site) -> dict[str, Any]:
    """Give the JSON document that is stored; keys without a value are left out."""
    return site.model_dump(mode="json", exclude_none=True)


def toml_of(document: Mapping[str, Any]) -> str:
    """Write a document as TOML with its secrets masked."""
    return tomli_w.dumps(masked(_without_none(dict(document))), indent=2)


def _without_none(value: Any) -> Any:
    """TOML knows no null: leave such keys out."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value]
    return value


def difference(old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """Compare two documents as unified diff lines of their masked TOML; empty when equal.

    A secret that changed shows as a line of its own, never as its value.
    """
    before, after = toml_of(old).splitlines(), toml_of(new).splitlines()
    lines = list(difflib.unified_diff(before, after, *names, lineterm="", n=2))
    if not lines and _without_none(dict(old)) != _without_none(dict(new)):
        return [f"--- {names[0]}", f"+++ {names[1]}", "a secret was changed"]
    return lines


def first_site(config: Path | None) -> tuple[str, str]:
    """Give text and source of the site file that becomes version 1.

    It is `site.toml` beside the settings file when there is one, else the shipped default.
    """
    if config is not None and (beside := config.absolute().parent / "site.toml").is_file():
        return beside.read_text("utf-8"), str(beside)
    return default_text("site.toml"), "site.toml (shipped default)"
