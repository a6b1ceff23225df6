"""Traces over the whole path: from the caller's metadata to the wallet's headers, and what the spans report."""

import asyncio
import base64
import json
from typing import Any

import pytest
from h2.errors import ErrorCodes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from bridge.events import CallEnded, Event
from bridge.sandbox import ROWS, Provider, serve
from bridge.sandbox.behaviours import after, answer, refuse, reset_with, terminated
from bridge.sandbox.record import Request
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour
from tests.support.engines import on_both_engines
from tests.support.ports import reserved_address
from tests.support.reported import Traces
from tests.support.serving import serving
from tests.support.whole_path import Metadata, bridge_to, call_over, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = on_both_engines

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
CONTEXT: Metadata = (
    ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"),
    ("tracestate", "vendor=opaque"),
    ("baggage", "session=secret"),
)

CALL_NAME = "wallet.v1.WalletService/Terminate"
HEADERS = {
    *(":method", ":scheme", ":authority", ":path", "content-type", "accept", "accept-encoding"),
    *("content-length", "user-agent", "authorization", "x-request-signature"),
}


def traceparent_of(received: Request) -> tuple[str, str, str]:
    """Return trace id, span id and flags that the wallet received; there must be exactly one traceparent."""
    (value,) = [value for name, value in received.headers if name == "traceparent"]
    version, trace_id, span_id, flags = value.split("-")
    assert version == "00"
    return trace_id, span_id, flags


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


def span_id_of(span: ReadableSpan) -> str:
    """Return a span's id as hex digits."""
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent_id_of(span: ReadableSpan) -> str:
    """Return the id of a span's parent as hex digits; "" without one."""
    return "" if span.parent is None else f"{span.parent.span_id:016x}"


def ids_in(events: list[Event]) -> tuple[str, str]:
    """Return the ids of trace and span in the report of the one call."""
    (ended,) = (event for event in events if isinstance(event, CallEnded))
    return ended.trace_id, ended.span_id


async def test_the_callers_trace_goes_on_to_the_wallet() -> None:
    """The wallet receives the caller's trace, as a child of the attempt's span, and nothing else that is new.

    The call's report, and so its log line, has the ids under which a trace viewer shows the call's span.
    """
    events: list[Event] = []
    async with FaultServer(terminated) as wallet:
        traces = Traces(wallet.url)
        async with bridge_to(wallet.url, tracer=traces.tracer, emit=events.append) as caller:
            assert (await caller.terminate(metadata=CONTEXT)).code == "OK"
    (received,) = wallet.requests
    call, attempt = traces.spans
    assert ids_in(events) == (TRACE_ID, span_id_of(call))
    assert traceparent_of(received) == (TRACE_ID, span_id_of(attempt), "01")
    assert [parent_id_of(call), parent_id_of(attempt)] == [SPAN_ID, span_id_of(call)]
    assert getattr(call.parent, "is_remote", False)
    assert {name for name, _ in received.headers} == {*HEADERS, "traceparent"}


async def test_without_tracing_nothing_is_passed_on() -> None:
    """A bridge that does not trace sends no traceparent, and has no ids to report, whatever the caller sends."""
    events: list[Event] = []
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url, emit=events.append) as caller:
        assert (await caller.terminate(metadata=CONTEXT)).code == "OK"
    assert ids_in(events) == ("", "")
    assert {name for name, _ in wallet.requests[0].headers} == HEADERS


async def test_each_attempt_has_its_own_span() -> None:
    """A POST that is retried carries another span id, and only that: the rest is the same, byte for byte."""
    async with FaultServer(refuse(1)) as wallet:
        traces = Traces(wallet.url)
        async with bridge_to(wallet.url, tracer=traces.tracer) as caller:
            assert (await caller.terminate(metadata=CONTEXT)).code == "OK"
    call, *attempts = traces.spans
    first, second = wallet.requests
    assert [traceparent_of(received)[1] for received in (first, second)] == [
        span_id_of(attempt) for attempt in attempts
    ]
    assert span_id_of(attempts[0]) != span_id_of(attempts[1])
    assert {parent_id_of(attempt) for attempt in attempts} == {span_id_of(call)}
    assert attributes_of(attempts[0])["error.type"] == "WALLET_NOT_PROCESSED"
    assert [attributes_of(attempt).get("http.request.resend_count") for attempt in attempts] == [None, 1]
    assert attributes_of(call)["wallet_bridge.attempts"] == 2
    kept = [[pair for pair in received.headers if pair[0] != "traceparent"] for received in (first, second)]
    assert kept[0] == kept[1]
    assert first.body == second.body


