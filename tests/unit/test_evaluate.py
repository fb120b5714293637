"""A validation's figures and its report: complete, by hand where that can be, and without PHI."""

import csv
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bundles import tiny_bundle

from inference import charts, markup, report
from inference.architecture import NetworkConfig
from inference.bundle import Bundle
from inference.cohort import Case
from inference.errors import CohortError
from inference.evaluate import evaluate, read_results, write
from inference.figures import EvaluateConfig, drop, subgroups, summarise
from inference.outcomes import Outcomes, strata_of, with_pictures, with_refused, worst
from inference.preprocess import Recipe
from inference.render import Style, page, png
from inference.score import Scorer
from inference.simulate import simulate

CARD = {
    "name": "tried",
    "version": "3",
    "threshold": 0.6,
    "endpoint": {"name": "arrest", "meaning": "cardiac arrest within 24 h"},
    "validation": {"status": "not validated"},
}


@pytest.fixture(scope="module")
def bundle():
    return Bundle(Path("tried"), CARD, "ab" * 32, NetworkConfig(), Recipe())


@pytest.fixture(scope="module")
def outcomes():
    """Sixty ECGs of forty patients; the score rises with the outcome."""
    rng = np.random.default_rng(3)
    labels = (rng.random(60) < 0.4).astype(int)
    logits = 1.5 * labels - 0.5 + rng.normal(0, 1, 60)
    cases = [
        Case(
            Path(f"{i}.png"),
            int(y),
            f"patient-{i % 40}",
            sex="FM"[i % 2],
            age=30.0 + i,
            time=datetime(2026, 1, 1) + timedelta(days=i),
            row=i,
        )
        for i, y in enumerate(labels)
    ]
    return Outcomes(
        labels=labels,
        scores=1 / (1 + np.exp(-logits)),
        logits=logits,
        groups=np.array([case.patient for case in cases]),
        strata=strata_of(
            cases, source=["page"] * 60, format=["pdf", "png"] * 30, layout=["3x4+1", "6x2"] * 30
        ),
        keys=[case.key for case in cases],
        cases=cases,
    )


def test_the_report_names_everything_and_nobody(bundle, outcomes, tmp_path):
    """Each figure that a reader must find, no script, no outside file, no patient."""
    refused = {Case(Path("x"), 1, "patient-99", row=77): "too-few-leads"}
    results = summarise(with_refused(outcomes, refused), bundle, EvaluateConfig(draws=50))
    results["drop"] = drop(results, results)
    write(results, outcomes, tmp_path)
    text = (tmp_path / "report.html").read_text()
    for name in (
        "not validated",
        "1, of these 1 with the outcome",
        "F1 at the threshold",
        "F1 at 0.5",
        "F1 of calling every ECG positive",
        "AUROC",
        "AUPRC",
        "Sensitivity",
        "Specificity",
        "PPV",
        "NPV",
        "false alarms",
        "At a prevalence of 0.20%",
        "Alerts a day",
        "ROC",
        "Precision-recall",
        "Calibration",
        "Decision curve",
        "sex: F",
        "40-49",
        "time: later half (n = 30)",
        "file format: pdf (n = 30)",
        "1 of 61 ECGs could not be scored and count in no figure; each has its reason.",
        "Not stated among the 60 scored ECGs: site of 60.",
        "drop (internal - external)",
        "TRIPOD+AI",
    ):
        assert name in text, name
    assert "patient-" not in text + (tmp_path / "scores.csv").read_text()
    assert "<script" not in text
    assert "http" not in text
    assert read_results(tmp_path / "results.json")["metrics"] == results["metrics"]


