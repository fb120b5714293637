"""Builds the console's FastAPI application from values; no module state, nothing at import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gateway.console.album import Album
from gateway.console.drawings import Albums, drawing_routes
from gateway.console.explained import MapsOf, explain
from gateway.console.metrics import OVERDUE_S, registry_for
from gateway.console.pages import page_routes
from gateway.console.pictures import RecipeOf, draw
from gateway.delivery.prepare import ResultSite
from gateway.ecg import DeliveryState, State
from gateway.store import Store
from inference.installed import recipe_of

HERE = Path(__file__).parent
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(
    store: Store,
    *,
    site: Callable[[], ResultSite],
    version: str = "0",
    recipes: RecipeOf = recipe_of,
    maps: MapsOf = lambda _digest: None,
    troubles: Callable[[], Mapping[str, str]] = dict,
) -> FastAPI:
    """Build the console.

    Args:
        store: the open store; the console only reads.
        site: gives the site's values as they are now, for result PDFs.
        version: the product's version, shown in the footer.
        recipes: finds the recipe of a bundle; by default of those that are shipped.
        maps: loads the maps of a bundle; by default of none.
        troubles: gives, by role, what keeps a process from working as it is configured.

    Returns:
        The application with pages, `/health/live`, `/health/ready` and `/metrics`.
    """
    thread = ThreadPoolExecutor(1, "pictures")
    albums = Albums(
        Album(thread, partial(draw, store=store, recipe_of=recipes), recent=16),  # 1 MB each
        Album(thread, partial(explain, store=store, maps_of=maps), recent=2),  # 20 MB each
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        thread.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="ECG gateway", version=version, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    # A page of another site must not reach a loopback console under its own name (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    app.middleware("http")(_with_security_headers)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.include_router(page_routes(store, albums.pictures, version))
    app.include_router(drawing_routes(store, albums, site))
    _add_health(app, store, troubles)
    return app


def _add_health(app: FastAPI, store: Store, troubles: Callable[[], Mapping[str, str]]) -> None:
    registry = registry_for(store)

    @app.get("/health/live")
    def live() -> dict[str, str]:
        """Say that this process answers."""
        return {"status": "ok"}

    @app.get("/health/ready")
    def ready() -> JSONResponse:
        """Say whether the store can be used, and whether something wants a person."""
        try:
            store.ping()
            held, overdue, room = _held(store), _overdue(store), store.disk.leaves_room()
            roles = dict(troubles())
        except Exception as error:
            return JSONResponse({"status": "failed", "store": type(error).__name__}, 503)
        well = room and not any((*held.values(), *overdue.values(), roles))
        return JSONResponse(
            {
                "status": "ok" if well else "degraded",
                "store": "ok",
                "disk": "ok" if room else "reserve reached",
                "held": held,
                "overdue": overdue,
                "not_as_configured": roles,
            }
        )

    @app.get("/metrics")
    def metrics() -> Response:
        """Give Prometheus metrics, counted in the database at each scrape."""
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _held(store: Store) -> dict[str, int]:
    """Count what nothing but a person can bring on: ECGs, and results that no peer took."""
    ecgs, letters = store.ecgs.count_by_state(), store.deliveries.counts()
    dead = {DeliveryState.REJECTED, DeliveryState.DEAD}
    return {
        "quarantined": ecgs[State.QUARANTINED],
        "failed": ecgs[State.FAILED],
        "dead_letters": sum(number for (_, state), number in letters.items() if state in dead),
    }


def _overdue(store: Store) -> dict[str, int]:
    """Count what should be further by now: a worker or a destination is away or behind."""
    return {
        "ecgs": store.ecgs.count_overdue(OVERDUE_S),
        "deliveries": store.deliveries.count_overdue(OVERDUE_S),
    }


async def _with_security_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
