"""The reference recipe's parts: beats, injury currents, augmentation, folds, lost scales."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from inference import augment
from inference.augment import AugmentConfig
from inference.beats import measure, r_peaks
from inference.bundle import open_bundle
from inference.cohort import Case
from inference.forms import LEADS, Waveform
from inference.installed import SHIPPED
from inference.outcomes import Outcomes
from inference.reference import crossfold, hospitals, injury, ptbxl, recipe, validate
from inference.reference.sources import PtbxlSource
from inference.render import Style, page
from inference.simulate import simulate
from inference.sources import columns
from inference.tracings import cut

RATE = 250.0
UNTOLD = np.full(len(ptbxl.STATEMENTS), np.nan, np.float32)


@pytest.fixture(scope="module")
def normal():
    samples = simulate("normal", 8, rate_hz=RATE).samples_mv
    return samples, r_peaks(samples, RATE)


def einthoven(samples):
    return np.abs(samples[0] + samples[2] - samples[1]).max()


@pytest.mark.parametrize("kind", ["normal", "stemi-inferior", "rbbb", "af", "hyperkalaemia"])
def test_every_beat_is_found_once(kind):
    """Each R peak of the simulator's vector is within 40 ms of a found one, and none besides."""
    samples = simulate(kind, 3, rate_hz=RATE).samples_mv
    peaks = r_peaks(samples, RATE)
    gaps = np.diff(peaks) / RATE
    assert 8 <= peaks.size <= 26
    assert gaps.min() > 0.27
    if kind != "af":
        assert gaps.std() / gaps.mean() < 0.12


def test_silence_has_no_beats():
    """Nothing, and NaN, give no peak and no measurement."""
    assert r_peaks(np.zeros((12, 2500), np.float32), RATE).size == 0
    assert r_peaks(np.full((12, 2500), np.nan, np.float32), RATE).size == 0
    empty = np.empty(0, np.intp)
    assert np.isnan(measure(np.zeros((12, 2500), np.float32), empty, RATE)).all()


def test_an_injury_current_raises_st_by_its_size_and_keeps_einthovens_law(normal):
    """0.3 mV in V2 of an anterior injury, the reciprocal leads down, limb leads consistent."""
    samples, peaks = normal
    rng = np.random.default_rng(0)
    drawn = injury.draw(rng)
    share = np.array(injury.TERRITORIES["anterior"], np.float32)
    one, two = share[:2]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    leads = np.array([*limb, *share[2:]], np.float32)
    anterior = injury.Injury(leads, 0.3, 1.0, 0.0, 0.0)
    after = injury.apply(samples, peaks, RATE, anterior)
    moved = measure(after, peaks, RATE)[:, 0] - measure(samples, peaks, RATE)[:, 0]
    assert moved[LEADS.index("V3")] == pytest.approx(0.3, abs=0.04)
    assert moved[LEADS.index("III")] < -0.04
    assert einthoven(after) < einthoven(samples) + 1e-5
    assert np.abs(drawn.leads).max() == pytest.approx(1)
    assert 0.05 < drawn.size_mv * max(1, abs(drawn.growth)) < 2


def test_rolling_goes_on_between_two_beats(normal):
    """The window begins elsewhere, the rhythm has no gap, and Einthoven's law holds."""
    samples, peaks = normal
    config = AugmentConfig(gain=0, lead_gain=0, filters=False, wander_mv=0, noise_mv=0)
    rolled, moved = augment.waveform(samples, peaks, RATE, config, np.random.default_rng(2))
    assert rolled.shape == samples.shape
    assert not np.array_equal(rolled, samples)
    assert einthoven(rolled) < 0.02
    spacing = np.diff(moved)
    assert spacing.max() < 1.35 * np.median(spacing)
    found = r_peaks(rolled, RATE)
    assert abs(found.size - moved.size) <= 1


def test_no_augmentation_changes_nothing(normal):
    """With everything off a record is drawn as it is."""
    samples, peaks = normal
    same, where = augment.waveform(samples, peaks, RATE, augment.NONE, np.random.default_rng(0))
    assert np.array_equal(same, samples)
    assert np.array_equal(where, peaks)


def test_a_carts_filters_act_on_their_side_of_the_spectrum():
    """10 Hz passes both, 0.1 Hz and 80 Hz do not."""
    t = np.arange(2500) / RATE

    def left(frequency):
        wave = np.sin(2 * np.pi * frequency * t)[None].astype(np.float32)
        return np.abs(augment.band(wave, RATE, 0.67, 40.0)[:, 500:-500]).max()

    assert left(10) > 0.95
    assert left(0.1) < 0.2
    assert left(80) < 0.1


