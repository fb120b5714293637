"""What is drawn of an ECG as files: its pictures as PNG, its result as PDF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import APIRouter, HTTPException, Response

from gateway.console.album import Album
from gateway.console.explained import Explained
from gateway.console.pictures import Drawn
from gateway.delivery.prepare import RESULT_PDF, ResultSite
from gateway.delivery.result_pdf import HAS_PDF, result_pdf
from gateway.store import Store
from gateway.store.rows import EcgRow
from inference.errors import BundleError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Albums:
    """What is drawn when somebody looks: an ECG's pictures, and where the network looked."""

    pictures: Album[Drawn]
    explained: Album[Explained | None]


def drawing_routes(store: Store, albums: Albums, site: Callable[[], ResultSite]) -> APIRouter:
    """Give the routes of the files that `albums` draw of the ECGs in `store`."""
    router = APIRouter()

    @router.get("/ecgs/{ecg_id}/images/gradcam.png")
    def gradcam(ecg_id: str) -> Response:
        """Give Grad-CAM over the page of a scored ECG."""
        content = _explained(albums, find(store, ecg_id)).gradcam
        return Response(content, media_type="image/png")

    @router.get("/ecgs/{ecg_id}/images/{name}.png")
    def image(ecg_id: str, name: str) -> Response:
        """Give one image of an ECG."""
        content = shown(albums.pictures, find(store, ecg_id)).images.get(name)
        if content is None:
            raise HTTPException(404, "This ECG has no such image.")
        return Response(content, media_type="image/png")

    @router.get("/ecgs/{ecg_id}/result.pdf")
    def result(ecg_id: str) -> Response:
        """Give the result PDF: the one that was sent, else one that is drawn now."""
        row = find(store, ecg_id)
        if row.state not in HAS_PDF:
            raise HTTPException(404, f"An ECG that is {row.state} has no result PDF.")
        if RESULT_PDF in row.images:
            content = store.blobs.get(row.images[RESULT_PDF])
        else:
            explained = _explained(albums, row)
            content = result_pdf(row, site(), explained.prepared, explained.maps)
        name = f'attachment; filename="ecg-{row.id}.pdf"'
        return Response(content, 200, {"Content-Disposition": name}, "application/pdf")

    return router


def find(store: Store, ecg_id: str) -> EcgRow:
    """Give an ECG, or answer 404."""
    try:
        return store.ecgs.get(ecg_id)
    except KeyError:
        raise HTTPException(404, "There is no ECG with this id.") from None


def shown(album: Album[T], row: EcgRow) -> T:
    """Give what is drawn of an ECG, or answer 503 when that takes too long."""
    try:
        return album.of(row)
    except TimeoutError:
        raise HTTPException(503, "The pictures take too long to draw; try again.") from None


def _explained(albums: Albums, row: EcgRow) -> Explained:
    proven = shown(albums.pictures, row).proven
    try:
        found = shown(albums.explained, row) if proven else None
    except BundleError as error:
        raise HTTPException(404, f"The bundle that scored it cannot be used: {error}.") from None
    if found is None:
        raise HTTPException(404, "What the model was shown cannot be drawn anew here.")
    return found
