"""What a run keeps on the disk: whole or not at all, and the same for every later call."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.training import SMALL, small_plan  # noqa: E402

from inference import checkpoint, processes  # noqa: E402
from inference.loss import LossConfig  # noqa: E402
from inference.train import Run  # noqa: E402

ONCE = replace(SMALL, epochs=1)


@pytest.fixture(scope="module")
def plan():
    return small_plan()


def test_a_disk_that_fills_up_leaves_what_was_there(plan, tmp_path, monkeypatch):
    """No half file stays; the weights are of the checkpoint's step or are written again with it."""
    run = Run(ONCE, plan, tmp_path)
    run.save()
    kept = (tmp_path / checkpoint.CHECKPOINT).read_bytes()

    def full(held, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    run.step = 1
    with monkeypatch.context() as disk:
        disk.setattr("inference.checkpoint.torch.save", full)
        with pytest.raises(OSError, match="No space"):
            run.save()
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.pt",
        "weights.safetensors",
    ]
    again = Run(ONCE, plan, tmp_path)
    again.train()
    assert again.step == again.steps


def test_settings_are_kept_as_asked_for(plan, tmp_path):
    """The weight of positives follows from the cohort: the next call does not name another one."""
    asked = replace(ONCE, loss=LossConfig("bce-weighted"))
    run = Run(asked, plan, tmp_path)
    assert run.config.loss.positive_weight == 1
    run.train()
    told = json.loads((tmp_path / "config.json").read_text())
    assert told["loss"] == json.loads(json.dumps(asked.document()))["loss"]


def test_only_the_first_process_writes_the_log(plan, tmp_path, monkeypatch):
    """Of several that resume at once one would read what another is writing."""
    (tmp_path / "log.jsonl").write_text('{"epoch": 9}\n')
    monkeypatch.setattr(processes, "rank", lambda: 1)
    Run(ONCE, plan, tmp_path)._forget(0)
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 9}\n'
    monkeypatch.setattr(processes, "rank", lambda: 0)
    Run(ONCE, plan, tmp_path)._forget(0)
    assert (tmp_path / "log.jsonl").read_text() == ""
