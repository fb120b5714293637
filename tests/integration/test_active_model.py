"""The bundle in use and what the site says of it: one pair, whatever becomes of the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import wait_for

from config.documents import document_of, parse_site
from config.loader import load_settings
from gateway import readiness
from gateway.policy import Mode
from gateway.roles.active_model import ActiveModel
from gateway.roles.process import Misconfigured, Role
from gateway.roles.site_watch import SiteWatch
from gateway.roles.work import terms_of
from gateway.scoring import Terms
from gateway.store import Store
from inference.errors import BundleError


@dataclass
class Bundle:
    """As much of a bundle as a worker asks of it."""

    name: str
    validated: bool = True


@dataclass
class Scorer:
    """A loaded bundle."""

    bundle: Bundle


class Loader:
    """Loads every bundle but those that are `broken`, and waits where `held`."""

    def __init__(self) -> None:
        self.broken: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, name: str) -> Scorer:
        self.asked.append(name)
        assert self.go.wait(60)
        if name in self.broken:
            raise self.broken[name]
        return Scorer(Bundle(name))


@pytest.fixture
def role(store: Store, tmp_path: Path) -> Iterator[Role]:
    save(store, "A", mode="shadow")
    with ExitStack() as closing:
        watch = SiteWatch(store.site, poll_s=0.02)
        watch.start()
        closing.callback(watch.stop)
        settings = load_settings(None, data_dir=tmp_path)
        settings.run_dir.mkdir()
        yield Role("work-1", settings, store, watch, threading.Event(), closing)


@pytest.fixture
def load() -> Loader:
    return Loader()


@pytest.fixture
def model(role: Role, load: Loader) -> ActiveModel:
    made = ActiveModel(role.site, load, role.tell)
    role.site.subscribe(made.follow)
    return made


def save(store: Store, bundle: str, threshold: float | None = None, mode: str = "shadow") -> None:
    """Put a site in force that names this bundle and says this of it."""
    text = f'[model]\nbundle = "{bundle}"\nmode = "{mode}"\n'
    text += f"[alert]\nthreshold = {threshold}\n" if threshold else ""
    store.site.save(document_of(parse_site(text, "test")), who="t", note="", expected=None)


def terms(role: Role, model: ActiveModel) -> Terms:
    return terms_of(role, model.in_use, model.maps_of)


def test_a_bundle_that_cannot_be_used_brings_no_threshold_to_the_old_one(
    role: Role, model: ActiveModel, load: Loader
):
    """The site says "B from 0.6 on, canary"; A goes on from its own threshold on, in shadow."""
    load.broken["B"] = BundleError("golden scores differ")
    save(role.store, "B", 0.6, "canary")
    said = wait_for(lambda: readiness.troubles(role.settings.run_dir), "word of it")
    assert role.site.version == 2
    assert (model.in_use.name, model.in_use.scorer.bundle.name) == ("A", "A")
    assert terms(role, model).threshold is None
    assert terms(role, model).results.mode is Mode.SHADOW
    assert "'B' cannot be used (BundleError: golden scores differ); 'A' goes on" in said["work-1"]
    save(role.store, "B", 0.7, "off")
    wait_for(lambda: terms(role, model).results.mode is Mode.OFF, "the lesser mode")
    assert terms(role, model).threshold is None


def test_while_the_next_bundle_loads_the_old_one_keeps_its_threshold(
    role: Role, model: ActiveModel, load: Loader
):
    """The version in force changes first; name, scorer, threshold and mode change at once."""
    load.go.clear()
    save(role.store, "B", 0.6, "canary")
    wait_for(lambda: "B" in load.asked, "the loading")
    assert role.site.site.alert.threshold == 0.6
    assert terms(role, model).threshold is None
    assert terms(role, model).results.mode is Mode.SHADOW
    load.go.set()
    now = wait_for(lambda: model.in_use if model.in_use.name == "B" else None, "the switch")
    assert (now.scorer.bundle.name, now.threshold, now.mode) == ("B", 0.6, Mode.CANARY)
    assert terms(role, model).results.mode is Mode.CANARY


def test_the_same_bundle_takes_a_new_threshold_without_being_loaded(
    role: Role, model: ActiveModel, load: Loader
):
    """Within a poll."""
    save(role.store, "A", 0.2)
    wait_for(lambda: terms(role, model).threshold == 0.2, "the new threshold")
    assert load.asked == ["A"]


@pytest.mark.parametrize("bundle", ["A", "B"])
def test_what_could_not_be_used_is_forgotten_when_it_can_or_is_wanted_no_more(
    role: Role, model: ActiveModel, load: Loader, bundle: str
):
    """Whatever kept it from loading, also what nobody foresaw."""
    load.broken["B"] = KeyError("status")
    save(role.store, "B", 0.6)
    said = wait_for(lambda: readiness.troubles(role.settings.run_dir), "word of it")
    assert "(KeyError)" in said["work-1"]
    load.broken.clear()
    save(role.store, bundle, 0.3)
    wait_for(lambda: not readiness.troubles(role.settings.run_dir), "its end")
    assert (model.in_use.name, model.in_use.threshold) == (bundle, 0.3)


def test_a_version_that_comes_while_the_first_bundle_loads_is_followed(role: Role, load: Loader):
    """Nobody was subscribed then."""
    made = ActiveModel(role.site, load, role.tell)
    save(role.store, "B", 0.6)
    wait_for(lambda: role.site.version == 2, "version 2")
    made.follow()
    assert (made.in_use.name, made.in_use.threshold) == ("B", 0.6)


def test_without_a_first_bundle_there_is_no_worker(role: Role, load: Loader):
    """The message names the setting."""
    load.broken["A"] = BundleError("none is installed")
    with pytest.raises(Misconfigured, match=r"model\.bundle = 'A': none is installed"):
        ActiveModel(role.site, load, role.tell)
