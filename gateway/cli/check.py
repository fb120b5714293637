"""`check-config`, `doctor` and `version`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import TOOLS, Config, Data, plain, settings_of, show, table

if TYPE_CHECKING:
    from config.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check-config", rich_help_panel=TOOLS)(check_config)
    app.command(rich_help_panel=TOOLS)(doctor)
    app.command(rich_help_panel=TOOLS)(version)


def check_config(
    config: Config = None,
    data: Data = None,
    site: Annotated[
        Path | None, typer.Option("--site", help="Site file; default: the one beside --config.")
    ] = None,
    show_values: Annotated[
        bool, typer.Option("--show", help="Print the settings in force, secrets masked.")
    ] = False,
) -> None:
    """Check settings and site file without starting anything; exit status 2 when one is wrong.

    With `bundles_key`, the bundle that the site file names must be signed with it; what the file
    beside the settings names counts no more once the gateway was started: see `doctor` then.
    """
    from config.documents import first_site, parse_site, toml_of
    from gateway.cli.site import check_bundle

    settings = settings_of(config, data)
    if site is not None:
        text, source = site.read_text("utf-8"), str(site)
    else:
        text, source = first_site(config)
    bundle = parse_site(text, source).model.bundle
    if settings.bundles_key and (site is not None or not _started(settings)):
        check_bundle(settings, bundle)
    if show_values:
        typer.echo(toml_of(settings.model_dump(mode="json")), nl=False)
    typer.echo(f"ok: settings {config or '(shipped defaults)'}, site {source}")


def _started(settings: Settings) -> bool:
    """Tell whether a database may hold the site configuration already."""
    return bool(settings.database.url) or (settings.data_dir / "gateway.sqlite3").exists()


def doctor(config: Config = None, data: Data = None) -> None:
    """Examine this installation: a table of what works and what to do about the rest.

    Exit status 1 when something does not work.
    """
    from gateway.cli.doctor import examine

    rows = table("", "what", "found", "what to do")
    findings = list(examine(settings_of(config, data), config))
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[bold red]✗[/]"
        advice = "" if finding.ok else finding.advice
        rows.add_row(mark, *plain(finding.what, finding.found, advice))
    show(rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def version() -> None:
    """Print the version."""
    from importlib import metadata

    typer.echo(f"ecg-gateway {metadata.version('ecg-gateway')}")
