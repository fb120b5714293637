"""The console's pages: ECGs, one ECG, queues, refusals. Server-rendered; htmx refreshes the tables.

PHI is shown on the page of one ECG only. URLs carry our own identifiers, never a patient's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.templating import Jinja2Templates

from gateway.ecg import DeliveryState, State
from gateway.store import Store
from gateway.store.rows import EcgRow

PAGE_SIZE = 50
TEMPLATES = Path(__file__).parent / "templates"
IMAGE_TITLES = {
    "page": "ECG as a clinician sees it",
    "panel": "Panel as the network's look",
    "binary": "Step 1: binary form",
    "denoised": "Step 2: noise reduction",
    "components": "Step 3: connected components",
    "opened": "Step 4: morphological opening",
    "input": "Network input",
}


def _clock(value: datetime | None) -> str:
    """Show a time in UTC to the second; a naive one is shown as the source gave it."""
    if value is None:
        return "—"
    if value.tzinfo is None:
        return f"{value:%Y-%m-%d %H:%M:%S} (no zone)"
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _day(value: str) -> str:
    """Show `YYYYMMDD` as a date; anything else as it came."""
    whole = len(value) == 8 and value.isdecimal()
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if whole else value or "?"


def _place(value: str) -> str:
    """Show a location of HL7 (PV1-3, components) in words."""
    return " ".join(part for part in value.split("^") if part)


def _score(row: EcgRow) -> str:
    return "—" if row.score is None else f"{row.score.probability:.3f}"


def page_routes(store: Store, version: str) -> APIRouter:
    """Give the routes of the pages, reading from `store`."""
    templates = Jinja2Templates(directory=TEMPLATES)
    templates.env.filters.update(clock=_clock, day=_day, place=_place, score=_score)
    templates.env.globals.update(version=version, State=State)
    router = APIRouter()

    def show(request: Request, name: str, **values: Any) -> Response:
        partial = request.headers.get("HX-Request") == "true"
        return templates.TemplateResponse(request, name, {"partial": partial, **values})

    @router.get("/")
    def ecgs(request: Request, state: Annotated[State | None, Query()] = None) -> Response:
        """List the newest ECGs, all or those in one state."""
        rows = store.ecgs.recent(PAGE_SIZE, state=state)
        counts = store.ecgs.count_by_state()
        return show(request, "ecgs.html", rows=rows, counts=counts, state=state)

    @router.get("/ecgs/{ecg_id}")
    def ecg(request: Request, ecg_id: str) -> Response:
        """Show one ECG: picture, score, messages in and out, timeline."""
        row = _find(store, ecg_id)
        deliveries = store.deliveries.of_ecg(ecg_id)
        return show(
            request,
            "ecg.html",
            row=row,
            events=store.ecgs.events(ecg_id),
            deliveries=deliveries,
            messages=_messages(store, ecg_id),
            payloads={d.id: _text(store, d.payload) for d in deliveries},
            images=[(n, t) for n, t in IMAGE_TITLES.items() if n in row.images],
        )

    @router.get("/ecgs/{ecg_id}/images/{name}.png")
    def image(ecg_id: str, name: str) -> Response:
        """Give one kept image of an ECG."""
        digest = _find(store, ecg_id).images.get(name)
        if digest is None:
            raise HTTPException(404, "This ECG has no such image.")
        return Response(store.blobs.get(digest), media_type="image/png")

    @router.get("/queues")
    def queues(request: Request) -> Response:
        """Show what waits: ECGs by state, deliveries by destination, dead letters."""
        table: dict[str, dict[DeliveryState, int]] = {}
        for (destination, state), number in store.deliveries.counts().items():
            table.setdefault(destination, {})[DeliveryState(state)] = number
        return show(
            request,
            "queues.html",
            counts=store.ecgs.count_by_state(),
            table=table,
            states=list(DeliveryState),
            dead=store.deliveries.dead_letters(PAGE_SIZE),
        )

    @router.get("/refusals")
    def refusals(request: Request) -> Response:
        """Show who was refused, when and why."""
        return show(request, "refusals.html", rows=store.refusals.recent(PAGE_SIZE))

    return router


def _find(store: Store, ecg_id: str) -> EcgRow:
    try:
        return store.ecgs.get(ecg_id)
    except KeyError:
        raise HTTPException(404, "There is no ECG with this id.") from None


def _messages(store: Store, ecg_id: str) -> list[dict[str, Any]]:
    """Give the raw HL7 messages of an ECG with their text; pictures inside are cut short."""
    return [
        {
            "row": row,
            "text": _text(store, row.digest),
            "answer": _text(store, row.answer_digest) if row.answer_digest else "",
        }
        for row in store.messages.of_ecg(ecg_id)
    ]


def _text(store: Store, digest: str, limit: int = 300) -> str:
    """Give an HL7 message as lines, each cut at `limit` characters (ED payloads are megabytes)."""
    text = store.blobs.get(digest).decode("utf-8", "replace").replace("\r", "\n")
    return "\n".join(
        line if len(line) <= limit else f"{line[:limit]}… ({len(line)} characters)"
        for line in text.strip().split("\n")
    )
