"""The sandbox on its socket: TLS, start and stop, connections and streams that end badly, what it logs."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest
import trustme
import uvloop

from bridge.sandbox import Received, Sandbox, serve
from test_sandbox import (
    EXAMPLE_BODY,
    EXAMPLE_SIGNATURE,
    NO_TRUST,
    PATH,
    TOKEN,
    body_of,
    headers_for,
    http2_client,
    post,
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make a certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """Trust that authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def tls_files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 and its key to files."""
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Serve the wallet without TLS."""
    async with serve() as sandbox:
        yield sandbox


class RawClient:
    """One HTTP/2 connection without any manners: sends what a test says, and tells what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        # Lets a test send headers that no proper client sends.
        config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.statuses: dict[int, bytes] = {}
        """HTTP statuses by stream."""
        self.over: set[int] = set()
        """The streams that the sandbox has ended or reset."""

    def request(self, body: bytes, *, path: bytes = PATH.encode(), is_complete: bool = True) -> int:
        """Begin a signed terminate; return its stream id. Nothing is sent before `flush`."""
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"sandbox"), (b":path", path)]
        headers = [(name.encode(), value.encode()) for name, value in headers_for(body).items()]
        self.h2.send_headers(stream_id, [*pseudo, *headers])
        self.h2.send_data(stream_id, body, end_stream=is_complete)
        return stream_id

    async def flush(self) -> None:
        """Send what was begun."""
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def read_until_over(self, *stream_ids: int) -> None:
        """Read until these streams are over; what is read gets its window back. EOFError when the connection ends."""
        while not self.over.issuperset(stream_ids):
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError("the sandbox closed the connection")
            for event in self.h2.receive_data(data):
                self._take_in(event)
            await self.flush()

    def _take_in(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived(stream_id=stream_id, flow_controlled_length=length):
                self.h2.acknowledge_received_data(length, stream_id)
            case h2.events.ResponseReceived(stream_id=stream_id, headers=headers):
                self.statuses[stream_id] = dict(headers)[b":status"]
            case h2.events.StreamEnded(stream_id=stream_id) | h2.events.StreamReset(stream_id=stream_id):
                self.over.add(stream_id)


@contextlib.asynccontextmanager
async def raw_client(sandbox: Sandbox) -> AsyncIterator[RawClient]:
    """Connect without TLS; drop the connection on leaving."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


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


# --- TLS --------------------------------------------------------------------------------------------------------


async def test_tls_with_alpn(tls_files: tuple[Path, Path], trust: ssl.SSLContext) -> None:
    """With a certificate the sandbox speaks HTTP/2 by ALPN, and its url says https."""
    async with (
        serve(certificate_file=tls_files[0], key_file=tls_files[1]) as sandbox,
        http2_client(sandbox, trust) as client,
    ):
        answer = await post(client, EXAMPLE_BODY)
    assert sandbox.url == f"https://127.0.0.1:{sandbox.port}"
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")


async def test_tls_offers_h2_only(tls_files: tuple[Path, Path], trust: ssl.SSLContext) -> None:
    """A client that can do both is given h2; one that can do HTTP/1.1 only is given no protocol, then 505."""
    async with serve(certificate_file=tls_files[0], key_file=tls_files[1]) as sandbox:
        async with httpx.AsyncClient(base_url=sandbox.url, http1=True, http2=True, verify=trust) as client:
            assert (await post(client, EXAMPLE_BODY)).http_version == "HTTP/2"
        async with httpx.AsyncClient(base_url=sandbox.url, http1=True, http2=False, verify=trust) as client:
            assert (await post(client, EXAMPLE_BODY)).status_code == 505


