"""Pictures in the console: drawn on demand, and compared with what was scored."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support import arrivals, pdf
from support.ehr import site

from gateway.console import album, pictures
from gateway.console.album import PATIENCE_S, Album
from gateway.console.app import create_app
from gateway.console.pictures import Drawn, draw
from gateway.demo import objects
from gateway.ecg import MediaType, Source, State
from gateway.store import EcgRow, Outcome, Store
from inference.bundle import CARD
from inference.decode import decode
from inference.errors import BundleError
from inference.forms import U8
from inference.installed import SHIPPED, recipe_of
from inference.prepare import as_grey, look
from inference.preprocess import preprocess
from inference.render import page, png
from inference.runtime.maps import maps_of
from inference.simulate import simulate

BUNDLE = hashlib.sha256((SHIPPED / "reference" / CARD).read_bytes()).hexdigest()
SCORE = replace(arrivals.SCORE, bundle=BUNDLE)
TAKEN = objects.Taken(arrivals.PATIENT, datetime(2026, 3, 1, 11, 58, tzinfo=UTC))
WAVEFORM = objects.waveform_file(simulate("normal", 1, rate_hz=250), TAKEN).content
PICTURE = png(page(simulate("stemi-inferior", 2)))
maps = lru_cache(maxsize=1)(maps_of)
STEPS = {"binary", "denoised", "components", "opened"}


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    app = create_app(store, site=site, maps=maps)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def judged(content: bytes) -> dict[str, U8]:
    """Give what the worker keeps of a score."""
    recipe = recipe_of(BUNDLE)
    assert recipe is not None
    panel = look(decode(content))[1]
    return {"panel": panel, "input": as_grey(preprocess(panel, recipe).input)}


def ended(store: Store, content: bytes, outcome: Outcome, kind: MediaType) -> EcgRow:
    """Take an ECG in and bring it to an outcome."""
    receipt = arrivals.take(store, f"dicom:{len(content)}", content=content, media_type=kind)
    assert store.ecgs.claim(receipt.ecg_id, "w", 60)
    assert store.ecgs.finish(receipt.ecg_id, "w", outcome, [])
    return store.ecgs.get(receipt.ecg_id)


def scored(
    store: Store, content: bytes, kind: MediaType = MediaType.DICOM, **changed: U8
) -> EcgRow:
    """A scored ECG; `changed` is kept instead of what was judged."""
    kept = {**judged(content), **changed}
    images = {name: store.blobs.put(png(pixels)) for name, pixels in kept.items()}
    return ended(store, content, Outcome(State.SCORED, score=SCORE, images=images), kind)


@pytest.mark.parametrize(
    ("content", "kind"), [(WAVEFORM, MediaType.DICOM), (PICTURE, MediaType.PNG)]
)
def test_a_scored_ecg_is_shown_as_it_was_scored(
    client: TestClient, store: Store, content: bytes, kind: MediaType
) -> None:
    """The page, what was kept, and the steps between, and that they are those of the score."""
    row = scored(store, content, kind)
    text = client.get(f"/ecgs/{row.id}/pictures").text
    assert "pixel for pixel" in text
    assert "doubt" not in text
    for name in {"page", "panel", "input"} | STEPS:
        assert f"/ecgs/{row.id}/images/{name}.png" in text
        got = client.get(f"/ecgs/{row.id}/images/{name}.png")
        assert got.headers["content-type"] == "image/png"
        assert got.content.startswith(b"\x89PNG")
    for name, digest in row.images.items():
        assert client.get(f"/ecgs/{row.id}/images/{name}.png").content == store.blobs.get(digest)
    assert client.get(f"/ecgs/{row.id}/images/nothing.png").status_code == 404


def test_a_picture_that_came_is_shown_as_it_came(store: Store) -> None:
    """The page of a picture is its own pixels."""
    drawn = draw(scored(store, PICTURE, MediaType.PNG), store, recipe_of)
    assert drawn.images["page"] == png(page(simulate("stemi-inferior", 2)))


@pytest.mark.parametrize("name", ["panel", "input"])
def test_another_picture_than_the_scored_one_is_no_proof(store: Store, name: str) -> None:
    """One pixel that differs is told, what was kept is shown, and steps of another are not."""
    other = judged(WAVEFORM)[name].copy()
    other[0, 0] ^= 255
    row = scored(store, WAVEFORM, **{name: other})
    drawn = draw(row, store, recipe_of)
    assert drawn.doubtful
    assert drawn.note == pictures.DIFFERS
    assert drawn.images.keys() == {"page", "panel", "input"}
    assert drawn.images[name] == png(other)


def test_an_ecg_that_can_no_longer_be_judged_is_no_proof(store: Store) -> None:
    """This software finds no panel in what was scored once."""
    blank = png(np.full((400, 600), 255, np.uint8))
    images = {name: store.blobs.put(png(p)) for name, p in judged(WAVEFORM).items()}
    outcome = Outcome(State.SCORED, score=SCORE, images=images)
    drawn = draw(ended(store, blank, outcome, MediaType.PNG), store, recipe_of)
    assert (drawn.note, drawn.doubtful) == (pictures.DIFFERS, True)


def test_without_the_bundle_the_steps_are_left_out(store: Store) -> None:
    """The panel is proven all the same."""
    drawn = draw(scored(store, WAVEFORM), store, lambda _digest: None)
    assert (drawn.note, drawn.doubtful) == (pictures.SAME_PANEL, False)
    assert drawn.images.keys() == {"page", "panel", "input"}


def test_what_was_refused_is_shown(client: TestClient, store: Store) -> None:
    """A page that could not be scored is there for people to look at."""
    row = ended(store, PICTURE, Outcome(State.UNSCORABLE, "no-grid"), MediaType.PNG)
    text = client.get(f"/ecgs/{row.id}/pictures").text
    assert "It was not scored" in text
    assert "What the model saw" not in text
    assert client.get(f"/ecgs/{row.id}/images/page.png").content == PICTURE


def test_what_cannot_be_read_says_why(client: TestClient, store: Store) -> None:
    """No picture, but the reason."""
    row = ended(store, b"garbage", Outcome(State.UNSCORABLE, "undecodable"), MediaType.PDF)
    text = client.get(f"/ecgs/{row.id}/pictures").text
    assert "not a file of any format" in text
    assert "<img" not in text
    assert client.get(f"/ecgs/{row.id}/images/page.png").status_code == 404


def test_without_the_original_what_was_kept_is_shown(store: Store) -> None:
    """Panel and input are shown, and that nothing proves them."""
    row = replace(scored(store, WAVEFORM), digest="0" * 64)
    drawn = draw(row, store, recipe_of)
    assert drawn.doubtful
    assert drawn.images.keys() == {"panel", "input"}


@pytest.mark.parametrize(
    ("state", "reason", "note"),
    [
        (State.RECEIVED, "", pictures.NOT_YET),
        (State.SCORING, "", pictures.NOT_YET),
        (State.FAILED, "worker-died", pictures.DEADLY),
    ],
)
def test_what_may_kill_its_reader_is_not_read(
    store: Store, state: State, reason: str, note: str
) -> None:
    """Files that no worker has survived yet are not decoded in the console."""
    row = ended(store, WAVEFORM, Outcome(State.UNSCORABLE, "x"), MediaType.DICOM)
    drawn = draw(replace(row, state=state, reason=reason), store, recipe_of)
    assert drawn == Drawn({}, note)


def test_the_header_tells_when_and_whence_and_never_who(store: Store) -> None:
    """A picture gets about: time, source and our own number are on it, nothing of the patient."""
    row = scored(store, WAVEFORM)
    lines = pictures._header(
        replace(row, acquired_at=TAKEN.at, source=Source("dicom", "CART1", "10.0.0.1"))
    )
    assert lines[0] == "Recorded 2026-03-01 11:58:00 UTC"
    assert lines[1].endswith("by dicom from CART1")
    assert lines[2] == f"ECG {row.id}"
    assert not any(word in line for word in ("P1", "Test", "Anna", "1950") for line in lines[:2])


def test_pictures_are_drawn_once(store: Store) -> None:
    """A page asks for seven images; the file is read for the first of them, and then for later."""
    one = scored(store, WAVEFORM)
    other = replace(one, id="0" * 32)
    asked: list[str] = []
    with ThreadPoolExecutor(1) as thread:
        drawings = Album(thread, lambda row: asked.append(row.id) or object(), recent=1)
        assert drawings.of(one) is drawings.of(one)
        assert asked == [one.id]
        drawings.of(other)
        drawings.of(one)
        assert asked == [one.id, other.id, one.id]


@pytest.mark.parametrize(
    ("content", "kind"), [(WAVEFORM, MediaType.DICOM), (PICTURE, MediaType.PNG)]
)
def test_a_scored_ecg_is_explained(
    client: TestClient, store: Store, content: bytes, kind: MediaType
) -> None:
    """Grad-CAM over its page, and a result PDF to keep; both are linked and come again the same."""
    row = scored(store, content, kind)
    text = client.get(f"/ecgs/{row.id}/pictures").text
    for path in ("images/gradcam.png", "result.pdf"):
        assert f"/ecgs/{row.id}/{path}" in text
    heat = client.get(f"/ecgs/{row.id}/images/gradcam.png")
    assert heat.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(heat.content)) as picture:
        assert picture.size == (297 * 5, 210 * 5)
    got = client.get(f"/ecgs/{row.id}/result.pdf")
    assert got.headers["content-type"] == "application/pdf"
    assert f'filename="ecg-{row.id}.pdf"' in got.headers["content-disposition"]
    first, second = pdf.texts(got.content)
    assert "Test, Anna · id P1" in first
    assert "Attention after layer 3" in second
    assert client.get(f"/ecgs/{row.id}/result.pdf").content == got.content


def test_the_result_pdf_that_was_sent_is_the_one_that_is_given(
    client: TestClient, store: Store
) -> None:
    """Byte for byte, and without drawing anything: also where nothing can be drawn any more."""
    sent = store.blobs.put(b"%PDF-1.4 as it was sent")
    outcome = Outcome(State.SCORED, score=SCORE, images={"result": sent})
    row = ended(store, b"garbage", outcome, MediaType.PDF)
    assert f"/ecgs/{row.id}/result.pdf" in client.get(f"/ecgs/{row.id}/pictures").text
    assert client.get(f"/ecgs/{row.id}/result.pdf").content == b"%PDF-1.4 as it was sent"
    assert client.get(f"/ecgs/{row.id}/images/result.png").status_code == 404


def test_what_is_not_proven_is_not_explained(client: TestClient, store: Store) -> None:
    """Another panel than the scored one, another bundle, no score: no map, no PDF, and no link."""
    other = judged(WAVEFORM)["panel"].copy()
    other[0, 0] ^= 255
    refused = ended(store, PICTURE, Outcome(State.UNSCORABLE, "no-grid"), MediaType.PNG)
    for row in (scored(store, WAVEFORM, panel=other), refused):
        text = client.get(f"/ecgs/{row.id}/pictures").text
        assert "result.pdf" not in text
        assert "gradcam" not in text
        assert client.get(f"/ecgs/{row.id}/images/gradcam.png").status_code == 404
        assert client.get(f"/ecgs/{row.id}/result.pdf").status_code == 404


def test_without_the_bundle_nothing_is_explained(store: Store) -> None:
    """Its maps are not here, or cannot be trusted any more."""
    row = scored(store, WAVEFORM)
    app = create_app(store, site=site, maps=lambda _digest: None)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get(f"/ecgs/{row.id}/result.pdf").status_code == 404

    def damaged(_digest: str) -> None:
        raise BundleError("weights.safetensors is damaged")

    app = create_app(store, site=site, maps=damaged)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        got = client.get(f"/ecgs/{row.id}/images/gradcam.png")
        assert (got.status_code, "is damaged" in got.text) == (404, True)


def test_a_quarantined_ecg_has_no_result_pdf(client: TestClient, store: Store) -> None:
    """A page to hand on would name a patient in doubt; where the network looked may be seen."""
    images = {name: store.blobs.put(png(p)) for name, p in judged(WAVEFORM).items()}
    outcome = Outcome(State.QUARANTINED, "patient-unknown", score=SCORE, images=images)
    row = ended(store, WAVEFORM, outcome, MediaType.DICOM)
    assert "result.pdf" not in client.get(f"/ecgs/{row.id}/pictures").text
    assert client.get(f"/ecgs/{row.id}/result.pdf").status_code == 404
    assert client.get(f"/ecgs/{row.id}/images/gradcam.png").status_code == 200


def test_a_picture_that_hangs_holds_up_pictures_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for pictures is told to come again; every other page answers."""
    assert PATIENCE_S > 1
    monkeypatch.setattr(album, "PATIENCE_S", 0.05)
    row, free = scored(store, WAVEFORM), threading.Event()

    def hanging(_digest: str) -> None:
        free.wait(30)

    app = create_app(store, site=site, recipes=hanging)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get(f"/ecgs/{row.id}/pictures").status_code == 503
        assert client.get(f"/ecgs/{row.id}").status_code == 200
        free.set()
