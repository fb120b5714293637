"""Assembles the command from its parts."""

from __future__ import annotations

import typer

from gateway.cli import bundle, check, demo, ecg, held, model, replay, serve, site, study


def make_app() -> typer.Typer:
    """Build the command line."""
    app = typer.Typer(
        name="ecg-gateway",
        help="Hospital gateway for ECG AI: ECGs in, EIANet scores, acknowledged HL7 alerts out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for part in (serve, check, ecg, replay, held, demo, model, study):
        part.register(app)
    app.add_typer(site.app(), name="config")
    app.add_typer(bundle.app(), name="bundle")
    return app
