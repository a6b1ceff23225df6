"""GET /metrics: what Prometheus scrapes, from threads of its own.

The port has no access control. So it holds little: few connections at once, each for a short time as a whole,
however slowly it sends; who comes beyond that waits in the kernel's queue.
"""

import logging
import socket
import sys
import threading
import time
from contextlib import suppress
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.registry import Collector

from bridge.address import cannot_listen, split_listen
from bridge.telemetry.metrics import REGISTRY

LOGGER = logging.getLogger(__name__)

PATH = "/metrics"

CONNECTIONS_MAX = 8
"""At once."""

REQUEST_S = 5.0
"""Longest time for a request and its answer together."""

_POLL_S = 0.1
"""Longest wait of `close`, and lateness of the end of a connection whose time is up."""


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


def serve_metrics(listen: str, registry: CollectorRegistry = REGISTRY) -> MetricsEndpoint:
    """Serve these metrics on "host:port"; raise ListenError."""
    host, port = split_listen(listen)
    try:
        server = _server(host)((host, port), _handler(registry))
    except OSError as error:
        raise cannot_listen("telemetry.metrics_listen", listen, error) from None
    return MetricsEndpoint(server, f"{listen.rpartition(':')[0]}:{server.server_address[1]}")


def registry_of(collector: Collector) -> CollectorRegistry:
    """Return a registry of what a collector yields, whatever that is at each scrape."""
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(collector)
    return registry


class _Server(ThreadingTCPServer):
    """A thread for each connection, of which there are few; each is ended when its time is up.

    Not http.server's class: it looks up the host's name in the DNS, which may take long.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.Semaphore(CONNECTIONS_MAX)
        self._ends: dict[socket.socket, float] = {}
        """Connection -> when its time is up, on the clock of `time.monotonic`."""
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. OSError, after a moment, where there is room for none: it is asked for again."""
        if not self._free.acquire(timeout=_POLL_S):
            raise OSError("as many connections as may be")
        try:
            connection, address = super().get_request()
        except OSError:
            self._free.release()
            # No descriptors, or no memory: the next try is not at once.
            time.sleep(_POLL_S)
            raise
        self._ends[connection] = time.monotonic() + REQUEST_S
        return connection, address

    def service_actions(self) -> None:
        """End the connections whose time is up: a task that waits for their bytes gets an end of file or an error."""
        now = time.monotonic()
        for connection, end in list(self._ends.items()):
            if end < now:
                _shut_down(connection)

    def close_request(self, request: Any) -> None:
        """Close a connection, which makes room for another."""
        super().close_request(request)
        if self._ends.pop(request, None) is not None:
            self._free.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Log what went wrong, in place of a traceback on standard error."""
        LOGGER.warning("a scrape was not answered: %s", type(sys.exception()).__name__)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # its thread has just closed it, or its peer has
        connection.shutdown(socket.SHUT_RDWR)


def _server(host: str) -> type[_Server]:
    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    return Server


def _handler(metrics: CollectorRegistry) -> type[MetricsHandler]:
    class Handler(MetricsHandler):
        registry = metrics
        timeout = REQUEST_S
        server_version = "wallet-bridge"
        sys_version = ""

        def do_GET(self) -> None:  # noqa: N802 - http.server's name for it
            if self.path.partition("?")[0] == PATH:
                super().do_GET()
            else:
                self.send_error(404, explain=f"Metrics are at {PATH}.")

    return Handler
