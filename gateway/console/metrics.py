"""Prometheus metrics, counted in the database at each scrape: one truth for every process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.ecg import State
from gateway.store import Store

OVERDUE_S = 60.0
"""Seconds after which an ECG should have its score, and a result its acknowledgement."""


class StoreCollector(Collector):
    """Counts by state; labels carry states and destination names, never anything of a patient."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Count now."""
        ecgs = GaugeMetricFamily("ecg_gateway_ecgs", "ECGs by state", labels=["state"])
        counts = self._store.ecgs.count_by_state()
        for state in State:
            ecgs.add_metric([state.value], counts.get(state, 0))
        yield ecgs
        deliveries = GaugeMetricFamily(
            "ecg_gateway_deliveries",
            "Deliveries by destination and state",
            labels=["destination", "state"],
        )
        for (destination, kind), number in self._store.deliveries.counts().items():
            deliveries.add_metric([destination, str(kind)], number)
        yield deliveries
        yield GaugeMetricFamily(
            "ecg_gateway_overdue_ecgs",
            "ECGs accepted over a minute ago that are not scored yet",
            value=self._store.ecgs.count_overdue(OVERDUE_S),
        )
        yield GaugeMetricFamily(
            "ecg_gateway_overdue_deliveries",
            "Results queued over a minute ago that no destination has acknowledged yet",
            value=self._store.deliveries.count_overdue(OVERDUE_S),
        )
        yield GaugeMetricFamily(
            "ecg_gateway_disk_free_bytes",
            "Free bytes of the disk with the blobs, the reserve included",
            value=self._store.disk.free_bytes(),
        )
        yield GaugeMetricFamily(
            "ecg_gateway_disk_reserve_bytes",
            "Free bytes below which senders are put off",
            value=self._store.disk.reserve_bytes,
        )


def registry_for(store: Store) -> CollectorRegistry:
    """Give a registry that counts in this store."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    return registry
