"""GET /metrics over a real socket, in one process."""

import contextlib
import gzip
import http.client
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue

import pytest
from prometheus_client import CollectorRegistry

import bridge
from bridge.address import ListenError
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.metrics_server import CONNECTIONS_MAX, REQUEST_S, MetricsEndpoint, serve_metrics
from tests.support.metrics_page import EVERY_EVENT, METHOD, PATIENCE_S, call, get, scrape
from tests.support.ports import needs_ipv6


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    """Return the metrics of a process that has seen an event of each kind."""
    registry = CollectorRegistry()
    metrics = Metrics([METHOD], registry)
    for event in EVERY_EVENT:
        metrics(event)
    return registry


@pytest.fixture(scope="module")
def endpoint(registry: CollectorRegistry) -> Iterator[MetricsEndpoint]:
    """Serve them."""
    with contextlib.closing(serve_metrics("127.0.0.1:0", registry=registry)) as served:
        yield served


def test_each_scrape_is_fresh() -> None:
    """What is counted between two scrapes is in the second."""
    registry = CollectorRegistry()
    metrics = Metrics([METHOD], registry)
    with contextlib.closing(serve_metrics("127.0.0.1:0", registry=registry)) as endpoint:
        assert scrape(endpoint.address).by("wallet_bridge_calls_total", "reason") == {}
        metrics(call())
        assert scrape(endpoint.address).by("wallet_bridge_calls_total", "reason") == {"OK": 1}


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metric", "/favicon.ico", "/../metrics"])
def test_there_is_nothing_else(endpoint: MetricsEndpoint, path: str) -> None:
    """Any other path is 404, and the answer says where to look."""
    status, text = get(endpoint.address, path)
    assert (status, "/metrics" in text) == (404, True)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_is_understood(endpoint: MetricsEndpoint, method: str) -> None:
    """Nothing can be written."""
    status, _ = get(endpoint.address, method=method)
    assert status == http.client.NOT_IMPLEMENTED


def test_a_scrape_may_ask_for_some_names(endpoint: MetricsEndpoint) -> None:
    """As Prometheus' own exporters allow: ?name[]=..."""
    _, text = get(endpoint.address, "/metrics?name[]=wallet_bridge_streams")
    assert text.splitlines()[-1] == "wallet_bridge_streams 5.0"
    assert text.count("# HELP") == 1


