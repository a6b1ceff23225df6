"""The sandbox on its socket: TLS, start and stop, connections and streams that end badly, its log."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import uvloop
from h2.settings import SettingCodes

from bridge.sandbox import Received, Sandbox, serve
from tests.support.certificates import Certificates
from tests.support.floods.attacks import PREFACE
from tests.support.http2 import frames as raw
from tests.support.ports import needs_ipv6
from tests.support.raw_caller import RawCaller, raw_caller
from tests.unit.sandbox.test_sandbox import (
    EXAMPLE_BODY,
    EXAMPLE_SIGNATURE,
    NO_TRUST,
    TOKEN,
    body_of,
    client_of,
    headers_for,
    http2_client,
    post,
    request_of,
)


def ask(client: RawCaller, body: bytes = EXAMPLE_BODY, *, stream_id: int = 1, end: bool = True) -> None:
    """Send a signed terminate."""
    client.send(raw.headers(stream_id, fields=tuple(request_of(body).headers)), raw.data(stream_id, body, end=end))


async def status_of(client: RawCaller, stream_id: int = 1) -> str:
    """Send a signed terminate, wait for the end of the answer and return its HTTP status."""
    ask(client, stream_id=stream_id)
    return (await client.answer(stream_id)).headers[":status"]


def connected(sandbox: Sandbox, tls: ssl.SSLContext | None = None) -> contextlib.AbstractAsyncContextManager[RawCaller]:
    """Connect to a sandbox."""
    return raw_caller(f"127.0.0.1:{sandbox.port}", tls)


class Arrivals:
    """An `on_call` that lets a test wait for requests."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[Received] = asyncio.Queue()

    def __call__(self, received: Received) -> None:
        """Note an arrival."""
        self._arrived.put_nowait(received)

    async def wait(self, count: int = 1) -> None:
        """Return when so many more requests have arrived."""
        for _ in range(count):
            await self._arrived.get()


async def test_tls_with_alpn(certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    """Over TLS HTTP/2 is chosen by ALPN; a client without it gets 505, one that does not trust is nothing to log."""
    own, trust = certificates.server, certificates.client_context()
    async with serve(certificate_file=own.certificate_file, key_file=own.key_file) as sandbox:
        assert sandbox.url == f"https://127.0.0.1:{sandbox.port}"
        async with http2_client(sandbox, NO_TRUST) as client:
            with pytest.raises(httpx.ConnectError):
                await post(client, EXAMPLE_BODY)
        async with client_of(sandbox, trust, http1=True, http2=False) as client:
            assert (await post(client, EXAMPLE_BODY)).status_code == 505
        async with client_of(sandbox, trust, http1=True, http2=True) as client:
            answer = await post(client, EXAMPLE_BODY)
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
            with pytest.raises(httpx.TransportError):
                await post(client, body_of(token="test-connection-lost"))
            assert (await post(client, EXAMPLE_BODY)).status_code == 200
    assert caplog.text == ""


@pytest.mark.parametrize("missing", ["certificate_file", "key_file"])
async def test_half_a_certificate(certificates: Certificates, missing: str) -> None:
    """A certificate without its key, or the other way round, stops the start."""
    files = {"certificate_file": certificates.server.certificate_file, "key_file": certificates.server.key_file}
    del files[missing]
    with pytest.raises(ValueError, match="both a certificate file and a key file"):
        async with serve(**files):  # type: ignore[arg-type]  # two keywords of one type
            raise AssertionError


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("missing.pem", "server_key.pem", "No such file"),
        ("server_key.pem", "server_key.pem", "SSL"),
        ("server.pem", ".", ""),
    ],
)
async def test_unusable_certificate(certificates: Certificates, certificate: str, key: str, reason: str) -> None:
    """A file that is missing or holds something else stops the start with an error that names it."""
    folder = certificates.ca_file.parent
    named = rf"cannot use certificate {folder / certificate} with key {folder / key}: .*{reason}"
    with pytest.raises(OSError, match=named):
        async with serve(certificate_file=folder / certificate, key_file=folder / key):
            raise AssertionError


