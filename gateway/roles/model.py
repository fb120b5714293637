"""Loads the scorer of a model bundle, as a worker or a command line needs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from config.settings import Settings

if TYPE_CHECKING:
    from inference.score import Scorer


def threads_of(settings: Settings) -> int:
    """Give the threads of one worker: as set, else the usable cores shared out."""
    if settings.worker.threads:
        return settings.worker.threads
    return max(1, len(os.sched_getaffinity(0)) // settings.worker.processes)


def load_scorer(settings: Settings, name: str) -> Scorer:
    """Load a bundle's scorer; its golden inputs are tried first.

    Raises:
        BundleError, RuntimeMissing: there is no such bundle, it is not signed with the settings'
            `bundles_key`, or it cannot be used here.
    """
    from inference.installed import find_bundle  # noqa: PLC0415 - loads a model runtime
    from inference.score import Scorer  # noqa: PLC0415 - likewise

    path, runtime = find_bundle(name, settings.bundles_dir), settings.worker.runtime
    return Scorer.load(path, runtime, threads_of(settings), settings.trusted)
