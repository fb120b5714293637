"""`replay ECG_ID`: the same score again from what was kept, or where it differs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import TOOLS, Config, Data, fail, plain, settings_of, show, store_of, table

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.ecg import Score
    from gateway.store import Store
    from gateway.store.rows import EcgRow
    from inference.forms import U8
    from inference.score import Scored, Scorer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=TOOLS)(replay)


def replay(
    ecg_id: Annotated[str, typer.Argument(help="The gateway's identifier of an ECG.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Score a kept ECG again, by the bundle and runtime that scored it, and compare.

    Compared are the images that were judged, pixel for pixel, and the score to the six places that
    a result tells. Nothing is written and nobody is told. Exit status 1 when anything differs.
    """
    from inference.errors import InferenceError

    settings = settings_of(config, data)
    with closing(store_of(settings)) as store:
        row, score = _scored(store, ecg_id)
        try:
            scorer = _scorer(settings, score)
            again = scorer.score(store.blobs.get(row.digest), row.media_type.value)
        except InferenceError as error:
            fail(f"ECG {ecg_id} cannot be scored again: {error}")
        lines = [*_numbers(score, again), *_images(store, row, again)]
    _show(ecg_id, lines)
    if any(then != now for _, then, now in lines):
        raise typer.Exit(1)


def _scored(store: Store, ecg_id: str) -> tuple[EcgRow, Score]:
    try:
        row = store.ecgs.get(ecg_id)
    except KeyError:
        fail(f"there is no ECG {ecg_id}")
    if row.score is None:
        fail(f"ECG {ecg_id} has no score: it is {row.state} {row.reason}".rstrip())
    return row, row.score


def _scorer(settings: Settings, score: Score) -> Scorer:
    """Load what scored it."""
    from gateway.roles.model import threads_of
    from inference.bundle import path_of
    from inference.score import Scorer

    path = path_of(score.bundle, settings.bundles_dir)
    if path is None:
        fail(f"bundle {score.model} {score.version}, SHA-256 {score.bundle}, is not installed here")
    return Scorer.load(path, score.runtime.removesuffix("-cuda"), threads_of(settings))


def _numbers(score: Score, again: Scored) -> list[tuple[str, str, str]]:
    """Give (what, then, now); the threshold is the one that was applied."""
    positive = again.probability >= score.threshold
    return [
        ("bundle", score.bundle, again.bundle),
        ("runtime", score.runtime, again.runtime),
        ("score", f"{score.probability:.6f}", f"{again.probability:.6f}"),
        (f"category at {score.threshold:g}", _category(score.positive), _category(positive)),
    ]


def _category(positive: Any) -> str:
    return "positive" if positive else "negative"


def _images(store: Store, row: EcgRow, again: Scored) -> list[tuple[str, str, str]]:
    """Give (what, then, now), the beginning of the SHA-256 of the pixels."""
    from inference.render import grey_of

    return [
        (name, _digest(grey_of(store.blobs.get(row.images[name]))), _digest(pixels))
        for name, pixels in again.evidence.items()
    ]


def _digest(pixels: U8) -> str:
    import hashlib

    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:16]


def _show(ecg_id: str, lines: list[tuple[str, str, str]]) -> None:
    """Print a line for each thing that was compared."""
    rows = table("what", "then", "now", "", title=f"ECG {ecg_id}")
    for what, then, now in lines:
        same = "[green]same[/]" if then == now else "[bold red]differs[/]"
        rows.add_row(*plain(what, then, now), same)
    show(rows)
