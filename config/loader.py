"""Reads the process settings: commented defaults, then the site's file, then the environment.

    config/gateway.toml (shipped)  <  --config FILE  <  ECG_GATEWAY__SECTION__KEY  <  --data DIR

Any key may also be given as `KEY_file`, in the file or as `ECG_GATEWAY__SECTION__KEY_FILE`: the
path of a file that holds the value, as container secrets do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.errors import ConfigError, Problem
from config.explain import Location, dotted, fields_at, line_of, problems_of, read_toml
from config.settings import Settings

PREFIX = "ECG_GATEWAY__"
DEFAULTS = "gateway.toml"


def default_text(name: str) -> str:
    """Give the text of a shipped commented default, `gateway.toml` or `site.toml`."""
    return resources.files("config").joinpath(name).read_text("utf-8")


def load_settings(
    path: Path | None = None,
    *,
    data_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read settings, once, at the start of a process.

    Args:
        path: the site's TOML file; None for the shipped defaults alone.
        data_dir: the data directory when the command line names one.
        environ: the environment; `os.environ` unless a test says otherwise.

    Returns:
        Validated settings with absolute paths; relative paths are relative to the
            file, without one to the working directory.

    Raises:
        ConfigError: every problem found, each with its line or variable.
    """
    environ = os.environ if environ is None else environ
    text, base = _site_text(path), path.absolute().parent if path else Path.cwd()
    document = _absolute(read_toml(default_text(DEFAULTS), DEFAULTS), base)
    origins: dict[Location, str] = {}
    own = read_toml(text, path.name if path else DEFAULTS)
    _overlay(document, _absolute(own, base))
    _overlay(document, _from_environment(environ, origins))
    if data_dir is not None:
        document["data_dir"] = str(data_dir.absolute())
    where = _finder(path.name if path else DEFAULTS, text, origins)
    _read_files(document, where)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigError(problems_of(error, Settings, where)) from error
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})


def _site_text(path: Path | None) -> str:
    """Read the site's file."""
    if path is None:
        return ""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            [Problem(str(path), "this file", "", f"cannot be read: {reason}")]
        ) from error


def _finder(source: str, text: str, origins: Mapping[Location, str]) -> Any:
    """Give a function that says where a key was set."""

    def where(location: Location) -> str:
        for known in (location, (*location[:-1], f"{location[-1]}_file") if location else ()):
            if known in origins:
                return origins[known]
        line = line_of(text, location)
        return f"{source}, line {line}" if line else source

    return where


def _absolute(own: dict[str, Any], base: Path) -> dict[str, Any]:
    """Resolve the paths of a file against the folder of that file."""
    for key in [key for key in own if key in ("data_dir", "bundles_dir", "bundles_key")]:
        if isinstance(own[key], str):
            own[key] = str(base / own[key])
    for section in [value for value in own.values() if isinstance(value, dict)]:
        for key in [key for key in section if key.endswith("_file")]:
            if isinstance(section[key], str):
                section[key] = str(base / section[key])
    return own


def _overlay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Let `over` win, key by key, sections merged."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(under.get(key), dict):
            _overlay(under[key], value)
        else:
            under[key] = value


def _from_environment(environ: Mapping[str, str], origins: dict[Location, str]) -> dict[str, Any]:
    """Collect `ECG_GATEWAY__SECTION__KEY`; names are read without regard to case."""
    found: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        *sections, key = name.removeprefix(PREFIX).lower().split("__")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = environ[name]
        origins[*sections, key] = f"environment variable {name}"
    return found


def _read_files(document: dict[str, Any], where: Any) -> None:
    """Replace each `KEY_file` by the KEY that the named file holds."""
    for section, values in document.items():
        if not isinstance(values, dict):
            continue
        known = fields_at((section,), Settings)
        for key in [key for key in values if key.endswith("_file") and key not in known]:
            if (target := key.removesuffix("_file")) in known:
                values[target] = _secret((section, key), str(values.pop(key)), where)


def _secret(location: Location, path: str, where: Any) -> str:
    """Read one secret; a trailing line end is not part of it."""
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        allowed = f"allowed is the path of a readable file: {reason}"
        raise ConfigError([Problem(where(location), dotted(location), path, allowed)]) from error
