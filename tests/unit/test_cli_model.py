"""`train`, `evaluate`, `recalibrate` and `explain`: what they refuse, and what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.cli import invoke

from inference.errors import CohortError


def test_ctrl_c_in_training_says_that_nothing_is_lost(tmp_path: Path, monkeypatch):
    """The same command goes on; the exit status is that of an interrupted program."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from inference import develop

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(develop, "develop", interrupted)
    table = tmp_path / "cohort.csv"
    table.write_text("path,label,patient\n")
    line = ["train", "--cohort", table, "--out", tmp_path / "run"]
    assert "the same command goes on from here" in invoke(*line, status=130)


def test_what_train_is_told_wrongly_is_said_in_one_sentence(tmp_path: Path):
    """Size, layers, loss and start are checked before a cohort is read."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    table = tmp_path / "none.csv"
    table.write_text("no columns")
    line = ["train", "--cohort", str(table), "--out", str(tmp_path / "run")]
    for options, said in (
        (["--size", "big"], "HEIGHTxWIDTH"),
        (["--sa", "one"], "names layers"),
        (["--loss", "mse"], "loss.kind is one of brloss, "),
        (["--pretrained", "absent.safetensors"], "no such file"),
        (["--batch", "0"], "'--batch'"),
        (["--epochs", "0"], "'--epochs'"),
        (["--workers", "-1"], "'--workers'"),
        (["--peak-lr", "-1"], "'--peak-lr'"),
        (["--peak-lr", "0"], "peak_lr must be above 0"),
        (["--device", "tpu"], "device is cpu, cuda or"),
        (["--name", "../x"], "not usable as a folder's name"),
        (["--prevalence", "nan"], "prevalence"),
        (["--rule", "best"], "rule is one of f1, sensitivity, cost"),
        (["--rule", "cost", "--miss", "-3"], "'--miss'"),
        (["--sensitivity", "5"], "'--sensitivity'"),
        (["--out", str(table)], "is a file"),
        (["--all-folds", "--test-fold", "0"], "leave out --test-fold"),
    ):
        assert said in invoke(*line, *options, status=2)
    odd = ["--pretrained", str(table)]
    with pytest.raises(CohortError, match=r"none\.csv is no safetensors file"):
        invoke(*line, *odd)
    table.unlink()
    with pytest.raises(CohortError, match="No such file"):
        invoke(*line)


def trained_with(monkeypatch, tmp_path: Path, *options: object, command="train"):
    """The settings that a training is started with."""
    from inference import ablate, develop

    told = []

    def stopped(_table, _out, config, *_, **__):
        told.append(config if command == "train" else config.base)
        raise CohortError("told")

    monkeypatch.setattr({"train": develop, "ablate": ablate}[command], NAMES[command], stopped)
    with pytest.raises(CohortError, match="told"):
        invoke(command, "--cohort", "none.csv", "--out", tmp_path / "run", *options)
    return told[0]


NAMES = {"train": "develop", "ablate": "ablate"}


def test_a_runs_settings_can_be_given_back_and_changed(tmp_path: Path, monkeypatch):
    """An option on the command line wins, then the file, then the command's default."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from dataclasses import replace

    from inference.loss import LossConfig
    from inference.network import NetworkConfig
    from inference.preprocess import Recipe
    from inference.train_config import TrainConfig

    ran = TrainConfig(
        epochs=3,
        workers=2,
        device="cuda:1",
        network=NetworkConfig(64, 128, sa_after=(), auxiliary=7),
        recipe=Recipe(binarise="otsu", input_height=64, input_width=128),
        loss=LossConfig("focal", focal_gamma=1.5),
    )
    file = tmp_path / "config.json"
    file.write_text(json.dumps(ran.document() | {"training": 99}))
    again = replace(ran, network=replace(ran.network, auxiliary=0))
    assert trained_with(monkeypatch, tmp_path, "--settings", file) == again
    assert trained_with(monkeypatch, tmp_path, "--settings", file, command="ablate") == again
    options = ["--settings", file, "--size", "128x256", "--sa", "1,2,3", "--epochs", 60]
    other = trained_with(monkeypatch, tmp_path, *options)
    assert (other.network, other.epochs) == (NetworkConfig(), 60)
    assert (other.recipe.binarise, other.loss, other.device) == ("otsu", ran.loss, "cuda:1")

    file.write_text('{"loss": {"focal_gamma": 1}, "augment": {"roll": false}}')
    part = trained_with(monkeypatch, tmp_path, "--settings", file, command="ablate")
    assert (part.epochs, part.loss) == (8, LossConfig("brloss", focal_gamma=1.0))
    assert not part.augment.roll


