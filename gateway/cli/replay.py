"""`replay ECG_ID`: the same score again from what was kept, or where it differs; its result PDF."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
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
    pdf: Annotated[
        Path | None,
        typer.Option("--pdf", help="Write the result PDF here, too. It names the patient."),
    ] = None,
) -> None:
    """Score a kept ECG again, by the bundle and runtime that scored it, and compare.

    Compared are the images that were judged, pixel for pixel, and the score to the six places that
    a result tells. The gateway is left as it is and nobody is told. Exit status 1 when anything
    differs; then no PDF is drawn. One that was sent is written as it was.
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
        differs = any(then != now for _, then, now in lines)
        _show(ecg_id, lines)
        if pdf is not None:
            _write_pdf(pdf, store, row, None if differs else (scorer, again))
    if differs:
        raise typer.Exit(1)


def _write_pdf(
    path: Path, store: Store, row: EcgRow, replayed: tuple[Scorer, Scored] | None
) -> None:
    """Write the result PDF that was sent, else one drawn of what gave the same score again."""
    from gateway.delivery.prepare import RESULT_PDF
    from gateway.delivery.result_pdf import HAS_PDF

    if row.state not in HAS_PDF:
        fail(f"an ECG that is {row.state} has no result PDF")
    if RESULT_PDF in row.images:
        content = store.blobs.get(row.images[RESULT_PDF])
    elif replayed is not None:
        content = _drawn_pdf(store, row, *replayed)
    else:
        fail("no result PDF is drawn of what differs from what was scored")
    path.write_bytes(content)
    typer.echo(f"result PDF: {path}")


def _drawn_pdf(store: Store, row: EcgRow, scorer: Scorer, again: Scored) -> bytes:
    from config.documents import site_of
    from config.site import Site
    from gateway.delivery.result_pdf import result_pdf
    from gateway.roles.site_values import result_site
    from inference.runtime.maps import MapNetwork

    stored = store.site.current()
    site = site_of(stored.document) if stored else Site()
    results = result_site(site, stored.version if stored else 0)
    maps = MapNetwork(scorer.bundle).of(again.prepared.steps.input)
    return result_pdf(row, results, again.prepared, maps)


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
    from inference.installed import path_of
    from inference.score import Scorer

    path = path_of(score.bundle, settings.bundles_dir)
    if path is None:
        fail(f"bundle {score.model} {score.version}, SHA-256 {score.bundle}, is not installed here")
    runtime = score.runtime.removesuffix("-cuda")
    return Scorer.load(path, runtime, threads_of(settings), settings.trusted)


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
