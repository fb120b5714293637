"""`explain`, `ablate`: why a model says what it says, and what its parts are worth."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.model import (
    Cohort,
    Device,
    Named,
    Out,
    needs_train_extra,
    scorer_of,
    size_of,
)
from gateway.cli.options import MODEL, Config, fail, plain, show, table
from gateway.cli.progress import Ticker


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (explain, ablate):
        app.command(rich_help_panel=MODEL)(command)


def explain(
    files: Annotated[list[Path], typer.Argument(help="ECG files, or WFDB headers (.hea).")],
    out: Out,
    bundle: Named = "reference",
    against: Annotated[
        str, typer.Option(help="Another bundle to compare with: its name, or its directory.")
    ] = "",
    occlude: Annotated[
        bool, typer.Option(help="Also cover header, labels and pulses and score again.")
    ] = False,
    config: Config = None,
) -> None:
    """Show where the model looks: attention maps and Grad-CAM over the page, and their shares.

    Writes the pictures of each file as PNG, its figures as JSON, and all of it as explain.html.
    Exit status 1 when a file has no score.
    """
    explain_report = needs_train_extra("inference.explain_report")
    named = _named(files)
    found = _explained(named, out, bundle, config, occlude=occlude)
    other = None
    if against:
        other = _explained({n: named[n] for n in found}, out / "against", against, config)
        found = {name: each for name, each in found.items() if name in other}
    if found:
        _show_shares(found, explain_report.SHARES)
        (out / "explain.html").write_text(explain_report.html(found, other, (bundle, against)))
        typer.echo(f"report: {out / 'explain.html'}")
    if len(found) < len(files):
        raise typer.Exit(1)


def _named(files: list[Path]) -> dict[str, Path]:
    """Name each file by its stem; a number tells files of one name apart."""
    named: dict[str, Path] = {}
    for file in files:
        names = itertools.chain([file.stem], (f"{file.stem}-{n}" for n in itertools.count(2)))
        named[next(name for name in names if name not in named)] = file
    return named


def _explained(
    named: dict[str, Path], out: Path, bundle: str, config: Path | None, *, occlude: bool = False
) -> dict[str, Any]:
    """Explain and save each file; say why one cannot be."""
    from inference import explain as explaining
    from inference.decode import decode_file
    from inference.errors import Undecodable, Unscorable
    from inference.runtime.eager import network_of

    scorer = scorer_of(config, bundle)
    network, ticker, found = network_of(scorer.bundle), Ticker(), {}
    for done, (name, file) in enumerate(named.items(), start=1):
        try:
            found[name] = explaining.explain(scorer, network, decode_file(file), occlude=occlude)
        except (Undecodable, Unscorable, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            _say(f"{file}: not explained: {why}")
        else:
            explaining.save(found[name], out / name)
        ticker("explaining", done, len(named))
    return found


def _show_shares(found: dict[str, Any], parts: tuple[str, ...]) -> None:
    rows = table("file", "score", *parts, title="Share of saliency by part of the beat")
    for name, each in found.items():
        shares = (f"{each.shares[part]:.0%}" for part in parts)
        rows.add_row(*plain(name), f"{each.probability:.3f}", *shares)
    show(rows)


def ablate(
    cohort: Cohort,
    out: Out,
    epochs: Annotated[int, typer.Option(help="Passes of each run.")] = 8,
    axes: Annotated[
        str, typer.Option(help="Of: attention, loss, preprocess, size; comma separated.")
    ] = "attention,loss,preprocess,size",
    only: Annotated[
        list[str] | None, typer.Option(help="Only this variant, by its name; may be repeated.")
    ] = None,
    size: Annotated[str, typer.Option(help="Input of the base, HEIGHTxWIDTH.")] = "128x256",
    sizes: Annotated[
        str, typer.Option(help="Variants of the axis `size`.")
    ] = "128x256,224x224,256x384,512x768",
    batch: Annotated[int, typer.Option(help="ECGs per step.")] = 16,
    peak_lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Of every run.")] = 1,
    folds: Annotated[int, typer.Option(help="Folds dealt by patient.")] = 5,
    test_fold: Annotated[int, typer.Option(help="The fold that tests.")] = 0,
    device: Device = "cpu",
) -> None:
    """Train the declared variants one axis at a time and compare them with the base settings.

    Interrupted, it goes on when it is called again; the report is written anew after each variant.
    """
    ablation = needs_train_extra("inference.ablate")
    from inference.network import NetworkConfig
    from inference.preprocess import Recipe
    from inference.train import TrainConfig

    height, width = size_of(size)
    base = TrainConfig(
        epochs=epochs,
        batch=batch,
        peak_lr=peak_lr,
        seed=seed,
        device=device,
        network=NetworkConfig(height, width),
        recipe=Recipe(input_height=height, input_width=width),
    )
    config = ablation.AblateConfig(
        base=base,
        axes=axes.split(","),
        only=only or (),
        sizes=[size_of(each) for each in sizes.split(",")],
        folds=folds,
        test_fold=test_fold,
    )
    ticker = Ticker()
    try:
        results = ablation.ablate(
            cohort, out, config, tell=ticker, begin=_say, progress=ticker.train
        )
    except ValueError as error:
        fail(str(error), 2)
    _show_ablation(results)
    typer.echo(f"report: {out / 'ablation.html'}")


def _show_ablation(results: list[dict[str, Any]]) -> None:
    from inference.report import interval

    rows = table("axis", "variant", "AUROC", "AUPRC", "F1", "AUROC less base")
    for each in results:
        moved = each["difference"]
        rows.add_row(
            each["axis"],
            each["variant"],
            *(interval(each["metrics"][name]) for name in ("auroc", "auprc", "f1")),
            interval(moved["auroc"]) if moved else "",
        )
    show(rows)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