def test_every_item_of_tripod_is_filled_or_left_for_people(bundle, outcomes):
    """All 27 with their parts: 12b and so on, from what card and results know."""
    told = {
        "data": {
            "attribution": "us",
            "train": 90,
            "val": 30,
            "test": 30,
            "positive": {"train": 9, "val": 3, "test": 4},
            "split": "by patient",
        },
        "training": {"epochs": 60, "loss": "focal", "peak_lr": 5e-4, "batch": 16, "seed": 1},
    }
    known = replace(bundle, card=CARD | told)
    text = report.html(summarise(outcomes, known, EvaluateConfig(draws=50)))
    for said in (
        "Trained for 60 epochs with the loss focal, batch 16, peak learning rate 0.0005, seed 1.",
        "ECGs recorded from 2026-01 to 2026-03",
        "ECGs: 90 to train, 30 to validate, 30 to test; split: by patient",
        "ResNet50, spatial attention after layers 1, 2, 3. Trained for 60 epochs",
        "60 ECGs of 40 patients, ",
        "age 60 years (median; quartiles 45 and 74)",
        "to train 90 ECGs, 9 with the outcome; to validate 30 ECGs, 3 with the outcome",
        "not examined: the cohort names fewer than two sites",
        "<td>none: weights and scores as trained</td>",
    ):
        assert said in text, said
    listed = _spread(text[text.index("<h2>TRIPOD+AI") :])
    parts = {5: "ab", 8: "abc", 9: "abc", 12: "abcdefg", 20: "abc", 23: "ab", 27: "abc"}
    items = {f"{number}{part}" for number in range(1, 28) for part in parts.get(number, [""])}
    assert items - listed == set()
    bare = replace(outcomes, cases=[], strata={})
    text = report.html(summarise(bare, bundle, EvaluateConfig(draws=50)))
    assert "For people to write: 5b dates; 1-4 title" in text
    assert "Training: the card does not tell." in text


def _spread(text):
    """The items that a text names, `8b-c` and `25-26` spread out."""
    items = set()
    for number, part, last in re.findall(r"\b(\d+)([a-g]?)(?:-([a-g]|\d+))? [a-zA-Z]", text):
        items.add(number + part)
        if last.isdigit():
            items |= {str(n) for n in range(int(number), int(last) + 1)}
        elif last:
            items |= {number + chr(c) for c in range(ord(part), ord(last) + 1)}
    return items


def test_the_report_says_what_the_guard_did(bundle, outcomes, tmp_path):
    """How many it refused, none included, and how far from the training inputs the others are."""
    measured = [
        {"distance": n / 59, "bound": 5.5, "embedding": "not measured", "electrodes": ""}
        for n in range(60)
    ]
    measured[7]["electrodes"] = "RA-LA"
    seen = replace(outcomes, guard=measured)
    refused = {Case(Path("x"), 0, "p", row=n): "out-of-domain" for n in (77, 78)}
    results = summarise(with_refused(seen, refused), bundle, EvaluateConfig(draws=50))
    told = results["cohort"]["guard"]
    assert told["distance"] == pytest.approx([0.5, 0.95, 1, 5.5])
    assert (told["refused"], told["electrodes"], "embedding" in told) == (2, 1, False)
    text = report.html(results)
    assert "model was trained on</td><td>2</td>" in text
    assert "median 0.50, 95 % within 0.95, largest 1.00; scored up to 5.50" in text
    none = summarise(outcomes, bundle, EvaluateConfig(draws=50))
    assert none["cohort"]["guard"] == {"refused": 0}
    assert "model was trained on</td><td>0</td>" in report.html(none)


def test_rows_without_a_score_can_be_found(tmp_path):
    """In `scores.csv` with the reason and an empty score; in the report by their numbers."""
    for number in range(6):
        kind = "stemi-anterior" if number % 2 else "normal"
        (tmp_path / f"{number}.png").write_bytes(png(page(simulate(kind, number))))
    (tmp_path / "2.png").write_text("no ECG at all")
    (tmp_path / "4.png").write_bytes(png(np.full((600, 800), 255, np.uint8)))
    lines = ["path,label,patient", *(f"{n}.png,{n % 2},p{n}" for n in range(6))]
    (tmp_path / "cohort.csv").write_text("\n".join(lines))
    scorer = Scorer.load(tiny_bundle(), "openvino-fp32", threads=1)
    out = tmp_path / "out"
    results = evaluate(scorer, tmp_path / "cohort.csv", out, EvaluateConfig(draws=20))
    assert results["cohort"]["left_out"] == {"blank": [6], "undecodable": [4]}
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [(r["key"], r["reason"]) for r in rows if not r["probability"]] == [
        ("row 4", "undecodable"),
        ("row 6", "blank"),
    ]
    assert sum(row["reason"] == "" for row in rows) == 4
    assert (
        "<tr><td>not a readable ECG file</td><td>4</td></tr>" in (out / "report.html").read_text()
    )
    assert {row["value"] for row in results["subgroups"] if row["group"] == "format"} == {"png"}


