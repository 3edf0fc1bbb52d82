"""What Prometheus learns about the store, beside what the kit counts for every service."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service_kit.errors import ApiError
from storage_service.store import Store

BYTES_READ = Counter("llm_storage_bytes_read_total", "Bytes of files sent to clients")
BYTES_WRITTEN = Counter("llm_storage_bytes_written_total", "Bytes of uploads written, refused ones too")


class StoreCollector(Collector):
    """Looks at the store when Prometheus asks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        return []  # else registering would look at the store

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("llm_storage_up", "1 when the volume answers and can be written", value=0)
        try:
            writable = self._store.is_writable()
            space, usage = self._store.space(), self._store.usage()
        except ApiError:
            yield up
            return
        yield GaugeMetricFamily("llm_storage_up", up.documentation, value=int(writable))
        yield GaugeMetricFamily("llm_storage_files", "Files stored", value=usage.files)
        yield GaugeMetricFamily("llm_storage_bytes", "Sum of the files' sizes", value=usage.bytes)
        yield GaugeMetricFamily("llm_storage_free_bytes", "Free space on the volume", value=space.free)
        yield GaugeMetricFamily("llm_storage_total_bytes", "Size of the volume", value=space.total)
