"""`train`, `evaluate`, `recalibrate`: from a cohort to a validated bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.model_options import (
    AllowKnown,
    Batch,
    Cohort,
    Daily,
    Device,
    Epochs,
    FalseAlarm,
    Folds,
    Miss,
    Named,
    Out,
    PeakRate,
    Pretrained,
    Prevalence,
    Rule,
    Seed,
    Sensitivity,
    Settings,
    TestFold,
    Workers,
    explicit,
    needs_train_extra,
    resumable,
    say,
    scorer_of,
    shared_options,
    training_of,
)
from gateway.cli.options import MODEL, Config, check_folder, fail, settings_told, show, table
from gateway.cli.progress import Ticker

if TYPE_CHECKING:
    from inference.thresholds import ThresholdRule


_LOSSES = "brloss, brloss-positive, brloss-ema, bce, bce-weighted or focal."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (train, evaluate, recalibrate):
        app.command(rich_help_panel=MODEL)(command)


def train(
    ctx: typer.Context,
    cohort: Cohort,
    out: Out,
    epochs: Epochs = 60,
    batch: Batch = 16,
    peak_lr: PeakRate = 5e-4,
    loss: Annotated[str, typer.Option(help=_LOSSES)] = "brloss",
    sa: Annotated[str, typer.Option(help="Layers followed by attention, or `none`.")] = "1,2,3",
    gate: Annotated[str, typer.Option(help="multiply or residual.")] = "multiply",
    size: Annotated[str, typer.Option(help="Input, HEIGHTxWIDTH in pixels.")] = "128x256",
    folds: Folds = 5,
    test_fold: TestFold = 0,
    all_folds: Annotated[
        bool,
        typer.Option(
            "--all-folds",
            help="Test every fold in turn, in OUT/fold-0 and so on, and pool the results.",
        ),
    ] = False,
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "site",
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    endpoint: Annotated[str, typer.Option(help="What label 1 means.")] = "the cohort's label",
    pretrained: Pretrained = "",
    settings: Settings = None,
    seed: Seed = 1,
    device: Device = "cpu",
    workers: Workers = None,
    int8: Annotated[bool, typer.Option(help="Also make the int8 model.")] = True,
    rule: Rule = "f1",
    sensitivity: Sensitivity = 0.9,
    miss: Miss = 10.0,
    false_alarm: FalseAlarm = 1.0,
    prevalence: Prevalence = 0.002,
    ecgs_per_day: Daily = 150.0,
) -> None:
    """Train on a cohort, build a bundle, validate it internally. An interrupted run goes on.

    Several CUDA cards: `torchrun --nproc-per-node 4 --no-python ecg-gateway train ...`.
    """
    develop, every = (needs_train_extra(f"inference.{name}") for name in ("develop", "folds"))
    from inference.processes import joined, rank

    check_folder(out)
    if all_folds and explicit(ctx, "test_fold"):
        fail("--all-folds tests every fold: leave out --test-fold", 2)
    options = {
        **shared_options(size, epochs, batch, peak_lr, seed, device, workers),
        "loss": {"loss": {"kind": loss}},
        "sa": {"network": {"sa_after": _layers(sa)}},
        "gate": {"network": {"gate": gate}},
        "pretrained": {"pretrained": pretrained},
    }
    with settings_told():
        config = training_of(ctx, settings, options)
        use = develop.DevelopConfig(
            folds,
            test_fold,
            name,
            version,
            endpoint,
            int8,
            prevalence,
            ecgs_per_day,
            rule_of(rule, sensitivity, miss, false_alarm),
        )
    with joined(config.device), resumable():
        ticker = Ticker()
        told: dict[str, Any] = {} if rank() else {"report": ticker.train, "tell": ticker}
        if all_folds:
            begin = {} if rank() else {"begin": say}
            results = every.develop_all(cohort, out, config, use, **told, **begin)
        else:
            results = develop.develop(cohort, out, config, use, **told)
    if not results:  # another process reports
        return
    _show_metrics(results)
    if all_folds:
        _show_folds(results["folds"])
    typer.echo(f"bundle: {out / ('fold-*/bundle' if all_folds else 'bundle')}")
    typer.echo(f"report: {out / 'report' / 'report.html'}")


def evaluate(
    cohort: Cohort,
    out: Out,
    bundle: Named = "reference",
    config: Config = None,
    prevalence: Prevalence = 0.002,
    ecgs_per_day: Daily = 150.0,
    draws: Annotated[int, typer.Option(min=20, help="Bootstrap draws, by patient.")] = 1000,
    internal: Annotated[
        Path | None, typer.Option(help="results.json of the internal validation, for the drop.")
    ] = None,
    title: Annotated[str, typer.Option(help="Of the report.")] = "External validation",
    allow_known: AllowKnown = False,
) -> None:
    """Validate a bundle on a cohort: results.json, scores.csv and a self-contained report.html."""
    from inference.evaluate import evaluate as validate
    from inference.figures import EvaluateConfig

    check_folder(out)
    with settings_told():
        use = EvaluateConfig(prevalence, ecgs_per_day, draws, title=title)
    results = validate(
        scorer_of(config, bundle),
        cohort,
        out,
        use,
        internal=internal,
        allow_known=allow_known,
        tell=Ticker(),
    )
    _show_metrics(results)
    typer.echo(f"report: {out / 'report.html'}")


def recalibrate(
    cohort: Cohort,
    out: Out,
    bundle: Named = "reference",
    config: Config = None,
    rule: Rule = "f1",
    sensitivity: Sensitivity = 0.9,
    miss: Miss = 10.0,
    false_alarm: FalseAlarm = 1.0,
    prevalence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Of the outcome in your hospital. Without it, probabilities and threshold hold "
            "only at the cohort's.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Of the new bundle.")] = "",
    validated_by: Annotated[
        str, typer.Option(help="Who vouches that it is validated at this site.")
    ] = "",
    allow_known: AllowKnown = False,
) -> None:
    """Fit calibration and threshold to a site's cohort; the weights stay. Writes a new bundle."""
    from inference.cohort import check_duplicates, read_cohort, with_digests
    from inference.known import may_judge
    from inference.outcomes import score_cohort
    from inference.parity import remeasure
    from inference.recalibrate import RecalibrateConfig
    from inference.recalibrate import recalibrate as fit

    if out.exists():
        fail(f"{out} exists already", 2)
    check_folder(out)
    with settings_told():
        choice = rule_of(rule, sensitivity, miss, false_alarm)
        use = RecalibrateConfig(choice, prevalence, version, validated_by)
    cases = with_digests(read_cohort(cohort))
    check_duplicates(cases)
    scorer = scorer_of(config, bundle)
    judges, known = may_judge(cases, scorer.bundle, allow_known=allow_known)
    _say_known(len(known), counted=allow_known)
    outcomes = score_cohort(scorer, judges, Ticker())
    made = remeasure(fit(scorer.bundle, outcomes, out, use), scorer.bundle, outcomes, Ticker())
    line = made.card["calibration"]
    typer.echo(
        f"{out}: {made.name} {made.version}, slope {line['slope']:.3f}, "
        f"intercept {line['intercept']:.3f}, threshold {made.threshold:.5f}"
    )
    typer.echo(("! " if prevalence is None else "") + line["note"])
    _say_runtimes(made.card.get("parity", {}))
    if outcomes.refused:
        typer.echo(
            f"! not scored and not fitted to: {_reasons(outcomes.refused)}; "
            f"{outcomes.refused_positive} of them with the outcome"
        )


