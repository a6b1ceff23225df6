"""The time series of a Prometheus metric: bounded in number, and cheap to find."""

from collections.abc import Callable, Iterable
from typing import Any, Generic

from prometheus_client import CollectorRegistry

from bridge.telemetry.families import Family, Labels, MetricT

OTHER = "other"
"""Value of a label where there is no room for another value."""

LABEL_VALUES_MAX = 100
"""Number of values that a label takes beside those that are known beforehand, in each process."""


class Vocabulary:
    """The values that a label may take: those that are known, and the first `more` others that come."""

    def __init__(self, known: Iterable[str] = (), more: int = LABEL_VALUES_MAX) -> None:
        self._words = set(known)
        self._words_max = len(self._words) + more

    def __call__(self, value: str) -> str:
        """Return the value, or OTHER where there is no room for it."""
        if value not in self._words:
            if len(self._words) >= self._words_max:
                return OTHER
            self._words.add(value)
        return value


class Series(dict[tuple[Any, ...], MetricT], Generic[MetricT]):
    """A metric's series by what an event says: `series[event.method, event.grpc_code].inc()`.

    A look-up in a dict costs a fraction of the library's `labels()`. `labels` makes the labels of a series from the
    parts of its key, once. Those in `known` are there from the start, at 0.
    """

    def __init__(
        self,
        family: Family[MetricT],
        registry: CollectorRegistry,
        labels: Callable[..., Labels],
        known: Iterable[Labels] = (),
    ) -> None:
        super().__init__()
        self._metric: MetricT = family.register(registry)
        self._labels = labels
        for values in known:
            self._metric.labels(*values)

    def __missing__(self, key: tuple[Any, ...]) -> MetricT:
        labels = self._labels(*key)
        series: MetricT = self._metric.labels(*labels)
        # There is no end of keys that are OTHER: to keep them would be a leak.
        if OTHER not in labels:
            self[key] = series
        return series