def test_folds_are_pooled_at_their_own_thresholds_and_told(tmp_path: Path, monkeypatch):
    """Two folds whose scores lie apart: at their own thresholds no ECG is judged wrongly."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from inference import folds
    from inference.architecture import NetworkConfig
    from inference.bundle import Bundle
    from inference.figures import EvaluateConfig
    from inference.outcomes import Outcomes
    from inference.preprocess import Recipe

    judged = []
    for number, threshold in enumerate((0.2, 0.8)):
        labels = np.arange(20) % 2
        scores = np.where(labels, threshold + 0.1, threshold - 0.1)
        card = {
            "name": f"mini-fold-{number}",
            "version": "1",
            "threshold": threshold,
            "validation": {"status": "not validated"},
            "data": {"attribution": "us", "table_sha256": ""},
        }
        bundle = Bundle(tmp_path, card, str(number) * 64, NetworkConfig(), Recipe())
        groups = np.arange(20) + 20 * number
        outcomes = Outcomes(labels, scores, folds.log_odds(scores), groups, refused={"blank": 1})
        judged.append(folds.Judged(number, bundle, outcomes, (1.0, 1.0, 1.0)))
    results = folds.summarise_all(judged, "mini", EvaluateConfig(draws=50))
    assert results["confusion"] == {"tp": 20, "fp": 0, "fn": 0, "tn": 20}
    assert results["metrics"]["auroc"][0] == 1.0
    assert results["metrics"]["f1_at_half"][0] == pytest.approx(0.5)  # of the probabilities
    errors = [
        (score - label) ** 2 for label in (0, 1) for score in (0.1 + 0.2 * label, 0.7 + 0.2 * label)
    ]
    assert results["brier"] == pytest.approx(np.mean(errors))
    assert results["cohort"]["refused"] == {"blank": 2}

    monkeypatch.setattr(folds, "develop_all", lambda *_, **__: results)
    told = invoke("train", "--all-folds", "--cohort", "none.csv", "--out", tmp_path / "run")
    assert re.search(r"0 +20 +10 +0\.200 +1\.000", told)
    assert re.search(r"mean +1\.000", told)
    assert "run/fold-*/bundle" in told.replace("\n", "")


def test_settings_that_cannot_be_are_refused_by_name(tmp_path: Path):
    """Unknown names and wrong types, each where it stands in the file."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    file = tmp_path / "settings.json"
    line = ["train", "--cohort", "none.csv", "--out", tmp_path / "run", "--settings", file]
    assert "No such file" in invoke(*line, status=2)
    for text, said in (
        ("{", "not JSON"),
        ("[]", "names and values are needed"),
        ('{"network": 1}', "network must be names with their values, not 1"),
        ('{"losss": {}}', "unknown: losss; known are epochs, batch, "),
        ('{"loss": {"gamma": 1}}', "unknown: loss.gamma; known are kind, ema, "),
        ('{"loss": {"kind": "mse"}}', "loss.kind is one of brloss, "),
        ('{"recipe": {"opening_mm": "1"}}', "recipe.opening_mm must be a number, not '1'"),
        ('{"recipe": {"fixed_level": 0.5}}', "recipe.fixed_level must be a whole number"),
        ('{"augment": {"roll": 1}}', "augment.roll must be true or false, not 1"),
        ('{"augment": {"shift_mm": -1}}', "augment.shift_mm must not be negative"),
        ('{"clip": NaN}', "clip must be a number, not nan"),
        ('{"epochs": true}', "epochs must be a whole number, not True"),
        ('{"network": {"sa_after": 3}}', "network.sa_after must be whole numbers in brackets"),
        ('{"network": {"height": 64}}', "network.height and width, 64x256, must be recipe."),
        ('{"pretrained": "absent"}', "--pretrained absent: no such file"),
    ):
        file.write_text(text)
        assert said in invoke(*line, status=2), text


