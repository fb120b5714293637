"""The embedding distance: worked by hand, fitted, and kept in a file."""

import numpy as np
import pytest

from inference import guard
from inference.bundle import open_bundle
from inference.embedding import EMBEDDING, Embedding, fit
from inference.errors import BundleError, Unscorable
from inference.installed import SHIPPED
from inference.preprocess import preprocess
from inference.render import panel
from inference.runtime import load
from inference.score import Scorer
from inference.simulate import KINDS, simulate
from inference.tracings import cut


def drawn(count, seed=0):
    """(count, 40) features whose roots vary in three directions and hardly in the others."""
    rng = np.random.default_rng(seed)
    spread = np.full(40, 0.01)
    spread[:3] = (3.0, 2.0, 1.0)
    return np.asarray((20 + rng.normal(0, spread, (count, 40))) ** 2, np.float32)


def test_the_distance_worked_by_hand():
    """Two spreads along the axis and thrice the residual beside it: sqrt((4 + 9) / 2)."""
    known = Embedding(
        mean=np.array([1, 1, 1], np.float32),
        axes=np.array([[0, 1, 0]], np.float32),
        spread=np.array([0.5], np.float32),
        residual=np.array([2], np.float32),
    )
    roots = np.array([[1, 1, 1], [1, 2, 1], [7, 1, 1], [1, 2, 7]], np.float32)
    wanted = [0, np.sqrt(4 / 2), np.sqrt(9 / 2), np.sqrt(13 / 2)]
    np.testing.assert_allclose(known.distances(roots**2), wanted, rtol=1e-6)


def test_training_features_are_about_one_away_and_unseen_ones_too():
    """Mean square one by construction; others of the same kind within a tenth of it."""
    seen = fit(drawn(400))
    assert len(seen.spread) == 3
    assert (seen.distances(drawn(400)) ** 2).mean() == pytest.approx(1, abs=0.01)
    assert (seen.distances(drawn(400, seed=1)) ** 2).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("place", "by"), [(0, 2000.0), (20, 20.0)])
def test_both_halves_are_seen(place, by):
    """Far along what varies, and a little beside it, where the training inputs never were."""
    seen = fit(drawn(400))
    table = {"embedding": guard.fit_features(seen, drawn(200, seed=1))}
    moved = drawn(1, seed=2)
    within = guard.check_features(moved, seen, table)
    assert within["embedding"] <= within["embedding_bound"] == table["embedding"]["bound"]
    moved[0, place] += by
    with pytest.raises(Unscorable, match=r"out-of-domain.*features"):
        guard.check_features(moved, seen, table)


def test_a_network_that_overflows_is_far():
    """NaN lies within no bound, and is recorded in words, for JSON has none."""
    seen = fit(drawn(400))
    with pytest.raises(Unscorable, match="out-of-domain") as caught:
        guard.check_features(
            np.full((1, 40), np.nan, np.float32), seen, {"embedding": {"bound": 9}}
        )
    assert caught.value.guard == {"embedding": "not finite", "embedding_bound": 9}


def test_the_bound_is_the_stated_quantile_of_the_validation_inputs_with_room():
    """One in two hundred lies beyond the quantile, none beyond the bound."""
    table = guard.fit_features(seen := fit(drawn(400)), drawn(1000, seed=1))
    found = seen.distances(drawn(1000, seed=1))
    assert (table["quantile"], table["inputs"]) == (0.995, 1000)
    assert (found > table["bound"] / table["room"]).sum() == 5
    assert (found <= table["bound"]).all()


def test_each_component_is_known_from_ten_inputs():
    """Noise without structure: 40 directions, but only 60 inputs to tell them by."""
    noise = np.random.default_rng(0).random((60, 40), np.float32)
    assert len(fit(noise).spread) == 6


def test_the_file_gives_back_what_was_fitted_and_a_damaged_one_is_named(tmp_path):
    """The same distances; a cut-off file is a BundleError."""
    seen = fit(drawn(400))
    seen.save(tmp_path)
    (tmp_path / "any").touch()
    assert (tmp_path / EMBEDDING).stat().st_mode == (tmp_path / "any").stat().st_mode
    again = Embedding.read(tmp_path)
    assert np.array_equal(again.distances(drawn(9)), seen.distances(drawn(9)))
    (tmp_path / EMBEDDING).write_bytes((tmp_path / EMBEDDING).read_bytes()[:-5])
    with pytest.raises(BundleError, match="embedding"):
        Embedding.read(tmp_path)


def test_the_shipped_bundle_knows_an_ecg_from_noise():
    """Each simulated kind lies within its bound; grey noise in the place of a panel does not."""
    bundle = open_bundle(SHIPPED / "reference")
    scorer = Scorer(bundle, load(bundle, threads=1))
    for kind in KINDS:
        drawn = panel(cut(simulate(kind, 7)))
        _, seen = scorer.infer(preprocess(drawn, bundle.recipe).input)
        assert seen["embedding"] <= seen["embedding_bound"]
    noise = np.random.default_rng(0).integers(0, 256, (500, 1000)).astype(np.uint8)
    with pytest.raises(Unscorable, match="features"):
        scorer.infer(preprocess(noise, bundle.recipe).input)
