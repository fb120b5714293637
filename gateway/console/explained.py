"""Where the network looked on an ECG: its maps, computed when somebody asks for them.

It is for ECGs whose pictures are proven to be those that were scored (`Drawn.proven`): then what
is drawn anew from the original bytes is what the network was shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.store import EcgRow, Store
from inference.decode import decode
from inference.prepare import Prepared, look
from inference.preprocess import preprocess
from inference.render import png
from inference.render.heat import over

if TYPE_CHECKING:  # a model runtime
    from inference.runtime.maps import MapNetwork, Maps

MapsOf = Callable[[str], "MapNetwork | None"]
"""From a bundle's SHA-256 to its maps; None when it is not here."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What was judged of an ECG, and where the network looked."""

    prepared: Prepared
    maps: Maps

    @cached_property
    def gradcam(self) -> bytes:
        """Give Grad-CAM over the page, as PNG."""
        return png(over(self.prepared.tracings, self.maps.heats()[0]))


def explain(row: EcgRow, store: Store, maps_of: MapsOf) -> Explained | None:
    """Compute the maps of a scored ECG; None when the bundle that scored it is not here.

    Raises:
        StoreUnavailable: the original cannot be read now.
        BundleError: the bundle cannot be trusted any more.
    """
    network = maps_of(row.score.bundle) if row.score else None
    if network is None:
        return None
    source = decode(store.blobs.get(row.digest), row.media_type.value)
    tracings, panel = look(source)
    steps = preprocess(panel, network.bundle.recipe)
    return Explained(Prepared(source, tracings, panel, steps), network.of(steps.input))