def _say_runtimes(parity: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell how far the runtimes are from fp32 at the new threshold, and which may be used."""
    for name, found in parity.items():
        typer.echo(
            f"{'' if found['holds'] else '! not used: '}{name}: at most "
            f"{found['largest_difference']:.4f} from fp32, {found['category_changes']} of "
            f"{found['inputs']} ECGs on the other side of the threshold"
        )


def rule_of(rule: str, sensitivity: float, miss: float, false_alarm: float) -> ThresholdRule:
    """Make the rule that chooses a threshold.

    Raises:
        ValueError: there is no such rule, or nothing can be chosen by its numbers.
    """
    from inference.thresholds import ThresholdRule

    return ThresholdRule(rule, sensitivity, miss, false_alarm)  # type: ignore[arg-type]


def _layers(given: str) -> tuple[int, ...]:
    if given == "none":
        return ()
    if not all(part.strip().isdigit() for part in given.split(",")):
        fail(f"--sa names layers like 1,2,3, or none, not {given}", 2)
    return tuple(int(part) for part in given.split(","))


def _show_metrics(results: dict[str, Any]) -> None:
    from inference.markup import interval
    from inference.report import NAMES

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
    rows.add_row("not scored", _reasons({"out-of-domain": 0} | cohort["refused"]))
    show(rows)
    _say_known(cohort.get("known", 0), counted="known" not in cohort["left_out"])
    said = results["confusion"]
    for names, what in ((("tp", "fp"), "never"), (("tn", "fn"), "always")):
        if not any(said[name] for name in names):
            typer.echo(f"! at its threshold the model would {what} alert on this cohort")


def _show_folds(folds: Mapping[str, Any]) -> None:
    from inference.markup import interval
    from inference.thresholds import written

    rows = table("fold", "ECGs", "with the outcome", "threshold", "AUROC")
    for each in folds["each"]:
        counts = (str(each[name]) for name in ("fold", "ecgs", "positive"))
        rows.add_row(*counts, written(each["threshold"]), interval(each["auroc"]))
    rows.add_row("mean", "", "", "", f"{folds['mean_auroc']:.3f}")
    show(rows)


def _reasons(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))


def _say_known(known: int, *, counted: bool) -> None:
    """Say that the bundle was made with some of these ECGs."""
    if known:
        done = "counted all the same; these are no other data" if counted else "left out"
        typer.echo(f"! ECGs that trained this bundle or chose its threshold: {known}, {done}")