async def test_tls_survives_a_client_that_does_not_trust_it(
    tls_files: tuple[Path, Path], trust: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed handshake is that client's alone, and nothing to log."""
    async with serve(certificate_file=tls_files[0], key_file=tls_files[1]) as sandbox:
        async with http2_client(sandbox, NO_TRUST) as client:
            with pytest.raises(httpx.ConnectError):
                await post(client, EXAMPLE_BODY)
        async with http2_client(sandbox, trust) as client:
            assert (await post(client, EXAMPLE_BODY)).status_code == 200
    assert caplog.text == ""


async def test_connection_lost_in_mid_body_over_tls(tls_files: tuple[Path, Path], trust: ssl.SSLContext) -> None:
    """The end of a connection in mid-body is an error over TLS too, and the next call gets a new connection."""
    async with (
        serve(certificate_file=tls_files[0], key_file=tls_files[1]) as sandbox,
        http2_client(sandbox, trust) as client,
    ):
        with pytest.raises(httpx.TransportError):
            await post(client, body_of(token="test-connection-lost"))
        assert (await post(client, EXAMPLE_BODY)).status_code == 200


@pytest.mark.parametrize("missing", ["certificate", "key"])
async def test_half_a_certificate(tls_files: tuple[Path, Path], missing: str) -> None:
    """A certificate without its key, or the other way round, stops the start."""
    certificate_file = None if missing == "certificate" else tls_files[0]
    key_file = None if missing == "key" else tls_files[1]
    with pytest.raises(ValueError, match="both a certificate file and a key file"):
        async with serve(certificate_file=certificate_file, key_file=key_file):
            raise AssertionError


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [("missing.pem", "key.pem", "No such file"), ("key.pem", "key.pem", "SSL"), ("certificate.pem", ".", "")],
)
async def test_unusable_certificate(tls_files: tuple[Path, Path], certificate: str, key: str, reason: str) -> None:
    """A file that is missing or holds something else stops the start with an error that names it."""
    folder = tls_files[0].parent
    with pytest.raises(
        OSError, match=rf"cannot use certificate {folder / certificate} with key {folder / key}: .*{reason}"
    ):
        async with serve(certificate_file=folder / certificate, key_file=folder / key):
            raise AssertionError


# --- start and stop ---------------------------------------------------------------------------------------------


async def test_listens_before_it_yields(sandbox: Sandbox) -> None:
    """A blocking connect succeeds at once, without a turn of the loop."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5):
        assert sandbox.url == f"http://127.0.0.1:{sandbox.port}"


async def test_port_in_use(sandbox: Sandbox) -> None:
    """A port that is taken stops the start with an error that names it."""
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{sandbox.port}: Address already in use"):
        async with serve(port=sandbox.port):
            raise AssertionError


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 65_536), ("192.0.2.1", 0)])
async def test_impossible_address(host: str, port: int) -> None:
    """An address that cannot be bound stops the start with an error that names it."""
    with pytest.raises(OSError, match=f"cannot listen on {host}:{port}: "):
        async with serve(host, port):
            raise AssertionError


async def test_ipv6() -> None:
    """An IPv6 address stands in brackets in the url."""
    async with serve("::1") as sandbox, http2_client(sandbox) as client:
        assert sandbox.url == f"http://[::1]:{sandbox.port}"
        assert (await post(client, EXAMPLE_BODY)).status_code == 200


async def _stop_with_open_streams(tls_files: tuple[Path, Path] | None, trust: ssl.SSLContext) -> None:
    """Leave the sandbox while calls wait, answers flow and a connection idles; then look at what is left."""
    arrivals = Arrivals()
    certificate_file, key_file = tls_files or (None, None)
    async with contextlib.AsyncExitStack() as stack:
        async with serve(certificate_file=certificate_file, key_file=key_file, on_call=arrivals) as sandbox:
            clients = [await stack.enter_async_context(http2_client(sandbox, trust)) for _ in range(3)]
            tokens = ("test-never", "test-slow", "test-endless", "test-drip")
            calls = [asyncio.create_task(post(clients[0], body_of(token=token))) for token in tokens]
            calls.append(asyncio.create_task(post(clients[1], body_of(token="test-never"))))
            assert (await post(clients[2], EXAMPLE_BODY)).status_code == 200
            await arrivals.wait(len(calls) + 1)
        left = asyncio.all_tasks() - {asyncio.current_task(), *calls}
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert not left
    assert all(isinstance(end, httpx.TransportError) for end in ends)
    with socket.create_server(("127.0.0.1", sandbox.port)):
        pass


ON_EACH_LOOP = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
PLAIN_AND_TLS = pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])


@PLAIN_AND_TLS
@ON_EACH_LOOP
def test_stops_at_once_and_leaves_nothing(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    is_tls: bool,  # noqa: FBT001 -- a case
    tls_files: tuple[Path, Path],
    trust: ssl.SSLContext,
) -> None:
    """Open streams do not hold the sandbox up, and no task and no socket of it remain, on either loop."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_stop_with_open_streams(tls_files if is_tls else None, trust))


