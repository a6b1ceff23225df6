"""Metrics of several workers, in memory: each worker sends its counts to its supervisor, which adds them up.

    worker: `snapshot` -> one line of JSON over its line, once a second and at its end -> supervisor: `WorkerCounts`

Not by prometheus_client's files: those are mapped into memory, and where the disk is full, a write to them kills the
process (mmap(2), SIGBUS). Here nothing can be lost but figures: those of the last second of a worker that is killed.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from bridge.telemetry.families import MODES, Mode
from bridge.telemetry.metrics import REGISTRY

LOGGER = logging.getLogger(__name__)

COUNTED = frozenset({"counter", "histogram"})
"""Metric types that stay when a worker has ended: a sum never goes back. Its gauges go with it."""

MERGE: Mapping[Mode, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "max": max, "min": min}


class _Sample(msgspec.Struct, array_like=True, frozen=True):
    name: str
    labels: dict[str, str]
    value: float


class _Reported(msgspec.Struct, array_like=True, frozen=True):
    """A metric of one process."""

    name: str
    kind: str
    what: str
    samples: list[_Sample]


_DECODER = msgspec.json.Decoder(list[_Reported])


def snapshot(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return everything that this process has counted, as a text without a line feed."""
    return msgspec.json.encode(list(_reported(registry)))


def _reported(collector: CollectorRegistry) -> Iterator[_Reported]:
    for metric in collector.collect():
        samples = [_Sample(sample.name, dict(sample.labels), sample.value) for sample in metric.samples]
        yield _Reported(metric.name, metric.type, metric.documentation, samples)


class WorkerCounts(Collector):
    """Sums of what all workers have counted, and of what their supervisor knows itself.

    Scrapes come from other threads than the workers' snapshots.
    """

    def __init__(self, own: CollectorRegistry = REGISTRY) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._living: dict[int, bytes] = {}
        self._ended = _Sums()

    def received(self, pid: int, text: bytes) -> None:
        """Keep a worker's newest snapshot."""
        with self._lock:
            self._living[pid] = text

    def gone(self, pid: int) -> None:
        """Keep the counts of a worker that has ended, and drop its gauges."""
        with self._lock:
            text = self._living.pop(pid, b"[]")
            self._ended.add(reported for reported in _decoded(text) if reported.kind in COUNTED)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric once."""
        sums = _Sums()
        sums.add(_reported(self._own))
        with self._lock:
            sums.add(self._ended.reported())
            texts = list(self._living.values())
        for text in texts:
            sums.add(_decoded(text))
        yield from sums.metrics()


def _decoded(text: bytes) -> list[_Reported]:
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        LOGGER.error("a worker's counts cannot be read: %s", type(error).__name__)  # noqa: TRY400 - no text
        return []


class _Sums:
    def __init__(self) -> None:
        self._metrics: dict[str, tuple[_Reported, dict[tuple[Any, ...], _Sample]]] = {}

    def add(self, metrics: Iterable[_Reported]) -> None:
        for metric in metrics:
            merge = MERGE[MODES.get(metric.name, "sum")]
            _, samples = self._metrics.setdefault(metric.name, (metric, {}))
            for sample in metric.samples:
                key = (sample.name, *sorted(sample.labels.items()))
                before = samples.get(key)
                value = sample.value if before is None else merge(before.value, sample.value)
                samples[key] = _Sample(sample.name, sample.labels, value)

    def reported(self) -> Iterator[_Reported]:
        for metric, samples in self._metrics.values():
            yield _Reported(metric.name, metric.kind, metric.what, list(samples.values()))

    def metrics(self) -> Iterator[Metric]:
        for reported in self.reported():
            metric = Metric(reported.name, reported.what, reported.kind)
            for sample in reported.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric
