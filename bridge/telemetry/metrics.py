"""Prometheus metrics: counts of events. Which there are: families.py.

No label holds what a caller or the wallet wrote. Its values are words of the bridge, the protos or the settings, or
numbers, and of each only so many (series.py).

A process counts in memory. What several workers count, their supervisor adds up (worker_counts.py).
"""

import platform
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from bridge import __version__
from bridge.events import (
    AttemptEnded,
    CallEnded,
    CallStarted,
    CertificateInUse,
    Draining,
    Event,
    LogLinesDropped,
    Reloaded,
    ReloadFailed,
    Serving,
    StateSampled,
    WorkerEnded,
    WorkerStarted,
)
from bridge.telemetry import families
from bridge.telemetry.call_metrics import AttemptMetrics, CallMetrics
from bridge.telemetry.families import Family
from bridge.telemetry.series import Series, Vocabulary
from bridge.telemetry.settlement_metrics import SettlementMetrics

REGISTRY = CollectorRegistry()
"""The metrics of this process. The library's own registry holds some that are true of a single process only."""


class Metrics:
    """Counts the events of a process that serves calls: the only one, or one of several workers.

    `methods` are the full names of the rpcs ("wallet.v1.WalletService/Terminate"). All their ends are there from the
    start, at 0: Prometheus' increase() does not see the step with which a series appears.
    """

    def __init__(self, methods: Iterable[str] = (), registry: CollectorRegistry = REGISTRY) -> None:
        calls, attempts = CallMetrics(tuple(methods), registry), AttemptMetrics(registry)
        state, files, life = _State(registry), _Files(registry), _Life(registry)
        _export_build(registry)
        self._listeners: dict[type, Callable[[Any], None]] = {
            CallStarted: calls.started,
            CallEnded: calls.ended,
            AttemptEnded: attempts.ended,
            StateSampled: state.sampled,
            Reloaded: files.reloaded,
            ReloadFailed: files.failed,
            CertificateInUse: files.certificate,
            Serving: life.serving,
            Draining: life.draining,
            LogLinesDropped: _Log(registry).dropped,
            **SettlementMetrics(registry).listeners,
        }

    def __call__(self, event: Event) -> None:
        """Count the event, if its kind is counted."""
        listener = self._listeners.get(type(event))
        if listener is not None:
            listener(event)


class SupervisorMetrics:
    """Counts what only the process knows that starts the workers and serves no call itself."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        _export_build(registry)
        workers = _Workers(registry)
        self._listeners: dict[type, Callable[[Any], None]] = {
            WorkerStarted: workers.started,
            WorkerEnded: workers.ended,
            LogLinesDropped: _Log(registry).dropped,
        }

    def __call__(self, event: Event) -> None:
        """Count the event, if its kind is counted."""
        listener = self._listeners.get(type(event))
        if listener is not None:
            listener(event)


# --- who counts what --------------------------------------------------------------------------------------------


class _State:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._in_flight = families.CALLS_IN_FLIGHT.register(registry)
        self._queued = families.CALLS_QUEUED.register(registry)
        self._detached = families.CALLS_DETACHED.register(registry)
        self._connections = families.CONNECTIONS.register(registry)
        self._streams = families.STREAMS.register(registry)
        self._process = _Process(registry)

    def sampled(self, event: StateSampled) -> None:
        self._in_flight.set(event.in_flight)
        self._queued.set(event.queued)
        self._detached.set(event.detached)
        self._connections.set(event.connections)
        self._streams.set(event.streams)
        self._process.sample()


class _Process:
    """The numbers that the library has of one process, as metrics that can be added up. Off Linux they stay at 0."""

    GAUGES = (
        families.PROCESS_MEMORY,
        families.PROCESS_OPEN_FILES,
        families.PROCESS_MAX_FILES,
        families.PROCESS_START,
    )

    def __init__(self, registry: CollectorRegistry) -> None:
        self._collector = ProcessCollector(registry=None)
        self._gauges: dict[str, Gauge] = {family.name: family.register(registry) for family in self.GAUGES}
        self._cpu = families.PROCESS_CPU.register(registry)
        self._cpu_s = 0.0
        self.sample()

    def sample(self) -> None:
        """Take the numbers again."""
        for found in self._collector.collect():
            value = found.samples[0].value
            if found.name in self._gauges:
                self._gauges[found.name].set(value)
            elif found.name == families.PROCESS_CPU.name:
                self._cpu.inc(value - self._cpu_s)
                self._cpu_s = value


class _Files:
    def __init__(self, registry: CollectorRegistry) -> None:
        def series(family: Family[Any]) -> Series[Any]:
            return Series(family, registry, lambda name: (key(name),))

        key = Vocabulary()
        self._reloads = series(families.RELOADS)
        self._failures = series(families.RELOAD_FAILURES)
        self._failing = series(families.RELOAD_FAILING)
        self._ends = series(families.CERTIFICATE_END)

    def reloaded(self, event: Reloaded) -> None:
        self._reloads[event.key,].inc()
        self._failing[event.key,].set(0)

    def certificate(self, event: CertificateInUse) -> None:
        self._ends[event.key,].set(event.not_after_s)

    def failed(self, event: ReloadFailed) -> None:
        self._failures[event.key,].inc()
        self._failing[event.key,].set(1)


class _Life:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._draining = families.DRAINING.register(registry)

    def serving(self, _event: Serving) -> None:
        self._draining.set(0)

    def draining(self, _event: Draining) -> None:
        self._draining.set(1)


class _Log:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._dropped = families.LOG_LINES_DROPPED.register(registry)

    def dropped(self, event: LogLinesDropped) -> None:
        self._dropped.inc(event.count)


def _export_build(registry: CollectorRegistry) -> None:
    families.BUILD_INFO.register(registry).labels(__version__, platform.python_version()).set(1)


class _Workers:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = families.WORKERS.register(registry)
        self._restarts = families.WORKER_RESTARTS.register(registry)

    def started(self, _event: WorkerStarted) -> None:
        self._workers.inc()

    def ended(self, _event: WorkerEnded) -> None:
        self._workers.dec()
        self._restarts.inc()