def test_the_quick_cut_is_the_served_cut(normal):
    """Training and serving show the same page."""
    samples, _ = normal
    served, quick = cut(Waveform(samples, RATE)), columns(samples)
    assert np.array_equal(served.leads_mv, quick.leads_mv)
    assert np.array_equal(served.rhythm_mv, quick.rhythm_mv)


def test_limb_lead_ratios_are_recovered_from_z_scores(normal):
    """Einthoven's law fixes them up to one factor."""
    samples, _ = normal
    limb = samples[:6]
    scored = (samples - samples.mean(1, keepdims=True)) / samples.std(1, keepdims=True)
    wanted = limb.std(1) / limb.std(1).mean()
    np.testing.assert_allclose(ptbxl.limb_ratios(scored), wanted, rtol=0.1)


def test_a_record_without_scale_is_drawn_in_millivolts(normal):
    """Limb leads keep their ratios; the size comes from the bank."""
    samples, peaks = normal
    scored = (samples - samples.mean(1, keepdims=True)) / samples.std(1, keepdims=True)
    record = ptbxl.Record(
        key="x",
        part="train",
        samples=scored,
        scaled=True,
        label=0,
        superclasses=np.zeros(5, np.float32),
        statements=UNTOLD,
        peaks=peaks,
        limb_ratios=ptbxl.limb_ratios(scored),
    )
    source = PtbxlSource(record, np.full((3, 12), 0.2, np.float32))
    page = source.draw(augment.NONE, np.random.default_rng(1))
    assert 0.3 < np.ptp(page.tracings.leads_mv, axis=1).mean() < 3
    assert page.measures.shape == (48,)


def test_a_normal_record_with_an_injury_is_positive_and_no_longer_normal(normal):
    """MI and STTC are left unknown, the other classes stay."""
    samples, peaks = normal
    classes = np.array([1, 0, 0, 1, 0], np.float32)
    statements = np.zeros(len(ptbxl.STATEMENTS), np.float32)
    record = ptbxl.Record(
        "x", "raw", samples, False, 0, classes, statements, peaks, np.ones(6, np.float32)
    )
    drawn = PtbxlSource(record, np.ones((1, 12), np.float32), injured=1.0).draw(
        augment.NONE, np.random.default_rng(0)
    )
    assert drawn.label == 1
    assert drawn.classes[[0, 3, 4]].tolist() == [0, 1, 0]
    assert np.isnan(drawn.classes[1:3]).all()
    assert np.isnan(drawn.classes[5:]).all()
    assert classes.tolist() == [1, 0, 0, 1, 0]


def test_folds_are_even_and_always_the_same():
    """Stratified by label, decided by the seed alone."""
    labels = np.array([0] * 60 + [1] * 40)
    folds = recipe.folds(labels)
    assert np.bincount(folds).tolist() == [20] * 5
    assert [labels[folds == f].sum() for f in range(5)] == [8] * 5
    assert np.array_equal(folds, recipe.folds(labels))


@pytest.mark.shared
@pytest.mark.slow
def test_no_record_is_in_two_parts_of_the_reference_split(shared):
    """Training, validation and test share no record, and only true millivolts are held out."""
    parts = recipe.read(shared / "ptbxl").split()
    keys = [{s.key for s in part} for part in (parts.training, parts.validation, parts.test)]
    assert [len(k) for k in keys] == [2535, 304, 305]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    assert not any(s.record.scaled for s in parts.validation + parts.test)


def fold_of(keys, labels, chances, said):
    return crossfold.Fold(*map(np.array, (list(keys), labels, chances, said)))


def test_crossfold_pools_every_record_once():
    """Two folds of four and two: pooled AUROC 8/9, F1 of the calls 4/5, each fold's own AUROC."""
    first = fold_of("abcd", [1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1], [1, 0, 0, 0])
    second = fold_of("ef", [1, 0], [0.8, 0.2], [1, 0])
    told = crossfold.summarise([first, second], draws=50)
    assert (told["ecgs"], told["positive"]) == (6, 3)
    assert told["folds_auroc"] == [0.75, 1.0]
    assert told["auroc"][0] == pytest.approx(8 / 9, abs=1e-4)
    assert told["f1"][0] == pytest.approx(4 / 5)
    assert told["sensitivity"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert told["specificity"][0] == 1
    assert told["all_positive_f1"] == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("told", "label"),
    [
        ("right bundle branch block; atrial fibrillation", 0),
        ("sinus bradycardia; lateral ischaemia; LVH", 1),
        ("413844008; old MI; bradycardia", 1),
        ("ST; NONE", 0),  # sinus tachycardia
        ("ST; LVHV PWC STTC", 1),
        ("ST; AQW RBBB", 0),
        ("ST depression", 1),
    ],
)
def test_the_words_of_other_hospitals_stand_for_the_endpoint_or_not(told, label):
    """MI or ST-T change, as PTB-XL's superclasses have it."""
    assert hospitals.label_of(told) == label