async def test_neighbours_keep_their_own_traces() -> None:
    """Calls that share a connection do not share a trace."""
    tokens = {f"token-{number}": f"{number:032x}" for number in range(1, 21)}
    async with FaultServer(terminated) as wallet:
        async with bridge_to(wallet.url, tracer=Traces(wallet.url).tracer) as caller:
            calls = [
                caller.terminate(token, metadata=(("traceparent", f"00-{trace_id}-{SPAN_ID}-01"),))
                for token, trace_id in tokens.items()
            ]
            ends = await asyncio.gather(*calls)
        assert {end.code for end in ends} == {"OK"}
    assert {received.token: traceparent_of(received)[0] for received in wallet.requests} == tokens


REJECTED_BODY = json.dumps({"status": False, "code": 77, "message": "no", "request_id": "r-1"}).encode()

ENDS: dict[str, tuple[Behaviour, dict[str, Any], dict[str, Any]]] = {
    "success": (
        terminated,
        {"rpc.response.status_code": "OK", "wallet_bridge.attempts": 1, "wallet_bridge.wallet_code": "1"},
        {"http.response.status_code": 200},
    ),
    "rejected": (
        answer(409, REJECTED_BODY),
        {
            "rpc.response.status_code": "ABORTED",
            "wallet_bridge.attempts": 1,
            "wallet_bridge.wallet_code": "77",
            "wallet_bridge.reason": "WALLET_REJECTED",
            "wallet_bridge.outcome": "REJECTED",
        },
        {"http.response.status_code": 409, "error.type": "409"},
    ),
    "lost": (
        reset_with(ErrorCodes.INTERNAL_ERROR),
        {
            "rpc.response.status_code": "UNKNOWN",
            "error.type": "UNKNOWN",
            "wallet_bridge.attempts": 1,
            "wallet_bridge.reason": "WALLET_CONNECTION_LOST",
            "wallet_bridge.outcome": "UNKNOWN",
            "wallet_bridge.detail": "RST_STREAM INTERNAL_ERROR",
        },
        {"error.type": "WALLET_CONNECTION_LOST", "wallet_bridge.detail": "RST_STREAM INTERNAL_ERROR"},
    ),
}


@pytest.mark.parametrize(("behaviour", "of_call", "of_attempt"), ENDS.values(), ids=ENDS)
async def test_spans_have_the_outcome(
    behaviour: Behaviour, of_call: dict[str, Any], of_attempt: dict[str, Any]
) -> None:
    """The call's span says what its caller was answered, the attempt's what came back from the wallet."""
    async with FaultServer(behaviour) as wallet:
        url, port, traces = wallet.url, wallet.port, Traces(wallet.url)
        async with bridge_to(url, tracer=traces.tracer) as caller:
            end = await caller.terminate()
    call, attempt = traces.spans
    assert call.name == CALL_NAME
    assert attributes_of(call) == {
        "rpc.system.name": "grpc",
        "rpc.method": "wallet.v1.WalletService/Terminate",
        "wallet_bridge.call_id": end.call_id,
        **of_call,
    }
    assert attempt.name == "POST /api/wallet/terminate"
    assert attributes_of(attempt) == {
        "http.request.method": "POST",
        "network.protocol.version": "2",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.full": f"{url}/api/wallet/terminate",
        "url.template": "/api/wallet/terminate",
        **of_attempt,
    }


async def test_a_wallet_that_cannot_be_reached() -> None:
    """Every attempt has a span with the cause, although no byte left."""
    with reserved_address() as address:
        traces = Traces(f"http://{address}")
        async with bridge_to(f"http://{address}", tracer=traces.tracer) as caller:
            await caller.terminate()
    _, *attempts = traces.spans
    assert [attributes_of(attempt)["wallet_bridge.cause"] for attempt in attempts] == ["refused"] * 3


