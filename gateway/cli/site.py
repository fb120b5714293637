"""`config`: the site configuration, versioned in the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import (
    Config,
    Data,
    fail,
    plain,
    settings_of,
    show,
    store_of,
    table,
    who,
)

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.store import SiteVersion, Store

Number = Annotated[
    int | None, typer.Option("--version", help="A version's number; without it the one in force.")
]
Note = Annotated[str, typer.Option("--note", help="Why; kept in the history.")]


def app() -> typer.Typer:
    """Build the group of commands."""
    group = typer.Typer(
        help="Site configuration: who may send, where results go, when to alert.",
        no_args_is_help=True,
    )
    group.command("export")(export)
    group.command("import")(import_)
    group.command()(diff)
    group.command()(history)
    group.command()(rollback)
    group.command()(init)
    return group


def export(config: Config = None, data: Data = None, version: Number = None) -> None:
    """Print a version as TOML, secrets masked; `import` puts masked secrets back."""
    from config.documents import toml_of

    with _opened(config, data) as store:
        typer.echo(toml_of(_version(store, version).document), nl=False)


def import_(
    file: Annotated[Path, typer.Argument(help="TOML file; `-` reads standard input.")],
    config: Config = None,
    data: Data = None,
    note: Note = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate and show the difference only.")
    ] = False,
) -> None:
    """Validate a document as a whole, show what changes, and put it in force.

    A running gateway applies it within about a second, without a restart. A document whose model
    bundle is not installed, or not signed as the settings ask, is refused.
    """
    with _opened(config, data) as store:
        now = _version(store, None)
        document = _document(file, now.document)
        check_bundle(settings_of(config, data), document["model"]["bundle"])
        if not _show_difference(now.document, document, f"version {now.version}", str(file)):
            typer.echo(f"nothing changes: version {now.version} stays in force")
        elif not dry_run:
            number = _save(store, document, note or f"imported from {file.name}", now.version)
            typer.echo(f"version {number} is in force")


def diff(
    file: Annotated[Path | None, typer.Argument(help="TOML file to compare with.")] = None,
    config: Config = None,
    data: Data = None,
    version: Number = None,
    other: Annotated[int | None, typer.Option("--with", help="Another version's number.")] = None,
) -> None:
    """Compare a version with a file or with another version; exit status 1 when they differ."""
    if (file is None) == (other is None):
        fail("name either a FILE or --with VERSION", 2)
    with _opened(config, data) as store:
        old = _version(store, version)
        if file is not None:
            new, name = _document(file, old.document), str(file)
        else:
            new, name = _version(store, other).document, f"version {other}"
        if _show_difference(old.document, new, f"version {old.version}", name):
            raise typer.Exit(1)


def history(config: Config = None, data: Data = None) -> None:
    """List all versions: when, who, why."""
    rows = table("version", "at (UTC)", "who", "note")
    with _opened(config, data) as store:
        for kept in store.site.history():
            at = f"{kept.at:%Y-%m-%d %H:%M:%S}"
            rows.add_row(*plain(str(kept.version), at, kept.who, kept.note))
    show(rows)


def rollback(
    version: Annotated[int, typer.Argument(help="The version to return to.")],
    config: Config = None,
    data: Data = None,
    note: Note = "",
) -> None:
    """Put an older version in force again, as a new version."""
    from config.documents import document_of, site_of

    with _opened(config, data) as store:
        now, old = _version(store, None), _version(store, version)
        document = document_of(site_of(old.document, f"version {version}"))
        check_bundle(settings_of(config, data), document["model"]["bundle"])
        if not _show_difference(
            now.document, document, f"version {now.version}", f"version {version}"
        ):
            typer.echo(f"nothing changes: version {now.version} stays in force")
            return
        number = _save(store, document, note or f"rollback to version {version}", now.version)
        typer.echo(f"version {number} is in force, as version {version} was")


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write gateway.toml and site.toml.")],
) -> None:
    """Write the commented default files to start from; existing files are kept."""
    from config.loader import default_text

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("gateway.toml", "site.toml"):
        try:
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(default_text(name))
        except FileExistsError:
            fail(f"{folder / name} exists and is kept")
        typer.echo(f"written: {folder / name}")


@contextmanager
def _opened(config: Path | None, data: Path | None) -> Iterator[Store]:
    """Open the store for as long as a command runs."""
    with closing(store_of(settings_of(config, data))) as store:
        yield store


def _version(store: Store, number: int | None) -> SiteVersion:
    """Give a version, the one in force when no number is named."""
    try:
        found = store.site.current() if number is None else store.site.get(number)
    except KeyError:
        found = None
    if found is None:
        fail(f"there is no version {number}; see `ecg-gateway config history`")
    return found


def _document(file: Path, kept: dict[str, Any]) -> dict[str, Any]:
    """Read and validate a document.

    Raises:
        ConfigError: it cannot be used.
    """
    from config.documents import document_of, parse_site

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}", 2)
    return document_of(parse_site(text, file.name, kept))


def check_bundle(settings: Settings, name: str) -> None:
    """See that the named bundle is installed and signed as the gateway's settings say.

    Raises:
        typer.Exit: it is not; no worker could score.
    """
    from inference.errors import BundleError
    from inference.installed import find_bundle

    try:
        find_bundle(name, settings.bundles_dir, settings.trusted)
    except BundleError as error:
        fail(f"model.bundle = {name!r}: {error}", 2)


def _show_difference(old: dict[str, Any], new: dict[str, Any], before: str, after: str) -> bool:
    """Print what differs; tell whether anything does."""
    from config.documents import difference

    lines = difference(old, new, (before, after))
    colours = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}
    for line in lines:
        typer.secho(line, fg=colours.get(line[:1]))
    return bool(lines)


def _save(store: Store, document: dict[str, Any], note: str, expected: int) -> int:
    """Put a document in force.

    Raises:
        Conflict: somebody else was faster.
    """
    return store.site.save(document, who=who(), note=note, expected=expected)