async def test_stops_for_an_error_too() -> None:
    """An error in the caller's block passes through, and the port is free again."""
    with pytest.raises(LookupError):
        async with serve() as sandbox:
            raise LookupError
    with socket.create_server(("127.0.0.1", sandbox.port)):
        pass


async def _stop_with_a_late_connection(tls_files: tuple[Path, Path] | None, turns: int) -> None:
    """Leave the sandbox so many turns of the loop after a client connected; the client says nothing."""
    certificate_file, key_file = tls_files or (None, None)
    async with serve(certificate_file=certificate_file, key_file=key_file) as sandbox:
        late = socket.create_connection(("127.0.0.1", sandbox.port), timeout=5)
        for _ in range(turns):
            await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    reader, writer = await asyncio.open_connection(sock=late)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert not left


@pytest.mark.parametrize("turns", range(8))
@PLAIN_AND_TLS
@ON_EACH_LOOP
def test_connection_that_comes_late_is_dropped(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    is_tls: bool,  # noqa: FBT001 -- a case
    turns: int,
    tls_files: tuple[Path, Path],
) -> None:
    """However far a connection has got when the sandbox stops, even in a stalled handshake, it is closed at once."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_stop_with_a_late_connection(tls_files if is_tls else None, turns))


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
    client = socket.socket()
    logger = logging.getLogger("bridge.sandbox.connections")
    logger.addHandler(errors)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free_descriptor(), limits[1]))
    try:
        client.connect(("127.0.0.1", sandbox.port))
        await errors.logged.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        logger.removeHandler(errors)
    reader, writer = await asyncio.open_connection(sock=client)
    raw = RawClient(reader, writer)
    stream_id = raw.request(EXAMPLE_BODY)
    await raw.flush()
    await raw.read_until_over(stream_id)
    writer.close()
    await writer.wait_closed()
    assert raw.statuses == {stream_id: b"200"}
    assert "cannot accept a connection: [Errno 24] Too many open files" in caplog.messages[0]


def _lowest_free_descriptor() -> int:
    with socket.socket() as probe:
        return probe.fileno()


# --- connections and streams ------------------------------------------------------------------------------------


async def test_streams_that_are_reset_are_free_again() -> None:
    """Of 100 streams at a time, 200 are reset while they wait; the connection serves the next call."""
    arrivals = Arrivals()
    async with serve(on_call=arrivals) as sandbox, raw_client(sandbox) as client:
        for _ in range(4):
            stream_ids = [client.request(body_of(token="test-never")) for _ in range(50)]
            await client.flush()
            await arrivals.wait(50)
            for stream_id in stream_ids:
                client.h2.reset_stream(stream_id)
        stream_id = client.request(EXAMPLE_BODY)
        await client.flush()
        await client.read_until_over(stream_id)
        assert client.statuses == {stream_id: b"200"}


async def test_connection_outlives_many_requests(sandbox: Sandbox) -> None:
    """One connection serves more than the thousand requests after which hypercorn would drop it."""
    async with raw_client(sandbox) as client:
        for _ in range(21):
            stream_ids = [client.request(EXAMPLE_BODY) for _ in range(50)]
            await client.flush()
            await client.read_until_over(*stream_ids)
        assert list(client.statuses.values()) == [b"200"] * 1050


async def test_client_that_closes_is_let_go(sandbox: Sandbox) -> None:
    """When a client ends an idle connection, the sandbox ends its side too: no time-out holds a dead socket."""
    async with raw_client(sandbox) as client:
        stream_id = client.request(EXAMPLE_BODY)
        await client.flush()
        await client.read_until_over(stream_id)
        client.writer.write_eof()
        # A bound, not a measurement: hypercorn by itself would hold on for the five seconds of its idle time-out.
        async with asyncio.timeout(4):
            assert await client.reader.read() == b""


@pytest.mark.parametrize("token", ["test-too-large", "test-endless", "test-never"])
async def test_client_that_vanishes_leaves_nothing(token: str) -> None:
    """An answer that waits for the client's window or for time does not outlive the connection."""
    arrivals = Arrivals()
    async with serve(on_call=arrivals) as sandbox:
        async with raw_client(sandbox) as client:
            client.request(body_of(token=token))
            await client.flush()
            await arrivals.wait()
        async with raw_client(sandbox) as client:
            stream_id = client.request(EXAMPLE_BODY)
            await client.flush()
            await client.read_until_over(stream_id)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_client_that_does_not_read_cannot_hold_up_the_stop() -> None:
    """An answer that nobody takes off the socket is dropped when the sandbox stops."""
    # A bound, not a measurement: to send the rest first would take for ever.
    async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack, serve() as sandbox:
        deaf = await stack.enter_async_context(raw_client(sandbox))
        deaf.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        deaf.h2.increment_flow_control_window(2**30)
        deaf.request(body_of(token="test-endless"))
        await deaf.flush()
        # Every call of a neighbour gives the answer a turn, until the socket takes no more of it.
        async with http2_client(sandbox) as neighbour:
            for _ in range(100):
                await post(neighbour, EXAMPLE_BODY)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_request_that_is_never_complete_is_not_received(sandbox: Sandbox) -> None:
    """A client that goes in the middle of its request is forgotten; the connection serves the next call."""
    async with raw_client(sandbox) as client:
        client.h2.reset_stream(client.request(EXAMPLE_BODY[:20], is_complete=False))
        stream_id = client.request(EXAMPLE_BODY)
        await client.flush()
        await client.read_until_over(stream_id)
    assert [received.body for received in sandbox.received] == [EXAMPLE_BODY]