async def test_a_call_that_never_reaches_the_wallet() -> None:
    """A request that is refused here has one span, and no attempt."""
    async with FaultServer(terminated) as wallet:
        traces = Traces(wallet.url)
        async with bridge_to(wallet.url, tracer=traces.tracer) as caller:
            await caller.terminate(currency="")
    (call,) = traces.spans
    assert attributes_of(call)["wallet_bridge.reason"] == "INVALID_REQUEST"


async def test_a_call_that_its_caller_leaves() -> None:
    """However a call goes on that was cancelled, both of its spans have ended once its end is reported."""
    may_answer, reported = asyncio.Event(), asyncio.Event()

    def emit(event: Event) -> None:
        if isinstance(event, CallEnded):
            reported.set()

    async with FaultServer(after(may_answer, terminated)) as wallet:
        traces = Traces(wallet.url)
        async with bridge_to(wallet.url, tracer=traces.tracer, emit=emit) as caller:
            call = WalletServiceStub(caller.channel).Terminate(terminate_request())
            await wallet.until(lambda: len(wallet.requests) == 1)
            call.cancel()
            may_answer.set()
            await reported.wait()
            assert [span.kind for span in traces.spans] == [SpanKind.SERVER, SpanKind.CLIENT]


CANARY_ACCESS_KEY = "canary-access-key-7c1d"
CANARY_PRIVATE_KEY = "0f0e0d0c-ca9a-4bee-8bad-c0ffee123456"
CANARY_PLAYER_ID = 8070605040302010907
MESSAGE = "An unknown error has occurred."


@pytest.mark.short("grpcio")
async def test_no_secret_is_in_a_span() -> None:
    """Through every test token: no key, token, player, signature or text of the wallet is in anything exported."""
    providers = (Provider(1, CANARY_ACCESS_KEY, CANARY_PRIVATE_KEY),)
    settings = {
        "WALLET__PROVIDERS__1__ACCESS_KEY": CANARY_ACCESS_KEY,
        "WALLET__PROVIDERS__1__PRIVATE_KEY": CANARY_PRIVATE_KEY,
    }
    tokens = [row.token.replace("<ms>", "1") for row in ROWS]
    async with serve(providers=providers) as sandbox:
        traces = Traces(sandbox.url)
        async with bridge_to(sandbox.url, settings, tracer=traces.tracer) as caller:
            for token in tokens:
                await caller.terminate(
                    token, timeout_s=0.3, player_id=CANARY_PLAYER_ID, metadata=(("authorization", "canary-caller"),)
                )
        signatures = [dict(received.request.headers)["x-request-signature"] for received in sandbox.received]
    exported = "".join(span.to_json() for span in traces.spans) + str(encode_spans(traces.spans))
    basic = base64.b64encode(f"1:{CANARY_ACCESS_KEY}".encode()).decode()
    secrets = [CANARY_ACCESS_KEY, CANARY_PRIVATE_KEY, basic, str(CANARY_PLAYER_ID), "canary-caller", MESSAGE]
    assert [secret for secret in (*secrets, *signatures, *tokens) if secret in exported] == []
    # The search had something to find: spans of calls and of attempts, and what was sent.
    assert len(traces.spans) > len(tokens) < 2 * len(signatures)


# Longer than the test: what is written was flushed.
NEVER = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}


@pytest.mark.short("grpcio")
async def test_the_end_of_a_drain_flushes() -> None:
    """With telemetry.tracing = true the process exports what it has before it ends."""
    async with FaultServer(terminated) as wallet:
        settings = {"TELEMETRY__TRACING": "true"}
        async with serving(wallet.url, settings, OTEL_TRACES_EXPORTER="console", **NEVER) as (command, channel):
            assert (await call_over(channel)).code == "OK"
            command.process.terminate()
            assert await command.end() == 0
    assert f'"name": "{CALL_NAME}"' in command.output
