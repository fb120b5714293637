"""The command line: help, exit statuses, check-config, trace and score without a gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.cli import invoke

from gateway import cli
from gateway.cli import ecg as ecg_commands
from gateway.ecg import Arrival, MediaType, Patient, Source, State
from gateway.errors import StoreUnavailable
from gateway.store import Outcome, open_store
from inference.errors import Undecodable, Unscorable
from inference.forms import Picture, Tracings
from inference.prepare import Prepared
from inference.preprocess import Recipe, Steps
from inference.score import Scored

HEAVY = {"celery", "cv2", "fastapi", "numpy", "openvino", "pydicom", "sqlalchemy", "torch"}


def command(*line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *line], capture_output=True, text=True, check=False
    )


def test_help_names_every_command_and_loads_nothing_heavy():
    """`--help` is quick because commands import what they need when they run."""
    code = (
        "import sys\nfrom gateway.cli.app import make_app\n"
        "try:\n    make_app()(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, _, loaded = done.stdout.partition("LOADED")
    for name in ("serve", "listen", "work", "deliver", "console", "check-config", "doctor"):
        assert name in text
    for name in ("config", "score", "trace", "version", "demo"):
        assert name in text
    assert not HEAVY & set(loaded.split())


def test_no_arguments_show_the_help():
    """A newcomer who types the bare command sees what there is."""
    assert "Run the gateway" in invoke(status=2)


@pytest.mark.parametrize(
    "line",
    [
        ["serve", "--prot", "1"],
        ["frobnicate"],
        ["score"],
        ["trace"],
        ["config", "rollback", "x"],
    ],
)
def test_wrong_use_exits_with_two(line: list[str]):
    """Scripts can tell a wrong command line from a failure."""
    invoke(*line, status=2)


def test_bad_settings_are_told_in_one_sentence_and_exit_with_two(tmp_path: Path):
    """No traceback for a typing error in a file."""
    path = tmp_path / "gateway.toml"
    path.write_text("[dicom]\nport = 70000\n", "utf-8")
    for name in ("check-config", "serve", "work", "doctor", "listen"):
        done = command(name, "--config", str(path))
        assert done.returncode == 2, done.stderr
        assert "gateway.toml, line 2: dicom.port = 70000: allowed is at most 65535" in done.stderr
        assert "Traceback" not in done.stderr


def test_our_errors_exit_with_one_and_defects_keep_their_traceback():
    """An error of our trees speaks for itself; anything else is a defect to report."""
    assert cli._status(StoreUnavailable("database is locked")) == 1
    assert cli._status(Unscorable("blank", "nothing on the page")) == 1
    assert cli._status(ZeroDivisionError()) is None


def test_check_config_accepts_the_shipped_files(monkeypatch: pytest.MonkeyPatch):
    """The defaults are valid, and `--show` prints the settings in force."""
    monkeypatch.setenv("ECG_GATEWAY__BROKER__URL", "redis://:hush@redis:6379/0")
    text = invoke("check-config", "--show")
    assert "ok: settings" in text
    assert "port = 11112" in text
    assert "hush" not in text


def test_version():
    """The version is the installed package's."""
    assert invoke("version").startswith("ecg-gateway 0.")


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "data"
    folder.mkdir()
    url = f"sqlite:///{folder / 'gateway.sqlite3'}"
    with closing(open_store(url, folder / "blobs")) as store:
        arrival = Arrival(
            identity="dicom:1.2.3",
            content=b"ECG",
            media_type=MediaType.DICOM,
            source=Source("dicom", "CART1", "10.0.0.9"),
            patient=Patient(id="MRN-4711", family="Zyzzyx", given="Jane", birth_date="19440101"),
        )
        receipt = store.ecgs.add(arrival, store.blobs.put(arrival.content))
        store.messages.add("in", "ENGINE^HOSPITAL", "MSG7", "ab" * 32, "AA", receipt.ecg_id)
    return folder, receipt.ecg_id


def test_trace_prints_the_life_of_an_ecg_without_its_patient(data: tuple[Path, str]):
    """Timeline and messages, and nothing that names the patient."""
    folder, ecg_id = data
    text = invoke("trace", ecg_id, "--data", str(folder))
    for part in (ecg_id, "received", "CART1", "Timeline", "Deliveries", "MSG7"):
        assert part in text
    for phi in ("MRN-4711", "Zyzzyx", "Jane", "19440101"):
        assert phi not in text


def test_trace_tells_what_the_guard_measured_of_a_refused_ecg(data: tuple[Path, str]):
    """Each distance with its bound."""
    folder, ecg_id = data
    measured = {"leads": 12, "min_leads": 11, "distance": 7.1234, "bound": 5.498}
    refused = Outcome(State.UNSCORABLE, "out-of-domain", guard=measured)
    with closing(open_store(f"sqlite:///{folder / 'gateway.sqlite3'}", folder / "blobs")) as store:
        store.ecgs.claim(ecg_id, "w", 60)
        store.ecgs.finish(ecg_id, "w", refused, [])
    text = invoke("trace", ecg_id, "--data", str(folder))
    assert "unscorable (out-of-domain)" in text
    assert "leads shown 12 (at least 11), distance of the input 7.123 (up to 5.498)" in text