async def test_listens_before_it_yields(sandbox: Sandbox) -> None:
    """A blocking connect succeeds at once, without a turn of the loop; the port is taken for others."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5):
        assert sandbox.url == f"http://127.0.0.1:{sandbox.port}"
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{sandbox.port}: Address already in use"):
        async with serve(port=sandbox.port):
            raise AssertionError


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 65_536), ("192.0.2.1", 0)])
async def test_impossible_address(host: str, port: int) -> None:
    """An address that cannot be bound stops the start with an error that names it."""
    with pytest.raises(OSError, match=f"cannot listen on {host}:{port}: "):
        async with serve(host, port):
            raise AssertionError


@needs_ipv6
async def test_ipv6() -> None:
    """An IPv6 address stands in brackets in the url."""
    async with serve("::1") as sandbox, http2_client(sandbox) as client:
        assert sandbox.url == f"http://[::1]:{sandbox.port}"
        assert (await post(client, EXAMPLE_BODY)).status_code == 200


async def stop_with_open_streams(files: dict[str, Path], trust: ssl.SSLContext) -> None:
    """Leave the sandbox while calls wait, answers flow, a handshake stalls and nothing is read; see what is left."""
    arrivals = Arrivals()
    async with contextlib.AsyncExitStack() as stack:
        async with serve(**files, on_call=arrivals) as sandbox:  # type: ignore[arg-type]  # two keywords of one type
            client = await stack.enter_async_context(http2_client(sandbox, trust))
            tokens = ("test-never", "test-slow", "test-drip", "test-endless")
            calls = [asyncio.create_task(post(client, body_of(token=token))) for token in tokens]
            deaf = await stack.enter_async_context(connected(sandbox, trust if files else None))
            deaf.send(raw.settings((SettingCodes.INITIAL_WINDOW_SIZE, 2**31 - 1)))
            deaf.send(raw.frame(raw.WINDOW_UPDATE, payload=(2**30).to_bytes(4)))
            ask(deaf, body_of(token="test-endless"))
            late = stack.enter_context(socket.create_connection(("127.0.0.1", sandbox.port), timeout=5))
            await arrivals.wait(len(calls) + 1)
        left = asyncio.all_tasks() - {asyncio.current_task(), *calls}
        ends = await asyncio.gather(*calls, return_exceptions=True)
        late.settimeout(0)
        with contextlib.suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(late, 1):
                pass
    assert not left
    assert all(isinstance(end, httpx.TransportError) for end in ends)
    with socket.create_server(("127.0.0.1", sandbox.port)):
        pass


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_stops_at_once_and_leaves_nothing(
    new_loop: Callable[[], asyncio.AbstractEventLoop], certificates: Certificates, *, is_tls: bool
) -> None:
    """Open streams do not hold the sandbox up, and no task and no socket of it remain, on either loop."""
    own, trust = certificates.server, certificates.client_context()
    files = {"certificate_file": own.certificate_file, "key_file": own.key_file} if is_tls else {}
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(stop_with_open_streams(files, trust if is_tls else NO_TRUST))


class Errors(logging.Handler):
    """Lets a test wait for a line in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.logged = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 -- logging's interface
        """Note that something was logged."""
        self.logged.set()


async def test_no_file_descriptors_left(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """When the process has run out of file descriptors, a new connection waits until one is free, and is served."""
    errors = Errors()
    connecting = socket.socket()
    logger = logging.getLogger("bridge.sandbox.server")
    logger.addHandler(errors)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest_free = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        connecting.connect(("127.0.0.1", sandbox.port))
        await errors.logged.wait()
        for _ in range(20):  # turns of the loop, in which it must not try again and again
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        logger.removeHandler(errors)
    reader, writer = await asyncio.open_connection(sock=connecting)
    client = RawCaller(reader, writer)
    client.send(PREFACE, raw.settings())
    assert await status_of(client) == "200"
    writer.close()
    await writer.wait_closed()
    assert caplog.messages == ["cannot accept a connection: [Errno 24] Too many open files"]


async def test_streams_that_are_reset_are_free_again() -> None:
    """Of 100 streams at a time, 200 are reset while they wait; the connection serves the next call."""
    arrivals = Arrivals()
    async with serve(on_call=arrivals) as sandbox, connected(sandbox) as client:
        for first in range(1, 401, 100):
            for stream_id in range(first, first + 100, 2):
                ask(client, body_of(token="test-never"), stream_id=stream_id)
            await arrivals.wait(50)
            for stream_id in range(first, first + 100, 2):
                client.send(raw.frame(raw.RST_STREAM, 0, stream_id, bytes(4)))
        assert await status_of(client, 401) == "200"


@pytest.mark.parametrize("token", ["test-too-large", "test-endless", "test-never", "test-slow", "test-drip"])
async def test_client_that_vanishes_leaves_nothing(token: str) -> None:
    """An answer that waits for the client's window or for time does not outlive the connection."""
    arrivals = Arrivals()
    async with serve(on_call=arrivals) as sandbox:
        async with connected(sandbox) as client:
            ask(client, body_of(token=token))
            await arrivals.wait()
        async with connected(sandbox) as client:
            ask(client, EXAMPLE_BODY[:20], end=False)
            assert await status_of(client, 3) == "200"
        assert [len(received.request.body) for received in sandbox.received][1:] == [len(EXAMPLE_BODY)]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_on_call_that_fails_is_an_error_of_that_call_only(caplog: pytest.LogCaptureFixture) -> None:
    """An error in the caller's hook is logged and answers 500; the connection serves the next call."""
    failures = iter([LookupError("the hook failed")])

    def on_call(_received: Received) -> None:
        for failure in failures:
            raise failure

    async with serve(on_call=on_call) as sandbox, http2_client(sandbox) as client:
        assert (await post(client, EXAMPLE_BODY)).status_code == 500
        assert (await post(client, EXAMPLE_BODY)).status_code == 200
    assert "the hook failed" in caplog.text


async def test_logs_show_no_secret(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, accepted and refused calls alike leave no credential, signature or token in any log."""
    caplog.set_level(logging.DEBUG)
    async with http2_client(sandbox) as client:
        await post(client, EXAMPLE_BODY)
        await post(client, EXAMPLE_BODY, authorization="Basic canary")
        await post(client, EXAMPLE_BODY, x_request_signature="canary")
    authorization = headers_for(EXAMPLE_BODY)["authorization"]
    assert caplog.text != ""
    for secret in (TOKEN, EXAMPLE_SIGNATURE, authorization, "canary"):
        assert secret not in caplog.text
