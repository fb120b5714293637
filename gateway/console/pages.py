"""The console's pages: ECGs, one ECG, queues, refusals. Server-rendered; htmx refreshes the tables.

PHI is shown on the page of one ECG only. URLs carry our own identifiers, never a patient's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.templating import Jinja2Templates

from gateway import words
from gateway.console.album import Album
from gateway.console.drawings import find, shown
from gateway.console.pictures import Drawn
from gateway.delivery.prepare import RESULT_PDF
from gateway.delivery.result_pdf import HAS_PDF
from gateway.ecg import DeliveryState, State
from gateway.store import Store

PAGE_SIZE = 50
TEMPLATES = Path(__file__).parent / "templates"
PAGE_TITLE = "ECG as a clinician sees it"
STEP_TITLES = {
    "panel": "Panel as the network's look",
    "binary": "Step 1: binary form",
    "denoised": "Step 2: noise reduction",
    "components": "Step 3: connected components",
    "opened": "Step 4: morphological opening",
    "input": "Network input",
}


def page_routes(store: Store, pictures: Album[Drawn], version: str) -> APIRouter:
    """Give the routes of the pages, reading from `store` and showing `pictures`."""
    templates = Jinja2Templates(directory=TEMPLATES)
    templates.env.filters.update(
        clock=words.clock,
        components=words.components,
        day=words.day,
        guard=words.guard,
        score=words.score,
        threshold=words.threshold,
    )
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
        """Show one ECG: score, messages in and out, timeline; its pictures come after it."""
        row = find(store, ecg_id)
        deliveries = store.deliveries.of_ecg(ecg_id)
        return show(
            request,
            "ecg.html",
            row=row,
            events=store.ecgs.events(ecg_id),
            deliveries=deliveries,
            messages=_messages(store, ecg_id),
            payloads={d.id: _text(store, d.payload) for d in deliveries},
        )

    @router.get("/ecgs/{ecg_id}/pictures")
    def ecg_pictures(request: Request, ecg_id: str) -> Response:
        """Show the pictures of an ECG, drawn now, and how they stand to its score."""
        row = find(store, ecg_id)
        drawn = shown(pictures, row)
        steps = [(name, title) for name, title in STEP_TITLES.items() if name in drawn.images]
        return show(
            request,
            "pictures.html",
            row=row,
            drawn=drawn,
            page_title=PAGE_TITLE,
            steps=steps,
            has_pdf=row.state in HAS_PDF and (RESULT_PDF in row.images or drawn.proven),
        )

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
