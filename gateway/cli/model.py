"""`train`, `evaluate`, `ablate`, `explain`, `recalibrate`: from a cohort to a validated bundle."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import MODEL, Config, fail, plain, settings_of, show, table
from gateway.cli.progress import Ticker

if TYPE_CHECKING:
    from inference.score import Scorer

Cohort = Annotated[
    Path,
    typer.Option(
        "--cohort", help="CSV: path, label, patient, and optionally fold, site, sex, age, time."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Directory to write to.")]
Prevalence = Annotated[float, typer.Option(help="Of the outcome in your hospital, 0 to 1.")]
Daily = Annotated[float, typer.Option(help="ECGs a day in your hospital, for alerts a day.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Named = Annotated[str, typer.Option("--bundle", help="A bundle's name, or its directory.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (train, evaluate, recalibrate, explain, ablate):
        app.command(rich_help_panel=MODEL)(command)


def train(
    cohort: Cohort,
    out: Out,
    epochs: Annotated[int, typer.Option(help="Passes over the training ECGs.")] = 12,
    batch: Annotated[int, typer.Option(help="ECGs per step.")] = 16,
    peak_lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-4,
    loss: Annotated[str, typer.Option(help="brloss, brloss-positive, bce, ...")] = "brloss",
    sa: Annotated[str, typer.Option(help="Layers followed by attention, or `none`.")] = "1,2,3",
    gate: Annotated[str, typer.Option(help="multiply or residual.")] = "multiply",
    size: Annotated[str, typer.Option(help="Input, HEIGHTxWIDTH in pixels.")] = "128x256",
    folds: Annotated[int, typer.Option(help="Folds dealt by patient.")] = 5,
    test_fold: Annotated[int, typer.Option(help="The fold that tests.")] = 0,
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "site",
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    endpoint: Annotated[str, typer.Option(help="What label 1 means.")] = "the cohort's label",
    pretrained: Annotated[str, typer.Option(help="Local safetensors to start from.")] = "",
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 1,
    device: Device = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw the ECGs.")] = 1,
    int8: Annotated[bool, typer.Option(help="Also make the int8 model.")] = True,
    prevalence: Prevalence = 0.002,
    ecgs_per_day: Daily = 150.0,
) -> None:
    """Train on a cohort, build a bundle, validate it internally. An interrupted run goes on.

    Several CUDA cards: `torchrun --nproc-per-node 4 --no-python ecg-gateway train ...`.
    """
    develop = _needs_train_extra("inference.develop")
    from inference.loss import LossConfig
    from inference.network import NetworkConfig
    from inference.preprocess import Recipe
    from inference.processes import joined, rank
    from inference.train import TrainConfig

    height, width = _size(size)
    if pretrained and not Path(pretrained).is_file():
        fail(f"--pretrained {pretrained}: no such file", 2)
    try:
        config = TrainConfig(
            epochs=epochs,
            batch=batch,
            peak_lr=peak_lr,
            seed=seed,
            device=device,
            workers=workers,
            pretrained=pretrained,
            loss=LossConfig(loss),  # type: ignore[arg-type]
            network=NetworkConfig(height, width, _layers(sa), gate),  # type: ignore[arg-type]
            recipe=Recipe(input_height=height, input_width=width),
        )
    except ValueError as error:
        fail(str(error), 2)
    use = develop.DevelopConfig(
        folds, test_fold, name, version, endpoint, int8, prevalence, ecgs_per_day
    )
    with joined(device):
        ticker = Ticker()
        quiet = (lambda *_: None) if rank() else ticker
        results = develop.develop(cohort, out, config, use, ticker.train, quiet)
    if not results:  # another process reports
        return
    _show_metrics(results)
    typer.echo(f"bundle: {out / 'bundle'}\nreport: {out / 'report' / 'report.html'}")


def evaluate(
    cohort: Cohort,
    out: Out,
    bundle: Named = "reference",
    config: Config = None,
    prevalence: Prevalence = 0.002,
    ecgs_per_day: Daily = 150.0,
    draws: Annotated[int, typer.Option(help="Bootstrap draws, by patient.")] = 1000,
    internal: Annotated[
        Path | None, typer.Option(help="results.json of the internal validation, for the drop.")
    ] = None,
    title: Annotated[str, typer.Option(help="Of the report.")] = "External validation",
) -> None:
    """Validate a bundle on a cohort: results.json, scores.csv and a self-contained report.html."""
    from inference import evaluate as evaluation

    use = evaluation.EvaluateConfig(prevalence, ecgs_per_day, draws, title=title)
    results = evaluation.evaluate(
        _scorer(config, bundle), cohort, out, use, internal=internal, tell=Ticker()
    )
    _show_metrics(results)
    typer.echo(f"report: {out / 'report.html'}")


def recalibrate(
    cohort: Cohort,
    out: Out,
    bundle: Named = "reference",
    config: Config = None,
    rule: Annotated[str, typer.Option(help="f1, sensitivity or cost.")] = "f1",
    sensitivity: Annotated[float, typer.Option(help="Wanted, for that rule.")] = 0.9,
    miss: Annotated[float, typer.Option(help="Cost of a missed case.")] = 10.0,
    false_alarm: Annotated[float, typer.Option(help="Cost of a false alarm.")] = 1.0,
    version: Annotated[str, typer.Option(help="Of the new bundle.")] = "",
    validated_by: Annotated[
        str, typer.Option(help="Who vouches that it is validated at this site.")
    ] = "",
) -> None:
    """Fit calibration and threshold to a site's cohort; the weights stay. Writes a new bundle."""
    from inference.cohort import check_duplicates, read_cohort, with_digests
    from inference.evaluate import score_cohort
    from inference.recalibrate import RecalibrateConfig
    from inference.recalibrate import recalibrate as fit

    if rule not in ("f1", "sensitivity", "cost"):
        fail(f"--rule is f1, sensitivity or cost, not {rule}", 2)
    if out.exists():
        fail(f"{out} exists already", 2)
    cases = with_digests(read_cohort(cohort))
    check_duplicates(cases)
    scorer = _scorer(config, bundle)
    use = RecalibrateConfig(
        rule,  # type: ignore[arg-type]
        sensitivity,
        miss,
        false_alarm,
        version,
        validated_by,
    )
    made = fit(scorer.bundle, score_cohort(scorer, cases, Ticker()), out, use)
    line = made.card["calibration"]
    typer.echo(
        f"{out}: {made.name} {made.version}, slope {line['slope']:.3f}, "
        f"intercept {line['intercept']:.3f}, threshold {made.threshold:.4f}"
    )


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
    explaining = _needs_train_extra("inference.explain")
    named = _named(files)
    found = _explained(named, out, bundle, config, occlude=occlude)
    other = None
    if against:
        other = _explained({n: named[n] for n in found}, out / "against", against, config)
        found = {name: each for name, each in found.items() if name in other}
    if found:
        _show_shares(found, explaining.SHARES)
        (out / "explain.html").write_text(explaining.html(found, other, (bundle, against)))
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

    scorer = _scorer(config, bundle)
    network, ticker, found = explaining.network_of(scorer.bundle), Ticker(), {}
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
    ablation = _needs_train_extra("inference.ablate")
    from inference.network import NetworkConfig
    from inference.preprocess import Recipe
    from inference.train import TrainConfig

    height, width = _size(size)
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
        sizes=[_size(each) for each in sizes.split(",")],
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
    rows = table("axis", "variant", "AUROC", "AUPRC", "F1", "AUROC less base")
    for each in results:
        moved = each["difference"]
        rows.add_row(
            each["axis"],
            each["variant"],
            *(_interval(each["metrics"][name]) for name in ("auroc", "auprc", "f1")),
            _interval(moved["auroc"]) if moved else "",
        )
    show(rows)


