"""`score FILE...` and `trace ECG_ID`."""

from __future__ import annotations

import glob
import itertools
import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.model_options import Named, scorer_of
from gateway.cli.options import (
    MODEL,
    TOOLS,
    Config,
    Data,
    fail,
    plain,
    settings_of,
    show,
    store_of,
    table,
)

if TYPE_CHECKING:
    from gateway.store import Store
    from gateway.store.rows import EcgRow
    from inference.forms import U8
    from inference.score import Scored, Scorer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=MODEL)(score)
    app.command(rich_help_panel=TOOLS)(trace)


def score(
    files: Annotated[
        list[Path], typer.Argument(help="DICOM, PDF, images, XML, SCP-ECG, WFDB (.hea).")
    ],
    config: Config = None,
    bundle: Named = "reference",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    save_images: Annotated[
        Path | None,
        typer.Option(
            "--save-images",
            help="Write each step's image here, as PNG; of a file without a score, what was read.",
        ),
    ] = None,
) -> None:
    """Score local files; no gateway is needed. Exit status 1 when a file has no score."""
    scorer = scorer_of(config, bundle)
    results = [_score_one(scorer, file, save_images) for file in files]
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        _show_scores(results)
    if any("probability" not in result for result in results):
        raise typer.Exit(1)


def _score_one(scorer: Scorer, file: Path, save_images: Path | None) -> dict[str, Any]:
    """Score one file; a file that cannot be scored gives its reason."""
    scored, told = _judged(scorer, file)
    result = {"file": str(file), **told}
    if save_images is not None:
        images = scored.images if scored else _read_of(scorer, file)
        result["images"] = _save(images, file, save_images)
    return result


def _judged(scorer: Scorer, file: Path) -> tuple[Scored | None, dict[str, Any]]:
    """Give a file's score, if it has one, and what is told of it."""
    from inference.errors import Undecodable, Unscorable

    try:
        scored = scorer.score_file(file)
    except Unscorable as error:
        why = {"unscorable": error.reason, "detail": error.detail, "guard": error.guard}
        return None, why
    except Undecodable as error:
        return None, {"error": str(error)}
    except OSError as error:
        return None, {"error": error.strerror or "cannot be read"}
    return scored, _values(scored)


def _read_of(scorer: Scorer, file: Path) -> dict[str, U8]:
    """Draw what was read of a file that has no score."""
    from inference.decode import decode_file
    from inference.errors import Undecodable, Unscorable
    from inference.prepare import pictures_of_refused

    try:
        return pictures_of_refused(decode_file(file), scorer.bundle.recipe)
    except (Undecodable, Unscorable, OSError):
        return {}


def _values(scored: Scored) -> dict[str, Any]:
    """Give what is told of a score."""
    return {
        "probability": round(float(scored.probability), 6),
        "logit": round(float(scored.logit), 6),
        "threshold": float(scored.threshold),
        "positive": bool(scored.positive),
        "model": scored.model,
        "version": scored.version,
        "bundle": scored.bundle,
        "runtime": scored.runtime,
        "validated": bool(scored.validated),
        "guard": scored.guard,
        "timings_ms": {name: round(took, 1) for name, took in scored.timings_ms.items()},
    }


def _save(images: Mapping[str, U8], file: Path, folder: Path) -> list[str]:
    """Write each image as `FILE-NAME.png`."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    stem, written = _stem(file, folder), []
    for name, pixels in images.items():
        path = folder / f"{stem}-{name}.png"
        Image.fromarray(pixels).save(path)
        written.append(str(path))
    return written


def _stem(file: Path, folder: Path) -> str:
    """Give the name that a file's images begin with; a number tells files of one name apart."""
    names = itertools.chain([file.stem], (f"{file.stem}-{n}" for n in itertools.count(2)))
    return next(name for name in names if not list(folder.glob(f"{glob.escape(name)}-*.png")))


