"""`replay`: what was kept gives the same score again, or it is said where it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support import pdf
from support.arrivals import PATIENT, take
from support.cli import invoke

from gateway.demo import objects
from gateway.ecg import Score, State
from gateway.store import EcgRow, Outcome, Store
from inference.installed import SHIPPED
from inference.render import png
from inference.score import Scored, Scorer
from inference.simulate import simulate

TAKEN = objects.Taken(PATIENT, datetime(2026, 3, 1, 11, 58, tzinfo=UTC))
FILE = objects.waveform_file(simulate("stemi-anterior", 1), TAKEN).content


@pytest.fixture(scope="module")
def scored() -> Scored:
    return Scorer.load(SHIPPED / "reference", "openvino-fp32", threads=1).score(FILE)


def told(scored: Scored) -> Score:
    """What the worker writes of it."""
    return Score(
        probability=scored.probability,
        threshold=0.5,
        positive=scored.probability >= 0.5,
        model=scored.model,
        version=scored.version,
        bundle=scored.bundle,
        runtime=scored.runtime,
        validated=False,
    )


def kept(
    store: Store,
    scored: Scored,
    score: Score | None = None,
    *,
    identity: str = "dicom:1.2.3",
    files: dict[str, str] | None = None,
    **changed,
) -> EcgRow:
    """An ECG with its score and evidence; `changed` are images that were kept instead."""
    ecg_id = take(store, identity, content=FILE).ecg_id
    images = {
        name: store.blobs.put(png(pixels))
        for name, pixels in {**scored.evidence, **changed}.items()
    } | (files or {})
    assert store.ecgs.claim(ecg_id, "w", 60)
    outcome = Outcome(State.SCORED, score=score or told(scored), images=images)
    assert store.ecgs.finish(ecg_id, "w", outcome, [])
    return store.ecgs.get(ecg_id)


def replayed(tmp_path: Path, ecg_id: str, *options: str, status: int = 0) -> str:
    return invoke("replay", ecg_id, "--data", tmp_path, *options, status=status)


def test_what_was_kept_gives_the_same_score(tmp_path: Path, store: Store, scored: Scored):
    """Bundle, runtime, score, category, panel and input are those of then; nothing is written."""
    row = kept(store, scored)
    text = replayed(tmp_path, row.id)
    assert text.count("same") == 6
    assert "differs" not in text
    assert f"{scored.probability:.6f}" in text
    assert PATIENT.family not in text
    assert store.ecgs.get(row.id) == row


def test_what_differs_is_said(tmp_path: Path, store: Store, scored: Scored):
    """Another score, another category and one other pixel each have their line."""
    panel = np.array(scored.evidence["panel"])
    panel[3, 4] ^= 1
    score = replace(told(scored), probability=0.123456, positive=not told(scored).positive)
    text = replayed(tmp_path, kept(store, scored, score, panel=panel).id, status=1)
    wrong = [line.split()[0] for line in text.splitlines() if "differs" in line]
    assert wrong == ["score", "category", "panel"]


def test_what_cannot_be_replayed_says_why(tmp_path: Path, store: Store, scored: Scored):
    """No such ECG, no score, no such bundle."""
    assert "there is no ECG" in replayed(tmp_path, "0" * 32, status=1)
    waiting = take(store, "dicom:9", content=b"another").ecg_id
    assert "has no score: it is received" in replayed(tmp_path, waiting, status=1)
    foreign = kept(store, scored, replace(told(scored), bundle="f" * 64))
    assert "is not installed here" in replayed(tmp_path, foreign.id, status=1)


def test_the_result_pdf_is_written(tmp_path: Path, store: Store, scored: Scored):
    """Drawn of what gave the same score; the terminal still names nobody."""
    path = tmp_path / "result.pdf"
    row = kept(store, scored)
    text = replayed(tmp_path, row.id, "--pdf", str(path))
    assert PATIENT.family not in text
    first, second = pdf.texts(path.read_bytes())
    assert f"{PATIENT.family}, {PATIENT.given}" in first
    assert f"fp32 network, which scores {scored.probability:.3f}" in second
    again = tmp_path / "again.pdf"
    replayed(tmp_path, row.id, "--pdf", str(again))
    assert again.read_bytes() == path.read_bytes()


def test_a_result_pdf_that_was_sent_is_written_as_it_was(
    tmp_path: Path, store: Store, scored: Scored
):
    """Also when this version of the software draws another panel; of such there is none else."""
    path = tmp_path / "result.pdf"
    panel = np.array(scored.evidence["panel"])
    panel[3, 4] ^= 1
    other = kept(store, scored, panel=panel)
    text = replayed(tmp_path, other.id, "--pdf", str(path), status=1)
    assert "no result PDF is drawn" in text
    assert not path.exists()
    sent = {"result": store.blobs.put(b"%PDF-1.4 as it was sent")}
    row = kept(store, scored, panel=panel, identity="dicom:sent", files=sent)
    replayed(tmp_path, row.id, "--pdf", str(path), status=1)
    assert path.read_bytes() == b"%PDF-1.4 as it was sent"
