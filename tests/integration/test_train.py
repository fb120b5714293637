"""Training: deterministic, resumable, and from a cohort table to a bundle and a report."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from PIL import Image  # noqa: E402
from support.servers import free_port  # noqa: E402
from support.training import SMALL, Simulated, same, small_plan, train_until, weights  # noqa: E402

from inference import ablate, processes  # noqa: E402
from inference.augment import NONE, AugmentConfig  # noqa: E402
from inference.batches import Order, workers_for  # noqa: E402
from inference.bundle import open_bundle  # noqa: E402
from inference.checkpoint import CHECKPOINT, check_room  # noqa: E402
from inference.cohort import Case  # noqa: E402
from inference.develop import DevelopConfig, develop, refuse_another  # noqa: E402
from inference.errors import BundleError, CohortError, RuntimeMissing  # noqa: E402
from inference.evaluate import evaluate  # noqa: E402
from inference.examples import Examples  # noqa: E402
from inference.figures import EvaluateConfig  # noqa: E402
from inference.folds import develop_all  # noqa: E402
from inference.loss import LossConfig  # noqa: E402
from inference.parts import USES, Parts, assign, read_folds  # noqa: E402
from inference.recalibrate import RecalibrateConfig, recalibrate  # noqa: E402
from inference.render import page  # noqa: E402
from inference.score import Scorer  # noqa: E402
from inference.simulate import simulate  # noqa: E402
from inference.thresholds import ThresholdRule  # noqa: E402
from inference.train import Plan, Run  # noqa: E402


@pytest.fixture(scope="module")
def plan():
    return small_plan()


def test_the_same_seed_gives_the_same_weights_and_a_stopped_run_goes_on(plan, tmp_path):
    """Two epochs at once equal one epoch, a checkpoint, and the second one."""
    whole = Run(SMALL, plan, tmp_path / "whole")
    told = []
    whole.train(told.append)
    assert told[-1].step == told[-1].steps == 6
    train_until(3, Run(SMALL, plan, tmp_path / "part"))
    later = Run(SMALL, plan, tmp_path / "part")
    later.train()
    assert later.step == 6
    assert same(weights(whole), weights(later))


def test_a_run_leaves_what_a_bundle_needs(plan, tmp_path):
    """Half-precision kernels without the auxiliary head, a log with an AUROC, the settings."""
    from safetensors.torch import load_file

    Run(SMALL, plan, tmp_path).train()
    state = load_file(tmp_path / "weights.safetensors")
    assert state["conv1.weight"].dtype == torch.float16
    assert not [name for name in state if name.startswith("auxiliary")]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert 0 <= lines[-1]["auroc"] <= 1
    assert json.loads((tmp_path / "config.json").read_text())["batch"] == 4


def test_unknown_auxiliary_targets_carry_no_gradient(plan, tmp_path):
    """NaN stands for unknown: the second class output is never pushed."""
    run = Run(replace(SMALL, epochs=1), plan, tmp_path)
    extra = torch.zeros(2, 3, requires_grad=True)
    classes = torch.tensor([[1.0, float("nan")], [0.0, float("nan")]])
    run._auxiliary(extra, classes, torch.tensor([[1.0], [2.0]])).backward()
    assert extra.grad[:, 1].tolist() == [0.0, 0.0]
    assert (extra.grad[:, [0, 2]] != 0).all()


def test_every_source_is_seen_once_an_epoch_and_a_resumed_order_is_its_rest():
    """Ten sources, batches of three: nine of them in each epoch."""
    batches = list(Order(10, 3, 2, seed=5))
    assert len(batches) == 6
    first = [place for batch in batches[:3] for _, place in batch]
    assert len(set(first)) == 9
    assert list(Order(10, 3, 2, seed=5, start=4)) == batches[4:]


def test_examples_are_drawn_anew_each_epoch_but_repeatably():
    """Same (seed, epoch, place): same image; another epoch: another image."""
    examples = Examples([Simulated(1)], SMALL.recipe, AugmentConfig(), seed=3)
    one, again, other = examples[0, 0], examples[0, 0], examples[1, 0]
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])
    still = Examples([Simulated(1)], SMALL.recipe, NONE)
    assert torch.equal(still[0, 0][0], still[1, 0][0])


def test_an_interrupted_run_keeps_its_last_step(plan, tmp_path):
    """Ctrl-C inside an epoch: a checkpoint of that step; a log without one is not kept."""

    def interrupt(progress):
        raise KeyboardInterrupt

    (tmp_path / "log.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(KeyboardInterrupt):
        Run(SMALL, plan, tmp_path).train(interrupt)
    assert (tmp_path / "log.jsonl").read_text() == ""
    later = Run(SMALL, plan, tmp_path)
    assert later.resume()
    assert later.step == 3


@pytest.fixture
def ctrl_c():
    """Let SIGINT interrupt, also where these tests were started in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda *_: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_inside_a_step_waits_for_its_end(plan, tmp_path, ctrl_c):
    """Batch norm has counted the batch by then: resumed, the weights are as of a straight run."""
    stopped = Run(SMALL, plan, tmp_path / "stopped")
    stopped.loss.register_forward_hook(ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert stopped.step == 1
    later, straight = Run(SMALL, plan, stopped.out), Run(SMALL, plan, tmp_path / "straight")
    later.train()
    straight.train()
    assert same(weights(later), weights(straight))


def test_a_run_in_another_thread(plan, tmp_path):
    """A program that has a thread of its own for it: only the main one is interrupted."""
    run = Run(replace(SMALL, epochs=1), plan, tmp_path)
    thread = threading.Thread(target=run.train)
    thread.start()
    thread.join()
    assert run.step == run.steps


@pytest.mark.parametrize("there", [True, False])
def test_bf16_is_taken_where_the_processor_computes_in_it(plan, tmp_path, monkeypatch, there):
    """Emulated it is many times slower than fp32; who asks for fp32 has it anywhere."""
    monkeypatch.setattr("inference.processes.vino.has_bf16", lambda: there)
    assert Run(replace(SMALL, bf16=True), plan, tmp_path).config.bf16 == there
    assert not Run(SMALL, plan, tmp_path).config.bf16


def test_the_weight_of_positives_is_counted(tmp_path):
    """Eight negatives, four positives: each positive counts twice; a given weight stays."""
    sources = [Simulated(2 * n + (n % 3 == 0)) for n in range(12)]
    weighted = replace(SMALL, loss=LossConfig("bce-weighted"))
    assert Run(weighted, Plan(sources, []), tmp_path).config.loss.positive_weight == 2
    given = replace(SMALL, loss=LossConfig("bce-weighted", positive_weight=3.0))
    assert Run(given, Plan(sources, []), tmp_path).config.loss.positive_weight == 3


def test_two_processes_share_a_run_and_one_writes(tmp_path):
    """As `torchrun` starts them, over gloo: the same weights in both, one set of files."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "support.training", str(tmp_path / "run")],
            cwd=Path(__file__).parents[1],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(each.communicate(timeout=240)[0]) for each in both)
    assert first["weights"] == second["weights"]
    assert first["told"] == [3, 6]
    assert second["told"] == []
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    resumed = Run(SMALL, small_plan(), tmp_path / "run")
    assert resumed.resume()
    assert resumed.step == 6


def test_what_would_fill_the_disk_is_not_begun(plan, tmp_path, monkeypatch):
    """Said before: a mapped file without room kills the process, a checkpoint loses an epoch."""
    check_room(tmp_path, 1, "the examples")
    with pytest.raises(CohortError, match="the examples need 1000000000"):
        check_room(tmp_path, 10**18, "the examples")
    small = SimpleNamespace(free=10**8)
    monkeypatch.setattr("inference.checkpoint.shutil.disk_usage", lambda _: small)
    with pytest.raises(CohortError, match=r"checkpoints need 0\.\d GB .* has 0\.1 GB"):
        Run(SMALL, plan, tmp_path / "run").train()


def test_processes_take_equal_shares_of_each_batch(monkeypatch):
    """Two processes: their shares of a batch are the batch that one would take."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        shares.append([place for batch in Order(10, 4, 1, seed=5) for _, place in batch])
    monkeypatch.undo()
    whole = [place for batch in Order(10, 4, 1, seed=5) for _, place in batch]
    assert [len(share) for share in shares] == [4, 4]
    assert sorted(shares[0] + shares[1]) == sorted(whole)


def test_a_batch_that_cannot_be_shared_is_refused(plan, tmp_path, monkeypatch):
    """Four ECGs for three processes: they would wait for one another for ever."""
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(CohortError, match="cannot be shared by 3"):
        Run(SMALL, plan, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"peak_lr": -1.0}, "peak_lr must be above 0"),
        ({"peak_lr": float("nan")}, "peak_lr must be above 0"),
        ({"workers": -1}, "workers must not be negative"),
        ({"ema": 1.0}, "shares below 1"),
        ({"device": "tpu"}, "device is cpu"),
    ],
)
def test_settings_that_train_nothing_are_refused(wrong, said):
    """Each in a sentence that names the setting."""
    with pytest.raises(ValueError, match=said):
        replace(SMALL, **wrong)