def _show_scores(results: list[dict[str, Any]]) -> None:
    """Print a table, and below it what is to be minded."""
    from inference.electrodes import warning
    from inference.thresholds import written

    rows = table("file", "score", "threshold", "category", "model", "runtime", "ms")
    for result in results:
        if "probability" not in result:
            told = f"[yellow]no score: {result.get('unscorable', 'not readable')}[/]"
            rows.add_row(*plain(result["file"]), "—", "—", told, "", "", "")
            continue
        category = "[bold red]positive[/]" if result["positive"] else "[green]negative[/]"
        model = f"{result['model']} {result['version']}"
        model += "" if result["validated"] else " (not validated)"
        took = sum(result["timings_ms"].values())
        rows.add_row(
            *plain(result["file"]),
            written(result["probability"], result["threshold"]),
            written(result["threshold"]),
            category,
            model,
            result["runtime"],
            f"{took:.0f}",
        )
    show(rows)
    for result in results:
        for line in (_why_not(result), warning(result.get("guard", {}))):
            if line:
                typer.echo(f"{result['file']}: {line}")


def _why_not(result: Mapping[str, Any]) -> str:
    """Say why a file has no score, and what there is to see of it; empty for one that has."""
    if "probability" in result:
        return ""
    why = result.get("detail") or result["error"]
    if "images" not in result:
        return f"no score: {why}"
    shown = ", ".join(result["images"]) or "nothing, for no ECG was read"
    return f"no score: {why}\n  to look at: {shown}"


def trace(
    ecg_id: Annotated[str, typer.Argument(help="The gateway's identifier of an ECG.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Print the life of one ECG: timeline, score, deliveries, messages. No patient data."""
    with closing(store_of(settings_of(config, data))) as store:
        try:
            row = store.ecgs.get(ecg_id)
        except KeyError:
            fail(f"there is no ECG {ecg_id}")
        _show_head(row)
        _show_timeline(store, row)
        _show_deliveries(store, ecg_id)
        _show_messages(store, ecg_id)


def _show_head(row: EcgRow) -> None:
    """Print what it is and what became of it."""
    from gateway import words
    from inference.electrodes import warning
    from inference.guard import in_words

    reason = f" ({row.reason})" if row.reason else ""
    source = f"{row.source.protocol} from {row.source.peer or '?'} at {row.source.address or '?'}"
    typer.echo(f"ECG {row.id}  {row.state}{reason}")
    typer.echo(f"  came as    {source}, {row.media_type}, SHA-256 {row.digest}")
    if row.score is not None:
        said = "positive" if row.score.positive else "negative"
        typer.echo(f"  score      {words.score(row)}, threshold {words.threshold(row)}: {said}")
        typer.echo(
            f"  model      {row.score.model} {row.score.version} on {row.score.runtime}, "
            f"bundle SHA-256 {row.score.bundle}"
        )
    if measured := in_words(row.guard):
        typer.echo(f"  guard      {', '.join(measured)}")
    if warned := warning(row.guard):
        typer.echo(f"  electrodes {warned}")


def _show_timeline(store: Store, row: EcgRow) -> None:
    """Print each step with the time since arrival."""
    rows = table("at (UTC)", "after", "what", "detail", title="Timeline")
    for event in store.ecgs.events(row.id):
        after_ms = (event.at - row.received_at).total_seconds() * 1000
        rows.add_row(*plain(_clock(event.at), f"{after_ms:.0f} ms", event.what, event.detail))
    show(rows)


def _show_deliveries(store: Store, ecg_id: str) -> None:
    """Print whom it was told to, and what they said."""
    rows = table(
        "destination", "kind", "state", "attempts", "acknowledged", "MSH-10", title="Deliveries"
    )
    for item in store.deliveries.of_ecg(ecg_id):
        state = f"{item.state} ({item.last_error})" if item.last_error else str(item.state)
        acknowledged = _clock(item.acknowledged_at) if item.acknowledged_at else "—"
        rows.add_row(
            *plain(
                item.destination,
                item.kind,
                state,
                str(item.attempts),
                acknowledged,
                item.control_id,
            )
        )
    show(rows)


def _show_messages(store: Store, ecg_id: str) -> None:
    """Print the HL7 messages that carried it or told of it."""
    rows = table("at (UTC)", "direction", "peer", "MSH-10", "outcome", title="Messages")
    for message in store.messages.of_ecg(ecg_id):
        rows.add_row(
            *plain(
                _clock(message.at),
                message.direction,
                message.peer,
                message.control_id,
                message.outcome,
            )
        )
    show(rows)


def _clock(value: datetime) -> str:
    """Show a time to the millisecond."""
    return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
