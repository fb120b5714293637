"""`train`, `evaluate`, `recalibrate`: from a cohort to a validated bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import MODEL, Config, fail, settings_of, show, table
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
    for command in (train, evaluate, recalibrate):
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
    develop = needs_train_extra("inference.develop")
    from inference.loss import LossConfig
    from inference.network import NetworkConfig
    from inference.preprocess import Recipe
    from inference.processes import joined, rank
    from inference.train import TrainConfig

    height, width = size_of(size)
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
        scorer_of(config, bundle), cohort, out, use, internal=internal, tell=Ticker()
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
    from inference.outcomes import score_cohort
    from inference.recalibrate import RecalibrateConfig
    from inference.recalibrate import recalibrate as fit

    if rule not in ("f1", "sensitivity", "cost"):
        fail(f"--rule is f1, sensitivity or cost, not {rule}", 2)
    if out.exists():
        fail(f"{out} exists already", 2)
    cases = with_digests(read_cohort(cohort))
    check_duplicates(cases)
    scorer = scorer_of(config, bundle)
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


def needs_train_extra(module: str) -> Any:
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


def scorer_of(config: Path | None, bundle: str) -> Scorer:
    """Load a bundle by name, or by its directory."""
    from gateway.roles.model import load_scorer, threads_of
    from inference.score import Scorer

    settings = settings_of(config, None)
    if (Path(bundle) / "card.toml").is_file():
        return Scorer.load(Path(bundle), settings.worker.runtime, threads_of(settings))
    return load_scorer(settings, bundle)


def size_of(given: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH in pixels.

    Raises:
        typer.Exit: it is something else.
    """
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


def _show_metrics(results: dict[str, Any]) -> None:
    from inference.report import NAMES, interval

    rows = table("metric", "estimate (95 % interval)")
    for name, value in results["metrics"].items():
        rows.add_row(NAMES[name], interval(value))
    real, cohort = results["at_real_prevalence"], results["cohort"]
    rows.add_row("F1 of all positive", f"{results['baselines']['all_positive_f1']:.3f}")
    rows.add_row(
        f"at {real['prevalence']:.2%} prevalence",
        f"PPV {real['ppv']:.4f}, {real['alerts_per_day']:.1f} alerts a day",
    )
    rows.add_row("ECGs scored", f"{cohort['ecgs']}, {cohort['positive']} with the outcome")
    refused = {"out-of-domain": 0} | cohort["refused"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    rows.add_row("not scored", reasons)
    show(rows)
