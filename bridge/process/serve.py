"""`bridge serve` as processes: one alone, or a supervisor and its workers; and the listeners of their events."""

import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from bridge.events import Draining, Emit, Serving, Stopped, ignore
from bridge.process.child import WorkerProcess
from bridge.process.memory import give_back_memory, limit_the_allocator, spare_the_collector
from bridge.process.reserved_port import reserved
from bridge.process.scheduling import set_scheduling
from bridge.process.signals import on_reload, stop_signal
from bridge.process.supervisor import Workers, supervise
from bridge.process.worker import work
from bridge.server.app import running
from bridge.server.background import in_background, report_dropped
from bridge.server.descriptors import raise_limit
from bridge.server.handlers import SERVICES
from bridge.settings.model import Settings
from bridge.telemetry.fan_out import fan_out
from bridge.telemetry.metrics import REGISTRY, Metrics, SupervisorMetrics
from bridge.telemetry.metrics_server import registry_of, serve_metrics
from bridge.telemetry.standard_error import StandardError
from bridge.telemetry.worker_counts import WorkerCounts, snapshot
from bridge.tracer import Tracer

END_S = 5.0
"""Longest time for a worker to end, beyond its drain and the calls that are then in flight."""

WORKER_VARIABLE = "WALLET_BRIDGE_WORKER"
"""Environment variable with a worker's number, from 1 on, for its log."""
LOG_LEVEL_VARIABLE, LOG_FORMAT_VARIABLE = "BRIDGE_TELEMETRY__LOG_LEVEL", "BRIDGE_TELEMETRY__LOG_FORMAT"

Environ = Mapping[str, str]


async def run_alone(settings: Settings, log: StandardError) -> None:
    """Serve in this process until a signal to stop. Raise TracingError where tracing is wanted and cannot be had."""
    emit = _emit(settings, _metrics, log)
    emit(set_scheduling(settings.server.scheduling))
    async with _traced(settings) as tracer, in_background(report_dropped(log.writer, emit)):
        with _metrics_served(settings, REGISTRY):
            await serve(settings, emit, tracer)


async def run_worker(settings: Settings, line_descriptor: int, log: StandardError) -> None:
    """Serve as one of several workers, until its line closes. `line_descriptor`: see worker.py."""
    emit = _emit(settings, _metrics, log)
    set_scheduling(settings.server.scheduling)  # reported by the supervisor, once for all
    async with _traced(settings) as tracer, in_background(report_dropped(log.writer, emit)):
        counts = {"counts": snapshot} if settings.telemetry.metrics_listen else {}
        await work(settings, line_descriptor, emit, tracer, **counts)


async def run_supervisor(settings: Settings, config: Path | None, log: StandardError) -> bool:
    """Run `server.workers` workers until a signal to stop; say whether all have ended well.

    `config` is the file that the settings come from. Raise ListenError, WorkersError or OSError where it cannot start.
    """
    longest_s = settings.server.drain_s + settings.wallet.deadline_max_s + END_S
    emit = _emit(settings, SupervisorMetrics, log)
    emit(set_scheduling(settings.server.scheduling))
    counts = WorkerCounts()
    with _metrics_served(settings, registry_of(counts)), _ports_reserved(settings) as (address, ports):
        environ = {**os.environ, **_shared_settings(settings), **ports}

        def start(worker: int) -> Awaitable[WorkerProcess]:
            numbered = {**environ, WORKER_VARIABLE: str(worker)}
            return WorkerProcess.start(_command(config), numbered, log.descriptor, counts.received)

        workers = Workers(settings.server.workers, start, emit, counts.gone)
        async with in_background(report_dropped(log.writer, emit)):
            return await supervise(workers, Serving(address, settings.wallet.url), emit, longest_s)


async def serve(settings: Settings, emit: Emit = ignore, tracer: Tracer | None = None) -> None:
    """Serve until a signal to stop, then drain. At SIGHUP all files are looked at."""
    stop = stop_signal()
    limit_the_allocator()
    spare_the_collector()
    raise_limit()
    async with running(settings, emit=emit, tracer=tracer) as bridge, in_background(give_back_memory()):
        on_reload(bridge.look_at_files)
        emit(Serving(address=bridge.address, wallet_url=settings.wallet.url))
        await stop
        emit(Draining(drain_s=settings.server.drain_s))
        await bridge.drain(settings.server.drain_s)
    emit(Stopped())


def _shared_settings(settings: Settings) -> Environ:
    """Return what all workers share: the log, and one fingerprint key, as a token must look the same in each."""
    telemetry = settings.telemetry
    log = {LOG_LEVEL_VARIABLE: telemetry.log_level, LOG_FORMAT_VARIABLE: telemetry.log_format}
    if telemetry.fingerprint_key is not None:
        return log
    return {**log, "BRIDGE_TELEMETRY__FINGERPRINT_KEY": secrets.token_hex(32)}


def _command(config: Path | None) -> list[str]:
    # With -m, modules of the working directory come first, whatever they are: only where they do so here, too.
    safe_path = [] if str(Path.cwd()) in sys.path else ["-P"]
    settings = [] if config is None else ["--config", str(config)]
    return [sys.executable, *safe_path, "-m", "bridge", "serve", *settings, "--worker"]


@contextmanager
def _ports_reserved(settings: Settings) -> Iterator[tuple[str, Environ]]:
    """Hold the ports; yield the address for calls, and the settings with which workers share the ports."""
    server = settings.server
    with reserved("server.listen", server.listen) as address:
        if not server.health_listen:
            yield address, {"BRIDGE_SERVER__LISTEN": address}
            return
        with reserved("server.health_listen", server.health_listen) as health_address:
            yield address, {"BRIDGE_SERVER__LISTEN": address, "BRIDGE_SERVER__HEALTH_LISTEN": health_address}


# --- telemetry --------------------------------------------------------------------------------------------------


def _emit(settings: Settings, metrics: Callable[[], Emit], log: StandardError) -> Emit:
    listeners = [metrics()] if settings.telemetry.metrics_listen else []
    return fan_out(*listeners, log.events)


def _metrics() -> Metrics:
    return Metrics(f"{service.full_name}/{method.name}" for service in SERVICES for method in service.methods)


@asynccontextmanager
async def _traced(settings: Settings) -> AsyncIterator[Tracer | None]:
    """Yield the tracer if one is wanted, and flush it at the end; raise TracingError where it cannot be had."""
    if not settings.telemetry.tracing:
        yield None
        return
    from bridge.telemetry.tracing import Tracing  # noqa: PLC0415 - an extra, which need not be installed

    tracer = Tracing.from_environment(settings.wallet.url)
    try:
        yield tracer
    finally:
        await tracer.aclose()


@contextmanager
def _metrics_served(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serve these metrics if any are wanted."""
    listen = settings.telemetry.metrics_listen
    if not listen:
        yield
        return
    endpoint = serve_metrics(listen, registry)
    try:
        yield
    finally:
        endpoint.close()