def test_every_loss_and_recipe_key_is_documented():
    """In `--loss`'s help and in the table of the guide."""
    pytest.importorskip("torch")
    from dataclasses import fields

    from inference.loss import KINDS
    from inference.preprocess import Recipe

    guide = (Path(__file__).parents[2] / "docs" / "data-science.md").read_text()
    told = invoke("train", "--help")
    assert [kind for kind in KINDS if kind not in told or f"`{kind}`" not in guide] == []
    assert [each.name for each in fields(Recipe) if f"`{each.name}`" not in guide] == []


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("evaluate", ["--prevalence", "2"], "'--prevalence'"),
        ("evaluate", ["--prevalence", "0"], "prevalence lies above 0"),
        ("evaluate", ["--draws", "0"], "'--draws'"),
        ("evaluate", ["--ecgs-per-day", "0"], "ECGs a day must be above 0"),
        ("recalibrate", ["--rule", "cost", "--miss", "-3"], "'--miss'"),
        ("recalibrate", ["--rule", "cost", "--miss", "0"], "must be above 0"),
        ("recalibrate", ["--rule", "sensitivity", "--sensitivity", "5"], "'--sensitivity'"),
        ("recalibrate", ["--rule", "sensitivity", "--sensitivity", "0"], "a sensitivity lies"),
        ("recalibrate", ["--prevalence", "1"], "prevalence lies above 0"),
        ("recalibrate", ["--rule", "youden"], "rule is one of"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(tmp_path: Path, command, options, said):
    """With exit status 2, before a bundle is loaded or a cohort is read."""
    line = [command, "--cohort", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")]
    assert said in invoke(*line, *options, status=2)
    assert not (tmp_path / "out").exists()


def test_recalibrate_says_where_its_probabilities_hold(tmp_path: Path, monkeypatch):
    """A warning without a stated prevalence; ECGs that the bundle knows are left out, and told."""
    from support.bundles import tiny_bundle

    from inference.outcomes import Outcomes

    labels = np.arange(60) % 2
    logits = labels + np.linspace(-1, 1, 60)

    def scored(_scorer, cases, _tell):
        refused = {"no-grid": 2, "blank": 1}
        chances = 1 / (1 + np.exp(-logits))
        return Outcomes(
            labels, chances, logits, labels, refused=refused, refused_positive=2, cases=cases
        )

    monkeypatch.setattr("inference.outcomes.score_cohort", scored)
    monkeypatch.setattr("inference.parity.remeasure", lambda made, *_: made)
    for number in (0, 1):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
    table = tmp_path / "cohort.csv"
    table.write_text("path,label,patient\n0.png,0,p\n1.png,1,q\n")
    line = ["recalibrate", "--cohort", str(table), "--bundle", str(tiny_bundle())]
    text = invoke(*line, "--out", str(tmp_path / "here"))
    assert "! Probabilities and threshold hold only where 50.0% of the ECGs" in text
    assert "! not scored and not fitted to: 1 blank, 2 no-grid; 2 of them with the outcome" in text
    text = invoke(*line, "--out", str(tmp_path / "there"), "--prevalence", "0.01")
    assert "Probabilities hold where 1.00% of the ECGs have the outcome, as stated" in text
    line = ["recalibrate", "--cohort", str(table), "--bundle", str(tmp_path / "here")]
    with pytest.raises(CohortError, match="2 of 2 ECGs trained this bundle"):
        invoke(*line, "--out", str(tmp_path / "again"))
    text = invoke(*line, "--out", str(tmp_path / "again"), "--allow-known")
    assert "! ECGs that trained this bundle or chose its threshold: 2, counted all the same" in text


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch):
    """`--out` of every command that writes one, before a bundle is loaded."""
    (tmp_path / "out").write_text("")
    for command, path in (("evaluate", "out"), ("evaluate", "out/in"), ("recalibrate", "out/in")):
        line = [command, "--cohort", "none.csv", "--out", str(tmp_path / path)]
        assert "is a file" in invoke(*line, status=2)
    monkeypatch.setattr("os.access", lambda *_: False)
    line = ["evaluate", "--cohort", "none.csv", "--out", str(tmp_path / "new")]
    assert "cannot be written to" in invoke(*line, status=2)


def test_explain_goes_on_past_a_file_that_cannot_be_read(tmp_path: Path):
    """Two files of one name are told apart; another is said to be none, with exit status 1."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from support.bundles import tiny_bundle

    from inference.render import page, png
    from inference.simulate import simulate

    for folder, seed in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "doe-jane.png").write_bytes(png(page(simulate("normal", seed))))
    files = [str(tmp_path / folder / "doe-jane.png") for folder in ("one", "absent", "two")]
    out = tmp_path / "out"
    line = ["explain", "--bundle", str(tiny_bundle()), "--out", str(out), *files]
    output = invoke(*line, status=1)
    assert "not explained: No such file" in output
    assert {path.name for path in out.iterdir()} == {"ecg-1", "ecg-3", "explain.html"}
    text = (out / "explain.html").read_text()
    assert re.search(r"<h2>ecg-3: score 0\.\d{3,5} \(torch\)", text)
    assert "score (torch)" in output
    assert json.loads((out / "ecg-1" / "explained.json").read_text())["runtime"] == "torch"
    assert "doe-jane" not in text
    assert re.search(r"ecg-3 .*two/doe-jane\.png", output.replace("\n", " "))
