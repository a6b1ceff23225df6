"""The fault server does on the wire what a test tells it; judged by httpx and by a client that sees single events."""

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import Callable

import httpx
import pytest
import uvloop
from h2 import events
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, GoAwayFrame

from faults.behaviours import after, answer, by_token, endless, hang, terminated
from faults.certificates import Certificates, Identity, write_certificates
from faults.client import RawClient, terminate_body, well_behaved
from faults.connection import Connection
from faults.record import Goaway, Reset
from faults.server import FaultServer, Welcome, closing_server, refusing_port, silent_server
from faults.stream import Behaviour, Stream
from faults.wire import PREFACE


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests of this file."""
    return write_certificates(tmp_path_factory.mktemp("tls"))


async def ask(behaviour: Behaviour) -> httpx.Response:
    """Send one Terminate to a server with this behaviour through httpx."""
    async with FaultServer(behaviour) as server, well_behaved(server.url) as client:
        return await client.post("/api/wallet/terminate", content=terminate_body())


async def test_serves_http2_over_tls(certificates: Certificates) -> None:
    """A TLS server with ALPN h2 answers HTTP/2 and records the request as it was sent."""
    server_tls, client_tls = certificates.server.server_context(), certificates.client_context()
    async with FaultServer(terminated, tls=server_tls) as server, well_behaved(server.url, client_tls) as client:
        response = await client.post("/api/wallet/terminate", content=terminate_body("abc"), headers={"x-a": "1"})
    (request,) = server.requests
    assert (response.http_version, response.status_code) == ("HTTP/2", 200)
    assert (request.connection, request.stream_id, request.body) == (1, 1, terminate_body("abc"))
    assert {(":method", "POST"), (":path", "/api/wallet/terminate"), ("x-a", "1")} <= set(request.headers)


async def test_serves_http2_on_plaintext() -> None:
    """Without TLS, the server speaks HTTP/2 by prior knowledge."""
    response = await ask(answer(418, b"{}"))
    assert (response.http_version, response.status_code, response.content) == ("HTTP/2", 418, b"{}")


@pytest.mark.parametrize("offered", [("http/1.1",), ()], ids=["http/1.1", "none"])
async def test_without_h2_in_alpn_it_refuses_to_talk(certificates: Certificates, offered: tuple[str, ...]) -> None:
    """A server whose ALPN lacks h2 is silent, counts what it is sent nevertheless, and hangs up."""
    tls = certificates.server.server_context(alpn=offered)
    context = certificates.client_context(alpn=("h2", "http/1.1"))
    async with FaultServer(terminated, tls=tls) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == (offered[0] if offered else None)
        assert server.received_bytes == 0
        writer.write(PREFACE)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert (server.received_bytes, len(server.client_errors)) == (len(PREFACE), 1)


@pytest.mark.parametrize(
    ("choose", "reason"),
    [
        (lambda certificates: certificates.expired, "has expired"),
        (lambda certificates: certificates.wrong_name, "IP address mismatch"),
        (lambda certificates: certificates.untrusted, "unable to get local issuer"),
    ],
    ids=["expired", "wrong_name", "untrusted"],
)
async def test_bad_certificates_fail_the_handshake(
    certificates: Certificates, choose: Callable[[Certificates], Identity], reason: str
) -> None:
    """A client refuses each bad certificate for its own reason, and the server counts and notes the attempt."""
    async with FaultServer(terminated, tls=choose(certificates).server_context()) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=certificates.client_context())
        await server.until(lambda: len(server.handshake_errors) == 1)
    assert (server.connections, server.received_bytes, server.open_connections) == (1, 0, [])


async def test_demands_a_client_certificate(certificates: Certificates) -> None:
    """With a client CA, a client that shows its certificate is served and one without is not."""
    tls = certificates.server.server_context(client_ca_file=certificates.ca_file)
    async with FaultServer(terminated, tls=tls) as server:
        async with well_behaved(server.url, certificates.client_context(identity=certificates.client)) as client:
            assert (await client.post("/", content=terminate_body())).is_success
        async with well_behaved(server.url, certificates.client_context()) as client:
            with pytest.raises(httpx.TransportError):
                await client.post("/", content=terminate_body())


async def test_silent_server_stalls_the_handshake(certificates: Certificates) -> None:
    """A silent server accepts TCP; a TLS handshake with it neither fails nor ends."""
    async with silent_server() as server:
        loop = asyncio.get_running_loop()
        context = certificates.client_context()
        attempt = loop.create_task(asyncio.open_connection("127.0.0.1", server.port, ssl=context))
        await server.until(lambda: server.connections == 1)
        assert not attempt.done()
    with pytest.raises(ConnectionError):
        await attempt


async def test_closing_server_sends_fin() -> None:
    """A closing server accepts and sends FIN, also to a client that has spoken already."""
    async with closing_server() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connected:
            connected.sendall(PREFACE)
            connected.settimeout(0)
            assert await asyncio.get_running_loop().sock_recv(connected, 1) == b""
    assert server.connections == 1


async def test_welcome_is_chosen_for_each_connection() -> None:
    """The first connection is reset at once, the second is served."""
    async with FaultServer(
        terminated, welcome=lambda number: Welcome.RESET if number == 1 else Welcome.SERVE
    ) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connected:
            connected.settimeout(0)
            with pytest.raises(ConnectionResetError):
                await asyncio.get_running_loop().sock_recv(connected, 1)
        async with RawClient.connect(server.port) as client:
            assert (await client.answer(client.request())).headers[":status"] == "200"


def test_refusing_port_refuses() -> None:
    """Nobody listens on a refusing port."""
    with refusing_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_offline_is_a_restart() -> None:
    """Going offline resets connections and refuses new ones; afterwards the same port serves again."""
    async with FaultServer(terminated) as server:
        port = server.port
        async with RawClient.connect(port) as client:
            await client.answer(client.request())
            async with server.offline():
                with pytest.raises(ConnectionResetError):
                    await client.until_closed()
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port))
        async with RawClient.connect(port) as client:
            assert (await client.answer(client.request())).headers[":status"] == "200"
        assert server.connections == 2


async def test_opening_acts_on_a_new_connection() -> None:
    """GOAWAY can be sent before any request, so that the first one is never processed."""

    async def go_away(connection: Connection) -> None:
        connection.goaway(0)

    async with FaultServer(terminated, opening=go_away) as server, RawClient.connect(server.port) as client:
        assert (await client.next(events.ConnectionTerminated)).last_stream_id == 0
        client.request()
        await server.until(lambda: server.ignored_streams == 1)
    assert server.requests == []


async def test_settings_can_be_withheld() -> None:
    """With settings None, a server never sends its SETTINGS frame."""
    async with FaultServer(answer(200), settings=None) as server, RawClient.connect(server.port) as client:
        await client.answer(client.request())
        assert not [event for event in client.events if isinstance(event, events.RemoteSettingsChanged)]


async def test_too_many_streams_are_a_violation_once_acknowledged() -> None:
    """A client may exceed a limit that it does not know yet; after its ACK that ends the connection."""
    async with (
        FaultServer(hang, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server,
        RawClient.connect(server.port) as client,
    ):
        client.request()
        client.request()
        await client.ping()
        assert (len(server.requests), server.client_errors) == (2, [])
        client.h2.remote_settings.max_concurrent_streams = 9
        client.h2.remote_settings.acknowledge()
        client.request()
        await client.until_closed()
        assert (len(server.requests), len(server.client_errors)) == (2, 1)


async def test_records_what_the_client_ends() -> None:
    """Resets, pings and GOAWAY of the client are recorded; a reset closes the stream, GOAWAY lets streams finish."""
    gate = asyncio.Event()
    async with FaultServer(after(gate)) as server, RawClient.connect(server.port) as client:
        cancelled, kept = client.request(), client.request()
        client.h2.reset_stream(cancelled, ErrorCodes.CANCEL)
        await client.ping()
        assert (server.open_streams, server.pings) == (1, 1)
        client.raw(GoAwayFrame(last_stream_id=0, error_code=ErrorCodes.NO_ERROR).serialize())
        await client.ping()
        gate.set()
        assert (await client.answer(kept)).headers[":status"] == "200"
    assert server.resets == [Reset(connection=1, stream_id=cancelled, error_code=ErrorCodes.CANCEL)]
    assert server.goaways == [Goaway(connection=1, last_stream_id=0, error_code=ErrorCodes.NO_ERROR)]


async def test_violations_of_the_client_are_recorded() -> None:
    """A client that breaks HTTP/2 gets GOAWAY and FIN, and h2's judgement is kept."""
    async with FaultServer(hang) as server, RawClient.connect(server.port) as client:
        client.raw(DataFrame(1, data=b"on an idle stream").serialize())
        assert (await client.next(events.ConnectionTerminated)).error_code == ErrorCodes.PROTOCOL_ERROR
        await client.until_closed()
    assert len(server.client_errors) == 1