async def test_neighbours_of_a_stream_that_is_reset(sandbox: Sandbox) -> None:
    """One call that is given up does not disturb the others on its connection."""
    async with raw_client(sandbox) as client:
        neighbours = [client.request(body_of(token="test-slow-20")) for _ in range(5)]
        client.h2.reset_stream(client.request(body_of(token="test-never")))
        await client.flush()
        await client.read_until_over(*neighbours)
        assert [client.statuses[stream_id] for stream_id in neighbours] == [b"200"] * 5


async def test_nonsense_breaks_its_own_connection_only(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """A path that is not ASCII is too much for hypercorn: one line that quotes nothing, and the next call is fine."""
    async with raw_client(sandbox) as client:
        stream_id = client.request(EXAMPLE_BODY, path="/žeton".encode())
        await client.flush()
        with pytest.raises(EOFError):
            await client.read_until_over(stream_id)
    async with http2_client(sandbox) as healthy:
        assert (await post(healthy, EXAMPLE_BODY)).status_code == 200
    assert caplog.messages == ["a connection to the sandbox broke: UnicodeDecodeError"]


async def test_web_socket_is_none_of_its_business(sandbox: Sandbox) -> None:
    """A WebSocket over HTTP/2 (RFC 8441), which hypercorn lets in, is answered with an error."""
    async with raw_client(sandbox) as client:
        pseudo = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": PATH, ":authority": "x"}
        stream_id = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream_id, [*pseudo.items(), ("sec-websocket-version", "13")])
        await client.flush()
        await client.read_until_over(stream_id)
        assert client.statuses == {stream_id: b"500"}
    assert sandbox.received == ()


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