def test_trace_of_an_ecg_that_the_guard_never_saw_has_no_empty_line(data: tuple[Path, str]):
    """Refused before: only what kind of source it was is recorded, which is no measure."""
    folder, ecg_id = data
    refused = Outcome(State.UNSCORABLE, "no-grid", guard={"source": "page"})
    with closing(open_store(f"sqlite:///{folder / 'gateway.sqlite3'}", folder / "blobs")) as store:
        store.ecgs.claim(ecg_id, "w", 60)
        store.ecgs.finish(ecg_id, "w", refused, [])
    text = invoke("trace", ecg_id, "--data", str(folder))
    assert "unscorable (no-grid)" in text
    assert "  guard" not in text


def test_trace_of_an_unknown_ecg_fails(data: tuple[Path, str]):
    """Exit status 1 and a sentence."""
    assert "there is no ECG nosuch" in invoke("trace", "nosuch", "--data", str(data[0]), status=1)


def test_a_command_that_looks_creates_no_database(tmp_path: Path):
    """`trace` in the wrong folder does not leave an empty gateway behind."""
    text = invoke("trace", "x", "--data", str(tmp_path / "none"), status=1)
    assert "no gateway has been started" in text
    assert not (tmp_path / "none").exists()


DOT = np.zeros((4, 4), np.uint8)
FLAT = np.zeros((12, 4), np.float32)
PREPARED = Prepared(
    Picture(DOT), Tracings(FLAT, FLAT[0], 250.0), DOT, Steps(DOT, DOT, DOT, DOT, FLAT)
)


class FakeScorer:
    """Scores by file content."""

    bundle = SimpleNamespace(recipe=Recipe())

    def score_file(self, path: Path) -> Scored:
        data = path.read_bytes()
        if data == b"blank":
            raise Unscorable("blank", "nothing on the page", {"source": "page"})
        if data.startswith(b"\x89PNG"):
            raise Unscorable("no-grid", "no millimetre grid was found")
        if data == b"garbage":
            raise Undecodable("not a file of any format")
        return Scored(
            probability=0.91,
            logit=2.3,
            threshold=0.5,
            positive=True,
            model="EIANet",
            version="1",
            bundle="ab" * 32,
            runtime="openvino-int8",
            validated=False,
            prepared=PREPARED,
            guard={"leads": 12, "electrodes": "RA-LA" if data == b"swapped" else ""},
            timings_ms={"decode": 1.0},
        )


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.roles.model.load_scorer", lambda *_: FakeScorer())


def test_score_prints_json_and_saves_images(tmp_path: Path, scorer: None):
    """Programs read the JSON; people look at each step's picture."""
    (tmp_path / "a.dcm").write_bytes(b"ecg")
    line = ["score", str(tmp_path / "a.dcm"), "--json", "--save-images", str(tmp_path / "out")]
    [result] = json.loads(invoke(*line))
    assert (result["probability"], result["positive"]) == (0.91, True)
    assert result["images"][0] == str(tmp_path / "out" / "a-page.png")
    assert (tmp_path / "out" / "a-page.png").read_bytes().startswith(b"\x89PNG")


def test_score_tells_why_a_file_has_no_score_and_exits_with_one(tmp_path: Path, scorer: None):
    """The other files are scored all the same."""
    for name, content in (("a", b"ecg"), ("b", b"blank"), ("c", b"garbage")):
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / name) for name in ("a", "b", "c", "absent")]
    results = json.loads(invoke("score", *files, "--json", status=1))
    assert results[0]["probability"] == 0.91
    assert results[1]["unscorable"] == "blank"
    assert results[1]["guard"] == {"source": "page"}
    assert results[2]["error"] == "not a file of any format"
    assert results[3]["error"] == "No such file or directory"
    table = invoke("score", *files, status=1)
    for part in ("0.910", "positive", "no score: blank", "no score: not readable"):
        assert part in table
    for file, why in zip(
        files[1:],
        ("nothing on the page", "not a file of any format", "No such file or directory"),
        strict=True,
    ):
        assert f"{file}: no score: {why}\n" in table


def test_what_was_read_of_a_refused_file_is_saved_and_named(tmp_path: Path, scorer: None):
    """The page of one that is no scorable ECG; nothing, and it says so, of one that is no file."""
    Image.fromarray(np.eye(100, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    (tmp_path / "b").write_bytes(b"garbage")
    files = [str(tmp_path / name) for name in ("a.png", "b")]
    line = ["score", *files, "--save-images", str(tmp_path / "out")]
    table = invoke(*line, status=1)
    saved = tmp_path / "out" / "a-page.png"
    assert f"a.png: no score: no millimetre grid was found\n  to look at: {saved}\n" in table
    assert "to look at: nothing, for no ECG was read" in table
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-page.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(saved)), np.eye(100) * 255)


def test_score_warns_of_electrodes_that_seem_interchanged(tmp_path: Path, scorer: None):
    """The file has its score, and a sentence of its own below the table."""
    for name in ("ecg", "swapped"):
        (tmp_path / name).write_bytes(name.encode())
    text = invoke("score", str(tmp_path / "ecg"), str(tmp_path / "swapped"))
    assert text.count("0.910") == 2
    assert text.count("Possible interchange") == 1
    assert f"{tmp_path / 'swapped'}: Possible interchange of electrodes RA-LA" in text


def test_images_with_the_same_name_in_two_folders_do_not_overwrite_each_other(
    tmp_path: Path, scorer: None
):
    """Two files of one name give two sets of pictures."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ecg.png").write_bytes(b"ecg")
    files = [str(tmp_path / folder / "ecg.png") for folder in ("one", "two")]
    out = tmp_path / "out"
    results = json.loads(invoke("score", *files, "--json", "--save-images", str(out)))
    assert len({image for result in results for image in result["images"]}) == 14
    assert ecg_commands._stem(Path("x.dcm"), out) == "x"