async def test_behaviour_can_be_replaced() -> None:
    """A fault ends when the test assigns another behaviour."""
    async with FaultServer(answer(500)) as server, well_behaved(server.url) as client:
        assert (await client.post("/", content=terminate_body())).status_code == 500
        server.behaviour = terminated
        assert (await client.post("/", content=terminate_body())).status_code == 200


async def break_down(_stream: Stream) -> None:
    """Fail as a behaviour with a bug does."""
    raise ZeroDivisionError


async def expect_a_reset(behaviour: Behaviour) -> None:
    """Send a request to a server with this behaviour, and be content with a reset of the connection."""
    async with FaultServer(behaviour) as server, RawClient.connect(server.port) as client:
        client.request()
        with pytest.raises(ConnectionResetError):
            await client.until_closed()


async def test_a_broken_behaviour_fails_its_test() -> None:
    """A behaviour that raises resets its connection, and is raised again at the end of the block."""
    with pytest.raises(ExceptionGroup) as caught:
        await expect_a_reset(break_down)
    assert caught.group_contains(ZeroDivisionError)


async def test_a_broken_behaviour_is_named_beside_the_tests_own_failure() -> None:
    """If the block fails too, its failure is kept and the behaviour's is noted on it."""
    with pytest.raises(httpx.TransportError) as caught:
        await ask(break_down)
    assert "ZeroDivisionError" in caught.value.__notes__[0]


async def leave_in_full_swing(certificates: Certificates) -> None:
    """Leave a TLS server while a stream hangs, a body waits for credit, a host is frozen and a handshake stalls."""

    async def freeze(stream: Stream) -> None:
        stream.connection.freeze()

    behaviour = by_token({"endless": endless(bytes(9999)), "frozen": freeze}, hang)
    async with contextlib.AsyncExitStack() as clients:
        async with FaultServer(behaviour, tls=certificates.server.server_context()) as server:
            for token in ("hanging", "endless", "frozen"):
                connecting = RawClient.connect(server.port, certificates.client_context(), credit=False)
                (await clients.enter_async_context(connecting)).request(token)
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            await server.until(lambda: len(server.requests) == 3 and server.connections == 4)
            connections = server.open_connections
        assert [connection.lost.is_set() for connection in connections] == [True, True, True]
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_leaves_nothing_behind(certificates: Certificates, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Leaving the block ends every task, connection and half-done handshake, on both event loops."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(leave_in_full_swing(certificates))
    gc.collect()  # an unclosed socket or transport warns now, and a warning is an error