def test_a_page_can_be_compressed(endpoint: MetricsEndpoint) -> None:
    """Prometheus asks for gzip, and a page shrinks by nine tenths."""
    connection = http.client.HTTPConnection(endpoint.address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        assert b"wallet_bridge_calls_total" in gzip.decompress(connection.getresponse().read())


def test_the_answer_does_not_say_which_python_this_is(endpoint: MetricsEndpoint) -> None:
    """The Server header names the bridge alone."""
    connection = http.client.HTTPConnection(endpoint.address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        assert connection.getresponse().getheader("Server") == "wallet-bridge "


def test_a_client_that_says_nothing_is_in_nobodys_way(endpoint: MetricsEndpoint) -> None:
    """Each has a thread of its own."""
    host, port = endpoint.address.split(":")
    with socket.create_connection((host, int(port))):
        assert scrape(endpoint.address)


def test_a_client_that_sends_nonsense_is_reported_so(endpoint: MetricsEndpoint) -> None:
    """The endpoint serves on."""
    host, port = endpoint.address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client, client.makefile("rb") as answer:
        client.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b"400" in answer.read()
    assert scrape(endpoint.address)


def test_a_client_that_leaves_is_logged_without_a_traceback(
    endpoint: MetricsEndpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    """A reset in the middle of a request is one line, and nothing on standard error."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logger, handler = logging.getLogger("bridge.telemetry.metrics_server"), QueueHandler(records)
    logger.addHandler(handler)
    host, port = endpoint.address.split(":")
    with socket.create_connection((host, int(port))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
    message = records.get(timeout=PATIENCE_S).getMessage()
    logger.removeHandler(handler)
    assert message == "a scrape was not answered: ConnectionResetError"
    assert "Traceback" not in capfd.readouterr().err


@needs_ipv6
def test_ipv6(registry: CollectorRegistry) -> None:
    """An address in brackets, here and in what the endpoint says."""
    with contextlib.closing(serve_metrics("[::1]:0", registry=registry)) as endpoint:
        assert endpoint.address.startswith("[::1]:")
        assert scrape(endpoint.address)


def test_a_port_that_is_taken_is_one_line(endpoint: MetricsEndpoint) -> None:
    """It names the setting, the address and what to look for."""
    with pytest.raises(ListenError) as raised:
        serve_metrics(endpoint.address)
    assert str(raised.value) == (
        f"telemetry.metrics_listen: cannot listen on {endpoint.address}; "
        "the port is taken: stop what has it, or set another port"
    )


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "no-such-host.invalid:0"])
def test_an_address_elsewhere_is_the_same(listen: str) -> None:
    """An address of another machine, a name that is unknown."""
    with pytest.raises(ListenError, match=r"telemetry\.metrics_listen: cannot listen on "):
        serve_metrics(listen)


def test_after_close_the_port_is_free(registry: CollectorRegistry) -> None:
    """The port is free again at once."""
    endpoint = serve_metrics("127.0.0.1:0", registry=registry)
    assert scrape(endpoint.address)
    endpoint.close()
    with pytest.raises(ConnectionRefusedError):
        get(endpoint.address)
    serve_metrics(endpoint.address, registry=registry).close()


def connected(endpoint: MetricsEndpoint) -> socket.socket:
    """Connect, and say nothing."""
    host, port = endpoint.address.split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def threads() -> int:
    """Return how many threads serve connections."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


def test_few_connections_are_served_at_once(endpoint: MetricsEndpoint) -> None:
    """However many connect and say nothing, they take few threads; a scrape has its turn when theirs are over."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connected(endpoint))
        most = 0
        scraping = threading.Thread(target=scrape, args=(endpoint.address,))
        scraping.start()
        while scraping.is_alive():
            most = max(most, threads())
            scraping.join(0.01)
    assert 1 < most <= CONNECTIONS_MAX == 8


DRIPS = {"a request line": b"GET /metrics?" + b"a" * 10_000, "headers": b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 90}


@pytest.mark.parametrize("text", DRIPS.values(), ids=DRIPS)
@pytest.mark.short("headers")
def test_a_request_has_its_time_as_a_whole(endpoint: MetricsEndpoint, text: bytes) -> None:
    """Who sends a byte now and then, so that no single read takes long, is cut off after 5 seconds all the same."""
    began = time.monotonic()
    with connected(endpoint) as client:
        client.settimeout(0.05)
        for byte in text:
            try:
                client.sendall(bytes([byte]))
                if not client.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it was never cut off")
    assert REQUEST_S == 5 <= time.monotonic() - began < 3 * REQUEST_S


def test_an_unread_answer_has_its_time_too(endpoint: MetricsEndpoint) -> None:
    """Who asks and does not read holds its place no longer than others."""
    with connected(endpoint) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        while threads():  # ended by the time limit of a test if nothing else ends it
            time.sleep(0.05)


NO_DESCRIPTORS = """
import os, resource, socket, sys, time
from prometheus_client import CollectorRegistry, Gauge
from bridge.telemetry.metrics_server import serve_metrics
registry = CollectorRegistry()
Gauge("a", "b", registry=registry).set(1)
endpoint = serve_metrics("127.0.0.1:0", registry)
client = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
host, port = endpoint.address.split(":")
client.connect((host, int(port)))
began = time.process_time()
time.sleep(2)
print(time.process_time() - began)
for descriptor in taken:
    os.close(descriptor)
client.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
client.settimeout(20)
print(client.recv(20))
"""


def test_no_descriptors_are_no_reason_to_spin() -> None:
    """While no connection can be accepted the CPU rests; when one can, a waiting client is served."""
    environ = {**os.environ, "PYTHONPATH": str(Path(bridge.__file__).parents[1])}
    command = [sys.executable, "-c", NO_DESCRIPTORS]
    said = subprocess.run(command, env=environ, capture_output=True, check=True, timeout=PATIENCE_S * 2)  # noqa: S603 - ours
    cpu_s, answer = said.stdout.decode().splitlines()
    assert float(cpu_s) < 0.2
    assert "200 OK" in answer
