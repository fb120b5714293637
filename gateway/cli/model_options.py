"""Options and values that the commands of `model` and `study` share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import fail, settings_of

if TYPE_CHECKING:
    from inference.score import Scorer
    from inference.train_config import TrainConfig

Cohort = Annotated[
    Path,
    typer.Option(
        "--cohort",
        help="CSV: path, label, patient, and optionally fold, site, sex, age, time (ISO 8601).",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Directory to write to.")]
Prevalence = Annotated[
    float, typer.Option(min=0, max=1, help="Of the outcome in your hospital, 0 to 1.")
]
Daily = Annotated[float, typer.Option(min=0, help="ECGs a day in your hospital, for alerts a day.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:NUMBER.")]
Named = Annotated[str, typer.Option("--bundle", help="A bundle's name, or its directory.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training ECGs.")]
Batch = Annotated[int, typer.Option(min=1, help="ECGs per step.")]
PeakRate = Annotated[float, typer.Option(min=0, help="Peak learning rate.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same run.")]
Folds = Annotated[int, typer.Option(min=3, help="Folds dealt by patient.")]
TestFold = Annotated[int, typer.Option(min=0, help="The fold that tests.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that draw the ECGs. Default: 1 on the CPU, all cores but one on a card.",
        show_default=False,
    ),
]
Settings = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="JSON like RUN/config.json, or a part of it; options given here win.",
        show_default=False,
    ),
]
Pretrained = Annotated[str, typer.Option(help="Local safetensors to start from.")]
AllowKnown = Annotated[
    bool,
    typer.Option(
        "--allow-known", help="Also take ECGs that the bundle was made with, else left out."
    ),
]
Rule = Annotated[str, typer.Option(help="How the threshold is chosen: f1, sensitivity or cost.")]
Sensitivity = Annotated[float, typer.Option(min=0, max=1, help="Wanted, for that rule.")]
Miss = Annotated[float, typer.Option(min=0, help="Cost of a missed case.")]
FalseAlarm = Annotated[float, typer.Option(min=0, help="Cost of a false alarm.")]

Options = Mapping[str, Any]
"""By the name of an option: the settings that it stands for, in the form of config.json."""


@contextmanager
def resumable() -> Iterator[None]:
    """Say, when Ctrl-C ends what is inside, that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise


def say(text: str) -> None:
    """Tell of slow work on stderr, a line that stays."""
    sys.stderr.write(text + "\n")


def explicit(ctx: typer.Context, name: str) -> bool:
    """Tell whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


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
    """Load a bundle by its name, signed as the settings ask, or by its directory, as it is.

    Raises:
        typer.Exit: the directory holds no bundle.
    """
    from gateway.roles.model import load_scorer, threads_of
    from inference.score import Scorer

    settings = settings_of(config, None)
    if (Path(bundle) / "card.toml").is_file():
        return Scorer.load(Path(bundle), settings.worker.runtime, threads_of(settings))
    if Path(bundle).name != bundle:
        fail(f"--bundle {bundle}: there is no bundle (card.toml) in this directory", 2)
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


def shared_options(
    size: str, epochs: int, batch: int, peak_lr: float, seed: int, device: str, workers: int | None
) -> Options:
    """Give what the options of both trainings stand for.

    Raises:
        typer.Exit: the size is none.
    """
    height, width = size_of(size)
    return {
        "size": {
            "network": {"height": height, "width": width},
            "recipe": {"input_height": height, "input_width": width},
        },
        "epochs": {"epochs": epochs},
        "batch": {"batch": batch},
        "peak_lr": {"peak_lr": peak_lr},
        "seed": {"seed": seed},
        "device": {"device": device},
        "workers": {} if workers is None else {"workers": workers},
    }


def training_of(ctx: typer.Context, settings: Path | None, options: Options) -> TrainConfig:
    """Give a training's settings: an option that was given, else the file, else the default.

    Needs torch.

    Raises:
        ValueError: nothing can be trained with them.
        typer.Exit: the file cannot be read, or there are no weights to start from.
    """
    from inference.batches import workers_for
    from inference.train_config import TrainConfig

    document = {} if settings is None else _read(settings)
    for name, part in options.items():
        if explicit(ctx, name) or not _names(document, part):
            _put(document, part)
    if "workers" not in document:
        document["workers"] = workers_for(str(document["device"]))
    config = TrainConfig.of(document)
    if config.pretrained and not Path(config.pretrained).is_file():
        fail(f"--pretrained {config.pretrained}: no such file", 2)
    return config


def _read(settings: Path) -> dict[str, Any]:
    try:
        document = json.loads(settings.read_text())
    except OSError as error:
        fail(f"--settings {settings}: {error.strerror}", 2)
    except ValueError:
        fail(f"--settings {settings}: not JSON", 2)
    if not isinstance(document, dict):
        fail(f"--settings {settings}: names and values are needed", 2)
    return document


def _names(document: dict[str, Any], part: Options) -> bool:
    """Tell whether a document has any of the settings of `part`."""
    return any(
        name in document
        and not (
            isinstance(value, Mapping)
            and isinstance(document[name], dict)
            and not _names(document[name], value)
        )
        for name, value in part.items()
    )


def _put(document: dict[str, Any], part: Options) -> None:
    """Set the settings of `part`; what is no table where one belongs is left to be refused."""
    for name, value in part.items():
        if not isinstance(value, Mapping):
            document[name] = value
        elif isinstance(document.setdefault(name, {}), dict):
            _put(document[name], value)
