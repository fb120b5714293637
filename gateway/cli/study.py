"""`explain`, `ablate`: why a model says what it says, and what its parts are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.model_options import (
    Batch,
    Cohort,
    Device,
    Epochs,
    Folds,
    Named,
    Out,
    PeakRate,
    Pretrained,
    Seed,
    Settings,
    TestFold,
    Workers,
    needs_train_extra,
    resumable,
    say,
    scorer_of,
    shared_options,
    size_of,
    training_of,
)
from gateway.cli.options import (
    MODEL,
    Config,
    check_folder,
    plain,
    settings_told,
    show,
    table,
)
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
    A file's name may tell who the patient is: what is written numbers the files in their order, and
    only the terminal says which is which. Exit status 1 when a file has no score.
    """
    check_folder(out)
    explain_report = needs_train_extra("inference.explain_report")
    named = {f"ecg-{number}": file for number, file in enumerate(files, start=1)}
    found = _explained(named, out, bundle, config, occlude=occlude)
    other = None
    if against:
        other = _explained({n: named[n] for n in found}, out / "against", against, config)
        found = {name: each for name, each in found.items() if name in other}
    if found:
        _show_shares(found, named)
        (out / "explain.html").write_text(explain_report.html(found, other, (bundle, against)))
        typer.echo(f"report: {out / 'explain.html'}")
    if len(found) < len(files):
        raise typer.Exit(1)


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
            say(f"{file}: not explained: {why}")
        else:
            explaining.save(found[name], out / name)
        ticker("explaining", done, len(named))
    return found


def _show_shares(found: dict[str, Any], named: dict[str, Path]) -> None:
    from inference.explain import RUNTIME, SHARES
    from inference.thresholds import written

    columns = ("ECG", "file", f"score ({RUNTIME})", *SHARES)
    rows = table(*columns, title="Share of saliency by part of the beat")
    for name, each in found.items():
        shares = (f"{each.shares[part]:.0%}" for part in SHARES)
        rows.add_row(
            *plain(name, str(named[name])), written(each.probability, each.threshold), *shares
        )
    show(rows)


def ablate(
    ctx: typer.Context,
    cohort: Cohort,
    out: Out,
    epochs: Epochs = 8,
    axes: Annotated[
        str, typer.Option(help="Comma separated; the last one only with --pretrained.")
    ] = "attention,loss,preprocess,size,pretraining",
    only: Annotated[
        list[str] | None, typer.Option(help="Only this variant, by its name; may be repeated.")
    ] = None,
    size: Annotated[str, typer.Option(help="Input of the base, HEIGHTxWIDTH.")] = "128x256",
    sizes: Annotated[
        str, typer.Option(help="Variants of the axis `size`.")
    ] = "128x256,224x224,256x384,512x768",
    batch: Batch = 16,
    peak_lr: PeakRate = 5e-4,
    pretrained: Pretrained = "",
    seed: Seed = 1,
    folds: Folds = 5,
    test_fold: TestFold = 0,
    settings: Settings = None,
    device: Device = "cpu",
    workers: Workers = None,
    draw_once: Annotated[
        bool,
        typer.Option(
            help="Keep the training examples in OUT (a byte a pixel, epoch and ECG) for all that "
            "draw alike: the same results, and a card waits for the drawing only once."
        ),
    ] = False,
) -> None:
    """Train the declared variants one axis at a time and compare them with the base settings.

    Interrupted, it goes on when it is called again; the report is written anew after each variant.
    """
    ablation = needs_train_extra("inference.ablate")

    check_folder(out)
    options = {
        **shared_options(size, epochs, batch, peak_lr, seed, device, workers),
        "pretrained": {"pretrained": pretrained},
    }
    with settings_told():
        base = training_of(ctx, settings, options)
        config = ablation.AblateConfig(
            base=base,
            axes=axes.split(","),
            only=only or (),
            sizes=[size_of(each) for each in sizes.split(",")],
            folds=folds,
            test_fold=test_fold,
            draw_once=draw_once,
        )
    ticker = Ticker()
    with resumable():
        results = ablation.ablate(
            cohort, out, config, tell=ticker, begin=say, progress=ticker.train
        )
    _show_ablation(results)
    typer.echo(f"report: {out / 'ablation.html'}")


def _show_ablation(results: list[dict[str, Any]]) -> None:
    from inference.markup import interval

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
