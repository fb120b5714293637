"""`demo`: the main job, with simulated carts and a simulated EHR."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import GATEWAY


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=GATEWAY)(demo)


def demo(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of real ECG files to play instead."),
    ] = None,
    leave: Annotated[
        bool,
        typer.Option(
            "--exit", help="End when every ECG has its outcome; exit status 0 if all are well."
        ),
    ] = False,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="The EHR wants the result PDF in each result.")
    ] = False,
) -> None:
    """Play ECGs from a simulated cart through a whole gateway to a simulated EHR."""
    from gateway.demo.run import run_demo

    raise typer.Exit(run_demo(data, leave, pdf=pdf))