def _needs_train_extra(module: str) -> Any:
    """Import a module that needs torch.

    Raises:
        typer.Exit: the extra is not installed.
    """
    import importlib

    from inference.errors import RuntimeMissing

    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeMissing):
        fail("this command needs torch: install `ecg-gateway[train]`", 2)


def _scorer(config: Path | None, bundle: str) -> Scorer:
    """Load a bundle by name, or by its directory."""
    from gateway.roles.model import load_scorer, threads_of
    from inference.score import Scorer

    settings = settings_of(config, None)
    if (Path(bundle) / "card.toml").is_file():
        return Scorer.load(Path(bundle), settings.worker.runtime, threads_of(settings))
    return load_scorer(settings, bundle)


def _size(given: str) -> tuple[int, int]:
    height, _, width = given.partition("x")
    if not (height.isdigit() and width.isdigit()):
        fail(f"--size is HEIGHTxWIDTH, not {given}", 2)
    return int(height), int(width)


def _layers(given: str) -> tuple[int, ...]:
    if given == "none":
        return ()
    if not all(part.strip().isdigit() for part in given.split(",")):
        fail(f"--sa names layers like 1,2,3, or none, not {given}", 2)
    return tuple(int(part) for part in given.split(","))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _show_metrics(results: dict[str, Any]) -> None:
    from inference.report import NAMES

    rows = table("metric", "estimate (95 % interval)")
    for name, value in results["metrics"].items():
        rows.add_row(NAMES[name], _interval(value))
    real, cohort = results["at_real_prevalence"], results["cohort"]
    rows.add_row("F1 of all positive", f"{results['baselines']['all_positive_f1']:.3f}")
    rows.add_row(
        f"at {real['prevalence']:.2%} prevalence",
        f"PPV {real['ppv']:.4f}, {real['alerts_per_day']:.1f} alerts a day",
    )
    rows.add_row("ECGs scored", f"{cohort['ecgs']}, {cohort['positive']} with the outcome")
    reasons = ", ".join(f"{count} {reason}" for reason, count in cohort["refused"].items())
    rows.add_row("not scored", reasons or "0")
    show(rows)


def _interval(value: list[float | None]) -> str:
    from inference.report import interval

    return interval(value)
