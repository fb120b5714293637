"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.store import Store

GATEWAY, TOOLS, MODEL = "Run the gateway", "Look and check", "Model"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="ECG_GATEWAY_CONFIG",
        help="TOML file of the process settings; without it the shipped defaults hold.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Data directory; wins over the settings. Default: ./data",
        show_default=False,
    ),
]


def settings_of(config: Path | None, data: Path | None) -> Settings:
    """Load the settings.

    Raises:
        ConfigError: they cannot be used.
    """
    from config.loader import load_settings

    return load_settings(config, data_dir=data)


def store_of(settings: Settings) -> Store:
    """Open the store of a gateway that has been started before.

    Raises:
        typer.Exit: there is none yet; a command that looks must not create one.
    """
    from gateway.roles.process import store_of as open_it

    if not settings.database.url and not (settings.data_dir / "gateway.sqlite3").exists():
        fail(f"no gateway has been started in {settings.data_dir}; name it with --data or --config")
    return open_it(settings)


def fail(message: str, status: int = 1) -> NoReturn:
    """Say why, and exit.

    Raises:
        typer.Exit: always.
    """
    typer.echo(f"ecg-gateway: {message}", err=True)
    raise typer.Exit(status)


@contextmanager
def settings_told() -> Iterator[None]:
    """Say in a sentence what is wrong with the settings that are put together inside.

    Raises:
        typer.Exit: they cannot be used.
    """
    from inference.errors import BundleError

    try:
        yield
    except (ValueError, BundleError) as error:
        fail(str(error), 2)


def check_folder(out: Path) -> None:
    """Refuse a directory that cannot be written to, before any work is done.

    Raises:
        typer.Exit: it is a file, or nothing may be written there.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        fail(f"--out {out}: {there} is a file", 2)
    if not os.access(there, os.W_OK | os.X_OK):
        fail(f"--out {out}: {there} cannot be written to", 2)


def who() -> str:
    """Name the account that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"


def table(*columns: str, title: str = "") -> Any:
    """Give a rich table of our look."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def plain(*cells: str) -> tuple[str, ...]:
    """Give cells whose brackets are text, not markup."""
    from rich.markup import escape

    return tuple(escape(cell) for cell in cells)


def show(*things: Any) -> None:
    """Print with rich; plain where the output is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 160
    for thing in things:
        console.print(thing)
