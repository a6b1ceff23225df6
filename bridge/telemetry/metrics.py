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
from bridge.errors import REASONS, BridgeOverloaded, WalletUnreachable, leaves
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
from bridge.outcome import GrpcCode, Outcome
from bridge.telemetry import families
from bridge.telemetry.families import Family, Labels
from bridge.telemetry.series import Series, Vocabulary
from bridge.telemetry.settlement_metrics import SettlementMetrics

REGISTRY = CollectorRegistry()
"""The metrics of this process. The library's own registry holds some that are true of a single process only."""

OK, CANCELLED = GrpcCode.OK.name, GrpcCode.CANCELLED.name
ANSWERED = "ANSWERED"
"""In the place of a reason: the wallet answered the attempt."""

CAUSES = ("refused", "timeout", "dns", "tls", "http2_required", "network", "closed")
"""Of WALLET_UNREACHABLE (errors.py)."""

LIMITS = ("bridge", "provider", "queue")
"""Of BRIDGE_OVERLOADED: its causes (admission.py), with a word where there is none."""

HTTP_ERRORS = range(400, 600)
"""To a client, all of these are errors (OpenTelemetry, semantic conventions for HTTP spans, "Status")."""

ENDS: tuple[Labels, ...] = (
    (OK, OK),
    (Outcome.NOT_SENT.name, CANCELLED),
    (Outcome.UNKNOWN.name, CANCELLED),
    *((leaf.outcome.name, leaf.reason) for leaf in leaves()),
)
"""Outcome and reason of every end that a call can have, but for the reasons that an operator adds."""


class Metrics:
    """Counts the events of a process that serves calls: the only one, or one of several workers.

    `methods` are the full names of the rpcs ("wallet.v1.WalletService/Terminate"). All their ends are there from the
    start, at 0: Prometheus' increase() does not see the step with which a series appears.
    """

    def __init__(self, methods: Iterable[str] = (), registry: CollectorRegistry = REGISTRY) -> None:
        calls, attempts = _Calls(tuple(methods), registry), _Attempts(registry)
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


class _Calls:
    def __init__(self, methods: Labels, registry: CollectorRegistry) -> None:
        method, status = Vocabulary(methods), Vocabulary(GrpcCode.__members__, more=0)
        outcome, reason = Vocabulary({OK, *Outcome.__members__}, more=0), Vocabulary({OK, CANCELLED, *REASONS})
        code, field = Vocabulary(), Vocabulary()

        def full_name(service: str, name: str) -> str:
            return method(f"{service}/{name}")

        self._started = Series(
            families.CALLS_STARTED,
            registry,
            lambda service, name: (full_name(service, name),),
            known=[(name,) for name in methods],
        )
        self._durations = Series(
            families.CALL_DURATION, registry, lambda service, name, grpc: (full_name(service, name), status(grpc))
        )
        self._ends = Series(
            families.CALLS,
            registry,
            lambda service, name, certain, why: (full_name(service, name), outcome(certain or OK), reason(why)),
            known=[(name, *end) for name in methods for end in ENDS],
        )
        self._detached = Series(
            families.DETACHED_ENDS,
            registry,
            lambda certain: (outcome(certain or OK),),
            known=[(OK,), *((name,) for name in Outcome.__members__)],
        )
        self._codes = Series(families.WALLET_CODES, registry, lambda number: (code(str(number)),))
        self._missing = Series(
            families.MISSING_FIELDS, registry, lambda service, name, lacked: (full_name(service, name), field(lacked))
        )
        self._unknown = Series(
            families.UNKNOWN_MEMBERS,
            registry,
            lambda service, name: (full_name(service, name),),
            known=[(name,) for name in methods],
        )
        self._queue = families.ADMISSION_QUEUE.register(registry)
        # Only providers that are configured get as far as admission.
        provider, limit = Vocabulary(), Vocabulary(LIMITS, more=0)
        self._overloaded = Series(
            families.OVERLOADED, registry, lambda id_, cause: (provider(str(id_)), limit(cause or LIMITS[0]))
        )

    def started(self, event: CallStarted) -> None:
        self._started[event.service, event.method].inc()

    def ended(self, event: CallEnded) -> None:
        service, method = event.service, event.method
        # What the caller saw of a call that it had left: gRPC says CANCELLED on its own.
        status = CANCELLED if event.is_detached else event.grpc_code
        self._durations[service, method, status].observe(event.duration_s)
        self._ends[service, method, event.outcome, event.reason or event.grpc_code].inc()
        if event.wallet_code is not None:
            self._codes[event.wallet_code,].inc()
        if event.reason == BridgeOverloaded.reason:
            self._overloaded[event.provider_id, event.cause].inc()
        if event.queue_s:
            self._queue.observe(event.queue_s)
        if event.is_detached:
            self._detached[event.outcome,].inc()
        if event.unknown_count:
            self._unknown[service, method].inc(event.unknown_count)
        for field in event.missing_fields:
            self._missing[service, method, field].inc()


class _Attempts:
    def __init__(self, registry: CollectorRegistry) -> None:
        method, status, reason = Vocabulary(), Vocabulary(), Vocabulary({ANSWERED, *REASONS})
        cause = Vocabulary(CAUSES, more=0)

        def labels(name: str, http_status: int, why: str) -> Labels:
            code = status(str(http_status)) if http_status else ""
            error = code if http_status in HTTP_ERRORS else ""
            return method(name), "POST", code, reason(why) if why else error

        self._durations = Series(families.REQUEST_DURATION, registry, labels)
        self._retries = Series(families.RETRIES, registry, lambda why: (reason(why or ANSWERED),))
        self._unreachable = Series(
            families.UNREACHABLE_ATTEMPTS, registry, lambda why: (cause(why),), known=[(word,) for word in CAUSES]
        )

    def ended(self, event: AttemptEnded) -> None:
        self._durations[event.method, event.http_status, event.reason].observe(event.duration_s)
        if event.number > 1:
            self._retries[event.reason,].inc()
        if event.reason == WalletUnreachable.reason:
            self._unreachable[event.cause,].inc()


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