@pytest.mark.shared
def test_each_recording_of_the_other_hospitals_is_read_once(shared):
    """76 rows, ten of them copies; 30 with an infarction or an ST-T change."""
    pytest.importorskip("scipy.io")
    found = hospitals.read(shared / "waveforms")
    assert (len(found), sum(each.label for each in found)) == (66, 30)
    assert all(each.waveform.samples_mv.shape[0] == 12 for each in found)
    assert all(np.nanmax(np.abs(each.waveform.samples_mv)) < 20 for each in found)


@pytest.fixture(scope="module")
def shipped():
    return open_bundle(SHIPPED / "reference")


@pytest.fixture
def drawn_pages(tmp_path):
    """A class of pages to its outcomes: two scored, one of them a mistake, and one refused."""
    made = {}
    for kind, logits in (("mi", (3.0, -4.0)), ("normal", (-3.0, 2.0))):
        label = int(kind in validate.OUTCOME)
        paths = [tmp_path / f"{kind}{number}.png" for number in range(3)]
        for path in paths[:2]:
            Image.fromarray(page(simulate("normal", 1), Style(px_per_mm=5))).save(path)
        cases = [Case(path, label, path.stem, sex="F", row=n) for n, path in enumerate(paths)]
        made[kind] = Outcomes(
            labels=np.array([label, label]),
            scores=1 / (1 + np.exp(-np.array(logits))),
            logits=np.array(logits),
            groups=np.array([case.patient for case in cases[:2]]),
            strata={"sex": np.array(["F", "F"])},
            keys=[f"{kind} {case.key}" for case in cases[:2]],
            refused={"overlapping": 1},
            refused_positive=label,
            left_out={cases[2]: "overlapping"},
            cases=cases[:2],
        )
    return made


def test_a_comparison_keeps_strata_refusals_and_its_worst_mistakes(drawn_pages, shipped):
    """Of mi against normal: one miss and one false alarm as pictures, two pages left out."""
    both = validate.compare(drawn_pages, "external-acute", shipped)
    assert both.labels.tolist() == [1, 1, 0, 0]
    assert both.strata["sex"].tolist() == ["F"] * 4
    assert (both.refused, both.refused_positive) == ({"overlapping": 2}, 1)
    assert [case.label for case in both.left_out] == [1, 0]
    assert list(both.pictures) == ["mi row 1", "normal row 1"]


def test_recordings_keep_their_collection_and_the_pictures_of_mistakes(shipped):
    """Three simulated ECGs with labels against the score: each mistake is drawn."""
    ecgs = [(1, "normal"), (0, "stemi-anterior"), (1, "stemi-anterior")]
    items = [
        hospitals.Labelled(f"{kind} {label}", label, simulate(kind, 3), "Georgia")
        for label, kind in ecgs
    ]
    seen = validate.scored(items, shipped)
    assert seen.strata["site"].tolist() == ["Georgia"] * 3
    assert set(seen.pictures) == {"normal 1", "stemi-anterior 0"}


def test_the_card_keeps_what_the_threshold_means_where_the_outcome_is_rare():
    """PPV, NPV and alerts a day with their prevalence, and the drop; undefined bounds are left."""
    figure = [0.9, 0.8, None]
    results = {
        "cohort": {"ecgs": 4, "positive": 2},
        "baselines": {"all_positive_f1": 2 / 3},
        "metrics": dict.fromkeys(("auroc", "auprc", "f1", "f1_at_half"), figure)
        | dict.fromkeys(("sensitivity", "specificity"), figure),
        "at_real_prevalence": {
            "prevalence": 0.002,
            "ecgs_per_day": 150.0,
            "intervals": dict.fromkeys(("ppv", "npv", "alerts_per_day"), (0.01234567, 0, 1)),
        },
        "drop": {
            name: {"difference": [0.1, 0.0, 0.2]}
            for name in ("auroc", "f1", "sensitivity", "specificity")
        },
    }
    told = validate._headline(results)
    assert told["auroc"] == [0.9, 0.8]
    assert told["at_real_prevalence"]["ppv"] == [0.01235, 0, 1]
    assert told["drop"]["f1"] == [0.1, 0.0, 0.2]
