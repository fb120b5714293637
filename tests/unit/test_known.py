"""A bundle knows the ECGs that it was made with, by nothing but their content."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.bundles import tiny_bundle

from inference import known
from inference.bundle import open_bundle, write_card
from inference.cohort import Case
from inference.errors import BundleError, CohortError
from inference.outcomes import Outcomes
from inference.recalibrate import RecalibrateConfig, recalibrate

CASES = [Case(Path(f"{n}.png"), n % 2, f"p{n}", digest=f"{n:064x}"[::-1], row=n) for n in range(60)]


@pytest.fixture
def made_with(tmp_path):
    """Make a bundle of the given cases."""

    def make(cases):
        folder = tmp_path / "made"
        shutil.copytree(tiny_bundle(), folder)
        known.save(folder, known.shortened(case.digest for case in cases))
        write_card(folder, open_bundle(tiny_bundle()).card)
        return open_bundle(folder)

    return make


def test_known_ecgs_are_left_out_or_counted_when_asked_for(made_with):
    """Twenty of sixty; a bundle without the file knows none."""
    bundle = made_with(CASES[:20])
    judges, held = known.may_judge(CASES, bundle)
    assert (judges, held) == (CASES[20:], CASES[:20])
    assert known.may_judge(CASES, bundle, allow_known=True) == (CASES, CASES[:20])
    assert known.may_judge(CASES, open_bundle(tiny_bundle())) == (CASES, [])


def test_a_bundle_is_not_judged_by_what_it_was_made_with(made_with):
    """Nothing else is left, or nothing of one outcome: said so."""
    bundle = made_with(CASES[:59])
    with pytest.raises(CohortError, match="59 of 60 ECGs trained this bundle"):
        known.may_judge(CASES, bundle)


def test_what_is_kept_tells_nothing_but_the_content_and_cannot_be_changed(made_with):
    """Sorted halves of hashes, which the card's own hash covers."""
    bundle = made_with(CASES[:20])
    lines = (bundle.path / known.KNOWN).read_text().splitlines()
    assert lines == sorted(case.digest[:32] for case in CASES[:20])
    (bundle.path / known.KNOWN).write_text("")
    with pytest.raises(BundleError, match=r"known-ecgs\.txt is damaged"):
        open_bundle(bundle.path)


def test_a_recalibrated_bundle_knows_the_sites_ecgs_too(made_with, tmp_path):
    """Its threshold was chosen on them."""
    parent, site = made_with(CASES[:20]), CASES[20:]
    labels = np.array([case.label for case in site])
    logits = labels + np.linspace(-1, 1, len(site))
    outcomes = Outcomes(labels, 1 / (1 + np.exp(-logits)), logits, labels, cases=site)
    made = recalibrate(parent, outcomes, tmp_path / "site", RecalibrateConfig())
    assert known.known_to(made) == known.shortened(case.digest for case in CASES)
    strangers = [replace(case, digest="f" * 64) for case in CASES]
    assert known.may_judge(strangers, made) == (strangers, [])