def test_alerts_at_the_prevalence_of_the_hospital(bundle, outcomes):
    """By Bayes' rule from sensitivity and specificity, with an interval around the estimate."""
    config = EvaluateConfig(prevalence=0.01, ecgs_per_day=200, draws=50)
    results = summarise(outcomes, bundle, config)
    sensitivity, specificity = (results["metrics"][n][0] for n in ("sensitivity", "specificity"))
    real = results["at_real_prevalence"]
    alerts = 200 * (0.01 * sensitivity + 0.99 * (1 - specificity))
    assert real["alerts_per_day"] == pytest.approx(alerts)
    assert real["true_alerts_per_day"] + real["missed_per_day"] == pytest.approx(2)
    _, low, high = real["intervals"]["alerts_per_day"]
    assert low < alerts < high


def test_the_worst_mistakes_are_mistakes(outcomes):
    """Misses below the threshold, the lowest score first; then false alarms, the highest first."""
    places = worst(outcomes, 0.5, count=4)
    labels, scores = outcomes.labels[places], outcomes.scores[places]
    assert labels.tolist() == [1, 1, 0, 0]
    assert scores[0] <= scores[1] < 0.5 <= scores[3] <= scores[2]


def test_a_mistake_is_shown_without_its_header(outcomes, tmp_path):
    """A scanned page is drawn anew of what was read from it."""
    header = ("DOE^JANE  ID 4711  F 61 y", "2026-11-25 10:11:12")
    pixels = page(simulate("normal", 5), Style(header=header, px_per_mm=6))
    Image.fromarray(pixels).save(tmp_path / "scan.png")
    case = Case(tmp_path / "scan.png", 1, "p", row=2)
    one = replace(outcomes, labels=np.array([1]), scores=np.array([0.1]), keys=["row 2"])
    shown = with_pictures(replace(one, cases=[case]), 0.5).pictures["row 2"]
    assert shown.shape == (210 * 5, 297 * 5, 3)
    assert (shown[: 9 * 5] == 255).all()
    assert not (pixels[: 9 * 6] == 255).all()


def test_the_interval_of_a_drop_by_hand():
    """0.9 (0.85-0.94) and 0.8 (0.7-0.88): 0.1 less hypot(0.05, 0.08), plus hypot(0.04, 0.1)."""
    inside, outside = (
        {"metrics": {"auroc": value}} for value in ((0.9, 0.85, 0.94), (0.8, 0.7, 0.88))
    )
    found = drop(inside, outside)["auroc"]["difference"]
    assert found == pytest.approx([0.1, 0.1 - 0.09434, 0.1 + 0.10770], abs=1e-4)
    undefined = {"metrics": {"auroc": (0.8, None, None)}}
    assert drop(inside, undefined)["auroc"]["difference"] == [pytest.approx(0.1), None, None]


def test_another_file_is_no_internal_result(tmp_path):
    """`--internal` names the wrong file: said so, before anything is scored."""
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(CohortError, match=r"not the results\.json"):
        read_results(tmp_path / "x.json")


def test_an_undefined_figure_is_a_dash():
    """One class only: no AUROC, no interval."""
    assert markup.interval([None, None, None]) == "-"
    assert markup.interval([0.5, None, None]) == "0.500"


def test_a_chart_has_room_for_its_longest_name():
    """Names end left of the axis and may not begin outside the picture."""
    name = "file format: dicom-waveform (n = 12345)"
    drawn = charts.forest("AUROC", [("sex: F", 0.7, 0.6, 0.8), (name, 0.7, 0.6, 0.8)], (0.0, 1.0))
    ends = re.findall(r'x="([^"]+)" y="[^"]+" class="y"', drawn)
    assert [float(end) >= 6 * len(name) for end in ends] == [True, True]


def test_a_subgroup_of_a_few_ecgs_has_no_figures():
    """Nine with the outcome and twenty without: specificity alone can be told."""
    labels = np.array([1] * 9 + [0] * 20 + [1] * 20)
    outcomes = Outcomes(
        labels=labels,
        scores=labels * 0.5 + 0.2,
        logits=labels * 1.0,
        groups=np.arange(labels.size),
        strata={"sex": np.array(["F"] * 29 + ["M"] * 20)},
    )
    few, one_class = subgroups(outcomes, 0.5, EvaluateConfig(draws=50))
    assert (few["n"], few["positive"]) == (29, 9)
    assert np.isnan([*few["auroc"], *few["sensitivity"]]).all()
    assert few["specificity"][0] == 1.0
    assert one_class["sensitivity"][0] == 1.0
    assert np.isnan([*one_class["auroc"], *one_class["specificity"]]).all()