def test_what_cannot_begin_is_said_before_the_cohort_is_read(tmp_path, monkeypatch):
    """A card that is not there, and a start that is no weights: the table need not even exist."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RuntimeMissing, match="no CUDA card"):
        develop(tmp_path / "none.csv", tmp_path, replace(SMALL, device="cuda"), DevelopConfig())
    (tmp_path / "odd.safetensors").write_text("weights?")
    odd = replace(SMALL, pretrained=str(tmp_path / "odd.safetensors"))
    with pytest.raises(CohortError, match=r"odd\.safetensors is no safetensors file"):
        develop(tmp_path / "none.csv", tmp_path, odd, DevelopConfig())


def test_a_card_is_drawn_for_by_all_cores_but_one(monkeypatch):
    """Shared by the processes that torchrun started; on the CPU the network needs the cores."""
    monkeypatch.setattr("inference.batches.cores", lambda: 16)
    assert [workers_for("cpu"), workers_for("cuda"), workers_for("cuda:1")] == [1, 15, 15]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers_for("cuda") == 3
    monkeypatch.setattr("inference.batches.cores", lambda: 2)
    assert workers_for("cuda") == 1


@pytest.mark.parametrize("wrong", [{"folds": 2}, {"name": "../x"}, {"version": ""}])
def test_a_use_of_the_cohort_that_cannot_be_is_refused(wrong):
    """Before hours of training, not by `bundle install` after them."""
    with pytest.raises((ValueError, BundleError), match=r"three folds|folder's name"):
        DevelopConfig(**wrong)


def test_a_weight_that_the_run_counted_is_no_other_setting(tmp_path):
    """`bce-weighted` finds its weight; called again, the same command goes on."""
    weighted = replace(SMALL, loss=LossConfig("bce-weighted"))
    parts = Parts({use: [] for use in USES}, {use: {} for use in USES}, "")
    begun = Run(weighted, Plan([Simulated(2 * n + (n % 3 == 0)) for n in range(12)], []), tmp_path)
    (tmp_path / CHECKPOINT).touch()
    (tmp_path / "config.json").write_text(json.dumps(begun._document()))
    (tmp_path / "split.csv").write_text(parts.split())
    refuse_another(parts, tmp_path, weighted)
    given = replace(weighted, loss=LossConfig("bce-weighted", positive_weight=3.0))
    with pytest.raises(CohortError, match=r"other settings \(loss\)"):
        refuse_another(parts, tmp_path, given)


def test_fewer_ecgs_than_a_batch_are_refused(tmp_path):
    """Nothing could be trained."""
    with pytest.raises(CohortError, match="batch"):
        Run(SMALL, Plan([Simulated(1)], []), tmp_path)


def write_cohort(folder, count, extra=""):
    """Pages of simulated ECGs, two for each of `count` patients, at a low resolution."""
    from inference.render import Style

    rows = []
    for number in range(2 * count):
        patient = number // 2
        kind = "stemi-anterior" if patient % 2 else "normal"
        pixels = page(simulate(kind, number + 100), Style(px_per_mm=5))
        Image.fromarray(pixels).save(folder / f"{number}.png")
        sex = "F" if patient % 3 else "M"
        rows.append((f"{number}.png", patient % 2, f"p{patient}", sex, 40 + patient))
    with (folder / "cohort.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient", "sex", "age"])
        writer.writerows(rows)
    return folder / "cohort.csv"


def test_numbered_folds_of_the_table_are_used_as_they_are():
    """Folds 1 to 10, as PTB-XL has them: the next one after the test fold validates."""
    cases = [Case(None, 1, f"p{i}", fold=str(i % 10 + 1), row=i) for i in range(20)]
    uses = assign(cases, 5, 10)
    assert [uses[9], uses[0], uses[1]] == ["test", "val", "train"]
    with pytest.raises(CohortError, match="with 0 to test"):
        assign(cases, 5, 0)


def test_one_named_split_is_no_set_of_folds(tmp_path):
    """Said before anything is decoded; so are a patient in two folds and too few folds."""
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
    table = tmp_path / "cohort.csv"

    def refused(folds, said):
        rows = [f"{n}.png,{n % 2},p{n // 2},{fold}" for n, fold in enumerate(folds)]
        table.write_text("\n".join(["path,label,patient,fold", *rows]))
        with pytest.raises(CohortError, match=said):
            read_folds(table, 3)

    refused(["train", "train", "val", "val", "test", "test"], "one split; all folds need a number")
    refused(["train", "train", "1", "1", "2", "2"], "a number in every row")
    refused([1, 1, 2, 2, 2, 3], "same patient but lie in folds 2 and 3")
    refused([1, 1, 1, 1, 2, 2], "at least three")


@pytest.mark.slow
def test_every_fold_is_tested_by_the_network_that_did_not_see_it(tmp_path):
    """Three runs, decoded once; the pooled report adds up; called again, nothing is trained."""
    table, out = write_cohort(tmp_path, 12), tmp_path / "out"
    read, told, begun = [], [], []
    use = DevelopConfig(folds=3, int8=False, name="mini")
    config = replace(SMALL, epochs=1)
    run = {"report": told.append, "tell": lambda *said: read.append(said), "begin": begun.append}
    results = develop_all(table, out, config, use, **run)
    assert begun == ["1/3 fold 0", "2/3 fold 1", "3/3 fold 2"]
    assert max(done for what, done, _ in read if what == "reading ECGs") == 24
    assert sum(what == "reading ECGs" for what, *_ in read) == 24

    homes = [out / f"fold-{number}" for number in range(3)]
    tested = [{r["row"] for r in table_of(h / "split.csv") if r["use"] == "test"} for h in homes]
    assert [len(rows) for rows in tested] == [8, 8, 8]
    assert len(set.union(*tested)) == 24
    assert [open_bundle(home / "bundle").name for home in homes] == [
        f"mini-fold-{number}" for number in range(3)
    ]
    own = [json.loads((home / "report" / "results.json").read_text()) for home in homes]
    for name in ("tp", "fp", "tn", "fn"):
        assert results["confusion"][name] == sum(each["confusion"][name] for each in own)
    assert results["cohort"]["ecgs"] == sum(each["cohort"]["ecgs"] for each in own)
    folds = results["folds"]
    assert [each["auroc"] for each in folds["each"]] == [each["metrics"]["auroc"] for each in own]
    aurocs = [each["metrics"]["auroc"][0] for each in own]
    assert folds["mean_auroc"] == pytest.approx(np.mean(aurocs))
    brier = [each["brier"] * each["cohort"]["ecgs"] for each in own]
    assert results["brier"] == pytest.approx(sum(brier) / results["cohort"]["ecgs"])
    html = (out / "report" / "report.html").read_text()
    assert "3 networks, each judged at its own threshold" in html
    assert "Mean AUROC of the folds" in html
    rows = table_of(out / "report" / "scores.csv")
    assert len({row["key"] for row in rows}) == len(rows) == 24

    trained = len(told)
    kept = {"bundle", "config.json", "split.csv", "log.jsonl", "report"}
    assert [{path.name for path in home.iterdir()} for home in homes] == [kept] * 3
    again = develop_all(table, out, config, use, **run)
    assert len(told) == trained
    assert again | {"created": ""} == results | {"created": ""}
    with pytest.raises(CohortError, match=r"fold-0 holds a run with other settings \(seed\)"):
        develop_all(table, out, replace(config, seed=2), use)


def test_the_axis_of_pretraining_needs_weights():
    """The base starts from them, its variant from scratch; without a difference nothing begins."""
    base = replace(SMALL, pretrained="given.safetensors")
    cells = ablate.grid(ablate.AblateConfig(base=base, axes=["pretraining"]))
    assert [(each.name, each.train.pretrained) for each in cells] == [
        ("base", "given.safetensors"),
        ("from scratch", ""),
    ]
    everything = ablate.AblateConfig(base=SMALL)
    assert "pretraining" not in {each.axis for each in ablate.grid(everything)}
    with pytest.raises(ValueError, match="nothing to compare"):
        ablate.AblateConfig(base=SMALL, axes=["pretraining"])


def test_a_size_of_another_aspect_is_said_to_stretch_the_panel():
    """A reader of the comparison must not take the aspect for the size."""
    figure = dict.fromkeys(("auroc", "auprc", "f1"), (0.8, 0.7, 0.9))
    rows = [{"axis": "base", "variant": "base", "metrics": figure, "difference": None}]
    rows.append({"axis": "size", "variant": "224x224", "metrics": figure, "difference": figure})
    sizes = {"train": 9, "val": 3, "test": 3}
    base = replace(SMALL, pretrained="/of/given.safetensors").document()
    text = ablate.html(rows, {"base": base, "ecgs": sizes, "draws": 50})
    assert "of another aspect shows it stretched" in text
    assert "epochs from the weights in given.safetensors, batch" in text


@pytest.mark.slow
def test_variants_are_compared_with_the_base_and_trained_once(tmp_path):
    """Two cells on one split; called again, nothing is trained; other settings are refused."""
    table = write_cohort(tmp_path, 12)
    config = ablate.AblateConfig(
        base=replace(SMALL, epochs=1), axes=["attention"], only=["none"], folds=3, draws=50
    )
    told = []
    run = {"config": config, "progress": told.append}
    base, without = ablate.ablate(table, tmp_path / "out", **run)
    assert (base["variant"], base["difference"]) == ("base", None)
    moved = without["difference"]["auroc"][0]
    assert moved == pytest.approx(without["metrics"]["auroc"][0] - base["metrics"]["auroc"][0])
    card = open_bundle(tmp_path / "out" / "attention" / "none" / "bundle").card
    assert card["network"]["sa_after"] == []
    html = (tmp_path / "out" / "ablation.html").read_text()
    assert all(f"<th>{name} less base</th>" in html for name in ("AUROC", "AUPRC", "F1"))
    assert "stretched" not in html

    again = replace(config, draw_once=True)
    drawn = ablate.ablate(table, tmp_path / "once", config=again)
    assert [each["metrics"] for each in drawn] == [base["metrics"], without["metrics"]]
    assert len(list((tmp_path / "once").glob("bank-*"))) == 1

    trained = len(told)
    kept = {path.name for path in (tmp_path / "out" / "attention" / "none").iterdir()}
    assert kept == {"bundle", "config.json", "split.csv", "log.jsonl"}
    assert ablate.ablate(table, tmp_path / "out", **run) == [base, without]
    assert len(told) == trained
    other = replace(config, base=replace(config.base, epochs=2))
    with pytest.raises(CohortError, match=r"other settings \(epochs\)"):
        ablate.ablate(table, tmp_path / "out", config=other)
    with pytest.raises(ValueError, match="no variant"):
        ablate.grid(replace(config, only=["some"]))


@pytest.mark.slow
def test_from_a_folder_of_ecgs_to_a_recalibrated_bundle(tmp_path):
    """Train, build, report; validate the bundle on a table; recalibrate; the weights stay."""
    table = write_cohort(tmp_path, 12)
    rule = ThresholdRule("sensitivity", sensitivity=1.0)
    use = DevelopConfig(folds=3, int8=False, name="mini", rule=rule)
    results = develop(table, tmp_path / "run", replace(SMALL, epochs=1), use)
    assert results["cohort"]["ecgs"] + sum(results["cohort"]["refused"].values()) == 8
    html = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "not validated" in html
    assert "http" not in html.replace("http://www.w3.org", "")
    split = table_of(tmp_path / "run" / "split.csv")
    assert {row["use"] for row in split} == {"train", "val", "test"}
    chosen = open_bundle(tmp_path / "run" / "bundle").card["threshold_rule"]
    assert chosen == {"rule": "sensitivity", "sensitivity": 1.0, "ecgs": "the validation ECGs"}

    scorer = Scorer.load(tmp_path / "run" / "bundle", "openvino-fp32", threads=1)
    config = EvaluateConfig(draws=50)
    internal = tmp_path / "run" / "report" / "results.json"
    own = evaluate(scorer, table, tmp_path / "own", config)
    used = [int(row["row"]) for row in split if row["use"] != "test"]
    assert set(own["cohort"]["left_out"]["known"]) <= set(used)
    assert own["cohort"]["ecgs"] == results["cohort"]["ecgs"]
    assert own["metrics"]["sensitivity"][0] == results["metrics"]["sensitivity"][0]
    use = {"internal": internal, "allow_known": True}
    external = evaluate(scorer, table, tmp_path / "external", config, **use)
    cohort = external["cohort"]
    assert cohort["known"] == own["cohort"]["known"]
    assert "Not a validation on other data" in (tmp_path / "external/report.html").read_text()
    assert cohort["ecgs"] + sum(cohort["refused"].values()) == 24
    assert cohort["ecgs"] >= 20
    before, after = (each["metrics"]["auroc"][0] for each in (results, external))
    assert external["drop"]["auroc"]["difference"][0] == pytest.approx(before - after)
    assert {row["group"] for row in external["subgroups"]} >= {"sex", "age_band", "source"}
    page_of_misses = (tmp_path / "external" / "report.html").read_text()
    assert "data:image/png" in page_of_misses
    assert "p0" not in (tmp_path / "external" / "scores.csv").read_text()

    outcomes = scored_again(external, tmp_path / "external" / "scores.csv")
    made = recalibrate(scorer.bundle, outcomes, tmp_path / "site", RecalibrateConfig(version="2"))
    assert made.version == "2"
    assert not made.validated
    assert made.card["parent"] == scorer.bundle.digest
    assert made.card["files"] == open_bundle(tmp_path / "run" / "bundle").card["files"]


def table_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def scored_again(results, scores):
    """Outcomes with a clear dependence on the label, as a trained model would give."""
    from inference.outcomes import Outcomes

    rows = [row for row in table_of(scores) if not row["reason"]]
    labels = np.array([int(row["label"]) for row in rows])
    logits = np.array([float(row["logit"]) for row in rows]) + 2.0 * labels
    chances = 1 / (1 + np.exp(-logits))
    assert results["cohort"]["ecgs"] == len(rows)
    return Outcomes(labels, chances, logits, np.arange(len(rows)))
