"""Pictures of an ECG, drawn when somebody looks.

Beside the original bytes two images are kept of a score: the panel that was judged and the
network's input. The rest follows from these and is drawn anew, by the code that scored:

    original bytes ── decode ─┬─> page         what a clinician reads
                              └─> panel        compared with the kept one, pixel for pixel
    kept panel ── recipe of the score's bundle ──> four steps ──> input, compared likewise

So what is shown is what was scored, or it says that it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gateway.ecg import State
from gateway.errors import BlobLost
from gateway.store import EcgRow, Store
from gateway.words import clock
from inference.decode import decode
from inference.errors import InferenceError, Unscorable
from inference.forms import U8, Picture, Waveform
from inference.prepare import as_grey, look, page_of, steps_of
from inference.preprocess import Recipe, preprocess
from inference.render import grey_of, png

RecipeOf = Callable[[str], Recipe | None]
"""From a bundle's SHA-256 to its recipe; None when it is not here."""

JUDGED = ("panel", "input")
"""The images of an ECG's row that the score rests on."""
SAME = (
    "Drawn anew from the original bytes. Panel and network input are, pixel for pixel, those that "
    "were kept when the ECG was scored."
)
SAME_PANEL = (
    "Drawn anew from the original bytes. The panel is, pixel for pixel, the one that was kept when "
    "the ECG was scored. The steps after it are not shown: the bundle that made them is not here."
)
DIFFERS = (
    "This version of the software draws another picture from the original bytes than the one that "
    "was scored. Panel and network input below are those that were kept."
)
NOT_SCORED = "Drawn from what was received. It was not scored."
NOT_YET = "The picture is drawn when the ECG has an outcome."
DEADLY = "Not drawn: the workers that read this file died of it."


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures of one ECG.

    Attributes:
        images: name (`page`, `panel`, ...) to PNG.
        note: in words, how they stand to the score, or why there are none.
        doubtful: they are not what was scored.
        proven: all that led to the score is here and the same, so that it can be explained.
    """

    images: Mapping[str, bytes]
    note: str
    doubtful: bool = False
    proven: bool = False


def draw(row: EcgRow, store: Store, recipe_of: RecipeOf) -> Drawn:
    """Draw an ECG's pictures.

    Args:
        row: the ECG.
        store: where its bytes are.
        recipe_of: finds the recipe of the bundle that scored it.

    Raises:
        StoreUnavailable: what was kept cannot be read now.
    """
    if row.state in {State.RECEIVED, State.SCORING}:
        return Drawn({}, NOT_YET)
    if row.reason == "worker-died":
        return Drawn({}, DEADLY)
    kept = {name: store.blobs.get(row.images[name]) for name in JUDGED if name in row.images}
    try:
        source = decode(store.blobs.get(row.digest), row.media_type.value)
    except (BlobLost, InferenceError) as error:
        return Drawn(kept, f"The original cannot be shown: {error}.", doubtful=bool(kept))
    page = png(page_of(source, _header(row)))
    if row.score is None or not kept:
        return Drawn({"page": page}, NOT_SCORED)
    found = _compared(source, kept, recipe_of(row.score.bundle))
    return replace(found, images={"page": page, **found.images})


def _header(row: EcgRow) -> tuple[str, ...]:
    """What stands above the traces: when and whence, and no patient, for pictures get about."""
    return (
        f"Recorded {clock(row.acquired_at)}",
        f"Received {clock(row.received_at)} by {row.source.protocol} from {row.source.peer}",
        f"ECG {row.id}",
    )


def _compared(
    source: Waveform | Picture, kept: Mapping[str, bytes], recipe: Recipe | None
) -> Drawn:
    """Draw panel and input anew and compare them with those that were scored."""
    panel = grey_of(kept["panel"])
    if not _is_drawn(panel, source):
        return Drawn(kept, DIFFERS, doubtful=True)
    if recipe is None:
        return Drawn(kept, SAME_PANEL)
    steps = preprocess(panel, recipe)
    if not np.array_equal(as_grey(steps.input), grey_of(kept["input"])):
        return Drawn(kept, DIFFERS, doubtful=True)
    between = {name: png(pixels) for name, pixels in steps_of(steps).items()}
    return Drawn({**kept, **between}, SAME, proven=True)


def _is_drawn(panel: U8, source: Waveform | Picture) -> bool:
    """Tell whether this software draws this panel from the source."""
    try:
        return np.array_equal(look(source)[1], panel)
    except Unscorable:
        return False
