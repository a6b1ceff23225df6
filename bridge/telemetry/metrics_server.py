"""GET /metrics: what Prometheus scrapes, from a thread of its own. Of several workers, the sums.

Workers count in files of one directory, named after their process ids. While a worker lives, its files are read; when
it has ended, its gauges go and its counts stay, in files that all ended workers share.
"""

import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CollectorRegistry, Metric, MetricsHandler
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from bridge.listen import cannot_listen
from bridge.settings_values import split_listen
from bridge.telemetry.metrics import REGISTRY

LOGGER = logging.getLogger(__name__)

PATH = "/metrics"
REQUEST_TIMEOUT_S = 10.0
"""How long a client may take to say what it wants, or to take what it gets."""

_POLL_S = 0.1
"""How long `close` may have to wait."""

_FILES = threading.Lock()
"""No scrape sees the counts of an ended worker twice, or not at all."""

# The library has no annotations there.
_Counts: Any = MmapedDict
_merge: Any = MultiProcessCollector.merge
_drop_gauges: Any = mark_process_dead


class MetricsEndpoint:
    """Metrics that are served, until `close`."""

    def __init__(self, server: ThreadingTCPServer, address: str) -> None:
        self.address = address
        """host:port, with the port's number where 0 was asked for."""
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no further scrape."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def serve_metrics(
    listen: str, directory: Path | None = None, registry: CollectorRegistry = REGISTRY
) -> MetricsEndpoint:
    """Serve the metrics of this process on "host:port"; raise ListenError.

    With a directory: those of the workers that count in it, and what this process, their supervisor, knows itself.
    """
    host, port = split_listen(listen)
    try:
        server = _server(host)((host, port), _handler(registry if directory is None else _all(directory, registry)))
    except OSError:
        raise cannot_listen("telemetry.metrics_listen", listen) from None
    return MetricsEndpoint(server, f"{listen.rpartition(':')[0]}:{server.server_address[1]}")


def worker_gone(directory: Path, pid: int) -> None:
    """Drop the gauges of a worker that has ended, and add its counts to those of the workers that ended before.

    So there are never more files than live workers need, however many come and go. What goes wrong is logged: the
    bridge goes on without the counts.
    """
    try:
        with _FILES:
            _drop_gauges(pid, directory)
            for kind in ("counter", "histogram"):
                file = directory / f"{kind}_{pid}.db"
                if file.exists():
                    _add(file, directory / f"{kind}_ended.db")
                    file.unlink()
    except (OSError, RuntimeError) as error:
        LOGGER.error("counts of worker %d are lost: %s", pid, type(error).__name__)  # noqa: TRY400 - no text


def _add(file: Path, to: Path) -> None:
    # Killed in the moment of making it, the worker has left an empty file.
    if not file.stat().st_size:
        return
    sums = _Counts(str(to))
    try:
        for key, value, _timestamp, _position in _Counts.read_all_values_from_file(str(file)):
            before, _ = sums.read_value(key)
            sums.write_value(key, before + value, 0.0)
    finally:
        sums.close()


# --- what is served ---------------------------------------------------------------------------------------------


def _all(directory: Path, own: CollectorRegistry) -> CollectorRegistry:
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(_Directory(directory, own))
    return registry


class _Directory(Collector):
    """The metrics of a directory, and before those of the same name the supervisor's own."""

    def __init__(self, directory: Path, own: CollectorRegistry) -> None:
        self._directory = directory
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """Yield every metric once."""
        own = {metric.name: metric for metric in self._own.collect()}
        yield from own.values()
        yield from (metric for metric in self._counted() if metric.name not in own)

    def _counted(self) -> list[Metric]:
        with _FILES:
            # A file is empty for the moment in which its worker makes it.
            files = [str(file) for file in sorted(self._directory.glob("*.db")) if file.stat().st_size]
            return list(_merge(files))


# --- HTTP -------------------------------------------------------------------------------------------------------


def _server(host: str) -> type[ThreadingTCPServer]:
    # Not http.server's class: it looks up the host's name in the DNS, which may take long.
    class Server(ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, _request: Any, _client_address: Any) -> None:
            """Log what went wrong, in place of a traceback on standard error."""
            LOGGER.warning("a scrape was not answered: %s", type(sys.exception()).__name__)

    return Server


def _handler(metrics: CollectorRegistry) -> type[MetricsHandler]:
    class Handler(MetricsHandler):
        registry = metrics
        timeout = REQUEST_TIMEOUT_S
        server_version = "wallet-bridge"
        sys_version = ""

        def do_GET(self) -> None:  # noqa: N802 - http.server's name for it
            if self.path.partition("?")[0] == PATH:
                super().do_GET()
            else:
                self.send_error(404, explain=f"Metrics are at {PATH}.")

    return Handler
