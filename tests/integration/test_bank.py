"""A bank of examples: what was drawn ahead is what would be drawn, and a run may read along."""

import threading

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from support.training import SMALL, Simulated, small_plan  # noqa: E402

from inference import bank  # noqa: E402
from inference.augment import AugmentConfig  # noqa: E402
from inference.errors import CohortError  # noqa: E402
from inference.examples import Examples  # noqa: E402
from inference.train import Plan, Run  # noqa: E402


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four sources in three slots, with their folder."""
    examples = Examples([Simulated(n) for n in range(4)], SMALL.recipe, AugmentConfig(), seed=3)
    folder = tmp_path_factory.mktemp("bank")
    told = []
    bank.draw([examples] * 3, folder, workers=1, tell=lambda *at: told.append(at))
    assert told[-1] == (12, 12)
    return examples, folder


def same(one, other):
    return all(
        torch.equal(a.nan_to_num(9), b.nan_to_num(9)) for a, b in zip(one, other, strict=True)
    )


def test_a_bank_holds_what_would_be_drawn(drawn):
    """Epochs take the chosen slots in turn, places the chosen rows."""
    examples, folder = drawn
    held = bank.Bank(folder, places=[3, 1], slots=[0, 2])
    assert len(held) == 2
    for epoch, slot in enumerate([0, 2, 0]):
        assert same(held[epoch, 0], examples[slot, 3])
        assert same(held[epoch, 1], examples[slot, 1])
    assert not same(held[0, 0], held[1, 0])


def test_a_bank_that_lacks_something_says_so(drawn, tmp_path):
    """No bank, a row or a slot too many, and drawing that has stopped."""
    _, folder = drawn
    with pytest.raises(CohortError, match="draw it first"):
        bank.Bank(tmp_path, [0], [0])
    for places, slots in (([4], [0]), ([0], [3]), ([0], [])):
        with pytest.raises(CohortError, match="4 sources in 3 slots"):
            bank.Bank(folder, places, slots)


def test_a_run_waits_for_its_slot(drawn, monkeypatch):
    """It goes on when the slot is there, and gives up where nobody draws."""
    _, folder = drawn
    (folder / "drawn").write_text("1")
    held = bank.Bank(folder, [0], [0, 1])
    held[0, 0]
    later = threading.Timer(0.5, (folder / "drawn").write_text, ["3"])
    later.start()
    assert held[1, 0][0].shape == (1, 32, 64)
    later.join()
    (folder / "drawn").write_text("1")
    monkeypatch.setattr(bank, "_PATIENCE_S", -1)
    with pytest.raises(CohortError, match="slot 1 is missing"):
        bank.Bank(folder, [0], [1])[0, 0]
    (folder / "drawn").write_text("3")


def test_a_network_learns_the_same_from_a_bank(tmp_path):
    """A slot for each epoch: the weights of a run that draws for itself."""
    plan = small_plan()
    examples = Examples(plan.training, SMALL.recipe, SMALL.augment, SMALL.seed)
    bank.draw([examples] * SMALL.epochs, tmp_path / "bank")
    ahead = bank.Bank(tmp_path / "bank", range(12), range(SMALL.epochs))
    runs = [
        Run(SMALL, Plan(plan.training, plan.validation, 2, 1, drawn), tmp_path / name)
        for name, drawn in (("anew", None), ("ahead", ahead))
    ]
    for run in runs:
        run.train()
    one, other = (run.average.state_dict() for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)
