"""Traces by themselves: whose trace a call belongs to, what its spans say, where they go, and how that ends."""

import asyncio
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bridge import __version__
from bridge.events import AttemptEnded, CallEnded
from bridge.outcome import GrpcCode
from bridge.telemetry.records import HELD_LOGGERS
from bridge.telemetry.tracing import Tracing
from bridge.tracer import CallSpan, Metadata, TracingError
from bridge.transcoding.operation import operations
from tests.support.reported import Traces
from wallet.v1.wallet_service_pb2 import DESCRIPTOR

TERMINATE = operations(DESCRIPTOR.services_by_name["WalletService"])[0]
WALLET_URL = "https://wallet.example/v2"
PATIENCE_S = 60.0
"""Time in which a collector takes a batch, on a busy machine, too; no test waits for it to pass."""
HANDBOOK = Path(__file__).parents[3] / "docs" / "operations.md"

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"

ANSWERED = AttemptEnded("Terminate", 1, 0.1, http_status=200)


def ended(grpc_code: str = "OK", **facts: Any) -> CallEnded:
    """Return the report of a call of Terminate."""
    return CallEnded("wallet.v1.WalletService", "Terminate", 1, grpc_code, 0.1, **facts)


class Memory(Traces):
    """A tracer that traces calls."""

    def __init__(self, wallet_url: str = WALLET_URL) -> None:
        super().__init__(wallet_url)

    def start(self, metadata: Metadata | None = None) -> CallSpan:
        """Begin a call of Terminate."""
        return self.tracer.start(TERMINATE, metadata)

    def call(self, event: CallEnded, *attempts: AttemptEnded) -> Sequence[ReadableSpan]:
        """Trace a call with these attempts; return its own span, then theirs."""
        span = self.start()
        for number, attempt in enumerate(attempts, start=1):
            span.attempt(number)
            span.attempt_ended(attempt)
        span.ended(event)
        return self.spans


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the OTEL_* variables of the user that runs the tests."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def memory() -> Memory:
    """Return a tracer that keeps its spans."""
    return Memory()


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Return a span's trace and its own id, as hex digits."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def sent(span: CallSpan, number: int = 1) -> list[str]:
    """Begin an attempt and return the parts of its traceparent; nothing else may be sent."""
    ((name, value),) = span.attempt(number)
    assert name == b"traceparent"
    return value.decode().split("-")


GOOD = {
    "sampled": TRACEPARENT,
    "not sampled": f"00-{TRACE_ID}-{SPAN_ID}-00",
    "unknown flags": f"00-{TRACE_ID}-{SPAN_ID}-fd",
    "later version": f"cc-{TRACE_ID}-{SPAN_ID}-01",
    "later version that goes on": f"cc-{TRACE_ID}-{SPAN_ID}-01-what the future will be like",
}

BAD = {
    "empty": "",
    "no hex": TRACEPARENT.replace("a", "x"),
    "upper case": TRACEPARENT.upper(),
    "trace id 0": f"00-{'0' * 32}-{SPAN_ID}-01",
    "span id 0": f"00-{TRACE_ID}-{'0' * 16}-01",
    "version ff": f"ff-{TRACE_ID}-{SPAN_ID}-01",
    "version ff that goes on": f"ff-{TRACE_ID}-{SPAN_ID}-01-x",
    "version 00 that goes on": f"{TRACEPARENT}-x",
    "later version that goes on without a dash": f"cc-{TRACE_ID}-{SPAN_ID}-01.x",
    "no flags": f"00-{TRACE_ID}-{SPAN_ID}",
    "one digit of flags": f"00-{TRACE_ID}-{SPAN_ID}-1",
    "short trace id": f"00-{TRACE_ID[1:]}-{SPAN_ID}-01",
    "long span id": f"00-{TRACE_ID}-{SPAN_ID}0-01",
    "line end": f"{TRACEPARENT}\n",
    "two in one": f"{TRACEPARENT},{TRACEPARENT}",
}


@pytest.mark.parametrize("traceparent", GOOD.values(), ids=GOOD)
def test_good_traceparent(memory: Memory, traceparent: str) -> None:
    """A traceparent that the recommendation allows is taken up, also one of a later version."""
    assert sent(memory.start([("traceparent", traceparent)]))[1] == TRACE_ID


@pytest.mark.parametrize("traceparent", BAD.values(), ids=BAD)
def test_bad_traceparent(memory: Memory, traceparent: str) -> None:
    """Any other begins a new trace, as none does; it is not fixed."""
    span = memory.start([("traceparent", traceparent)])
    assert sent(span)[1] != TRACE_ID
    span.ended(ended())
    assert memory.spans[0].parent is None


@pytest.mark.parametrize(
    "metadata",
    [None, (), [("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)], [("traceparent", TRACEPARENT.encode())]],
    ids=["none", "empty", "two", "bytes"],
)
def test_no_one_traceparent(memory: Memory, metadata: Metadata | None) -> None:
    """Without a traceparent, or with more than one, a trace begins here."""
    assert sent(memory.start(metadata))[1] != TRACE_ID


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True), st.text())
def test_no_metadata_is_too_strange(traceparent: str, tracestate: str) -> None:
    """Whatever a caller sends, the call has a span, and the wallet gets a traceparent as it should be."""
    span = Memory().start([("traceparent", traceparent), ("tracestate", tracestate)])
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", "-".join(sent(span)))


@pytest.mark.parametrize(("flags", "count"), [("01", 2), ("00", 0)], ids=["sampled", "not sampled"])
def test_the_callers_sampling_counts(memory: Memory, flags: str, count: int) -> None:
    """Who does not record its own span gets none recorded here; the wallet is informed which it is, with a span id."""
    span = memory.start([("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-{flags}")])
    _, trace_id, attempt_id, sent_flags = sent(span)
    span.attempt_ended(ANSWERED)
    span.ended(ended())
    assert (trace_id, sent_flags, len(memory.spans)) == (TRACE_ID, flags, count)
    assert attempt_id != SPAN_ID


STATES: dict[str, tuple[list[str], dict[str, str]]] = {
    "one": (["vendor=opaque"], {"vendor": "opaque"}),
    "several, in two values": (["a=1, t@v=2 ,,", "c= 3;x"], {"a": "1", "t@v": "2", "c": " 3;x"}),
    "32": ([",".join(f"k{n}=v" for n in range(32))], {f"k{n}": "v" for n in range(32)}),
    "33": ([",".join(f"k{n}=v" for n in range(33))], {}),
    "one of them bad": (["a=1,B=2"], {}),
    "key twice": (["a=1,a=2"], {}),
    "no value": (["a="], {}),
    "value of 256": (["a=" + "x" * 256], {"a": "x" * 256}),
    "value of 257": (["a=" + "x" * 257], {}),
    "no ASCII": (["a=é"], {}),
}


@pytest.mark.parametrize(("values", "expected"), STATES.values(), ids=STATES)
def test_tracestate(
    memory: Memory, caplog: pytest.LogCaptureFixture, values: list[str], expected: dict[str, str]
) -> None:
    """A tracestate is kept whole for samplers and the collector, or dropped whole; a bad one is no text for a log."""
    with caplog.at_level(logging.DEBUG):
        span = memory.start([("traceparent", TRACEPARENT), *(("tracestate", value) for value in values)])
        sent(span)
        span.ended(ended())
    context = memory.spans[0].context
    assert context is not None
    assert dict(context.trace_state) == expected
    assert caplog.text == ""


CALL = {"rpc.system.name": "grpc", "rpc.method": "wallet.v1.WalletService/Terminate"}
POST = {
    "http.request.method": "POST",
    "network.protocol.version": "2",
    "server.address": "wallet.example",
    "server.port": 443,
    "url.full": "https://wallet.example/v2/api/wallet/terminate",
    "url.template": "/v2/api/wallet/terminate",
}


def test_failure(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    """A failure says its reason, outcome, cause, attempts and the wallet's code; code 0 is one."""
    event = ended(
        "DATA_LOSS",
        reason="WALLET_ECHO_MISMATCH",
        outcome="UNKNOWN",
        cause="site_id",
        attempts=2,
        wallet_code=0,
        is_detached=True,
    )
    call, _ = memory.call(event, ANSWERED)
    assert caplog.text == "", "the SDK complains of a span that is ended twice"
    assert call.attributes == CALL | {
        "rpc.response.status_code": "DATA_LOSS",
        "error.type": "DATA_LOSS",
        "wallet_bridge.reason": "WALLET_ECHO_MISMATCH",
        "wallet_bridge.outcome": "UNKNOWN",
        "wallet_bridge.cause": "site_id",
        "wallet_bridge.attempts": 2,
        "wallet_bridge.wallet_code": "0",
        "wallet_bridge.is_detached": True,
    }


def test_the_handbook_lists_what_a_span_says(memory: Memory) -> None:
    """The table of docs/operations.md has every attribute of both kinds of span."""
    failure = ended("UNKNOWN", reason="r", outcome="UNKNOWN", cause="c", wallet_code=2, is_detached=True)
    refused = AttemptEnded("m", 2, 0.1, http_status=500)
    spans = [*memory.call(failure, ANSWERED), *memory.call(failure, refused)]
    table = HANDBOOK.read_text().partition("\n## Traces\n")[2].partition("\n## ")[0]
    said = {name for span in spans for name in span.attributes or {} if not name.startswith("server.")}
    assert {name for name in said if f"`{name}`" not in table} == set()
    assert {"rpc.system.name", "rpc.response.status_code", "error.type"} <= said


ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


@pytest.mark.parametrize("code", [code.name for code in GrpcCode])
def test_status_of_a_call(memory: Memory, code: str) -> None:
    """A server's span is an error with these codes only; its status has no text."""
    (call,) = memory.call(ended(code))
    attributes = call.attributes or {}
    assert (call.status.status_code.name, call.status.description) == ("ERROR" if code in ERRORS else "UNSET", None)
    assert attributes.get("error.type") == (code if code in ERRORS else None)
    assert attributes["rpc.response.status_code"] == code


def answered_with(status: int) -> dict[str, Any]:
    """Return what the span of such a refusal says."""
    return {"http.response.status_code": status, "error.type": str(status)}


ATTEMPTS: dict[str, tuple[AttemptEnded, str, dict[str, Any]]] = {
    "200": (ANSWERED, "UNSET", {"http.response.status_code": 200}),
    "302": (AttemptEnded("m", 1, 0.1, http_status=302), "UNSET", {"http.response.status_code": 302}),
    "400": (AttemptEnded("m", 1, 0.1, http_status=400), "ERROR", answered_with(400)),
    "503": (AttemptEnded("m", 1, 0.1, http_status=503), "ERROR", answered_with(503)),
    "no answer": (
        AttemptEnded("m", 1, 0.1, reason="WALLET_UNREACHABLE", cause="refused"),
        *("ERROR", {"error.type": "WALLET_UNREACHABLE", "wallet_bridge.cause": "refused"}),
    ),
}


@pytest.mark.parametrize(("event", "status", "attributes"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_status_of_an_attempt(memory: Memory, event: AttemptEnded, status: str, attributes: dict[str, Any]) -> None:
    """A client's span is an error without an answer, and with any 4xx or 5xx."""
    _, attempt = memory.call(ended(), event)
    assert (attempt.status.status_code.name, attempt.status.description) == (status, None)
    assert attempt.attributes == POST | attributes


CUT_OFF = {
    "cancelled": (ended("CANCELLED", outcome="UNKNOWN"), "CANCELLED"),
    "fault": (ended("INTERNAL", reason="BRIDGE_FAULT", outcome="UNKNOWN"), "BRIDGE_FAULT"),
}


@pytest.mark.parametrize(("event", "error_type"), CUT_OFF.values(), ids=CUT_OFF)
def test_attempt_that_was_cut_off(memory: Memory, event: CallEnded, error_type: str) -> None:
    """An attempt whose end was not reported, because its call was cancelled, ends with the call and says why."""
    span = memory.start()
    span.attempt(1)
    span.ended(event)
    _, attempt = memory.spans
    assert (attempt.attributes or {})["error.type"] == error_type


URLS = {
    "plaintext": ("http://wallet.example", "wallet.example", 80, "/api/wallet/terminate"),
    "port": ("https://127.0.0.1:8443", "127.0.0.1", 8443, "/api/wallet/terminate"),
    "IPv6, slash at the end": ("https://[::1]:8443/v2/", "::1", 8443, "/v2/api/wallet/terminate"),
}


@pytest.mark.parametrize(("url", "address", "port", "path"), URLS.values(), ids=URLS)
def test_where_the_wallet_is(url: str, address: str, port: int, path: str) -> None:
    """The span of an attempt names host, port and path that wallet.url means."""
    _, attempt = Memory(url).call(ended(), ANSWERED)
    attributes = attempt.attributes or {}
    assert (attributes["server.address"], attributes["server.port"]) == (address, port)
    assert (attributes["url.template"], attributes["url.full"]) == (path, f"{url.rstrip('/')}/api/wallet/terminate")


def test_the_largest_wallet_code_can_be_exported(memory: Memory) -> None:
    """A code beyond 2^63 does not make the exporter drop the batch, as it would if it were a number."""
    encoded = encode_spans(memory.call(ended(wallet_code=2**64 - 1))).SerializeToString()
    assert b"18446744073709551615" in encoded


class Collector:
    """An OpenTelemetry collector: what it was sent, decoded."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []

    def resource(self) -> dict[str, str]:
        """Return the attributes of the sender of the first spans."""
        attributes = self.requests[0].resource_spans[0].resource.attributes
        return {attribute.key: attribute.value.string_value for attribute in attributes}

    def names(self) -> list[str]:
        """Return the names of all spans."""
        scopes = [scope for request in self.requests for sent in request.resource_spans for scope in sent.scope_spans]
        return [span.name for scope in scopes for span in scope.spans]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Run a collector and point the standard variables at it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.append(self.path)
            body = self.rfile.read(int(self.headers["content-length"]))
            found.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(server)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        # Longer than the test: what arrives was flushed.
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", f"{PATIENCE_S:.0f}")
        monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", f"{PATIENCE_S * 1000:.0f}")
        yield found
        server.shutdown()
        serving.join()


async def trace_one_call() -> None:
    """Make a tracer from the environment, trace one call and close it."""
    tracer = Tracing.from_environment(WALLET_URL)
    span = tracer.start(TERMINATE, ())
    span.attempt(1)
    span.attempt_ended(ANSWERED)
    span.ended(ended())
    await tracer.aclose(flush_s=PATIENCE_S)


async def test_spans_are_flushed_to_the_collector(collector: Collector) -> None:
    """By default spans go to OTLP over HTTP in batches; closing sends the rest, and says whose they are."""
    await trace_one_call()
    assert collector.paths == ["/v1/traces"]
    assert collector.names() == ["POST /v2/api/wallet/terminate", "wallet.v1.WalletService/Terminate"]
    assert collector.resource().items() >= {"service.name": "wallet-bridge", "service.version": __version__}.items()


NAMES = {
    "OTEL_SERVICE_NAME": ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
    "OTEL_RESOURCE_ATTRIBUTES": ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine"}, "mine"),
}


@pytest.mark.parametrize(("variables", "expected"), NAMES.values(), ids=NAMES)
async def test_the_operator_names_the_service(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    """The standard variables override the bridge's own name."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    await trace_one_call()
    assert collector.resource()["service.name"] == expected


SILENT = {
    "sampler": {"OTEL_TRACES_SAMPLER": "always_off"},
    "no exporter": {"OTEL_TRACES_EXPORTER": "none"},
    "disabled": {"OTEL_SDK_DISABLED": "true"},
}


@pytest.mark.parametrize("variables", SILENT.values(), ids=SILENT)
async def test_the_operator_can_silence_it(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """The standard variables decide whether anything is sampled and exported."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    await trace_one_call()
    assert collector.requests == []


async def test_a_disabled_sdk_forwards_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED the caller's own traceparent slips through neither to the wallet nor into the log."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracer = Tracing.from_environment(WALLET_URL)
    spans = [tracer.start(TERMINATE, metadata) for metadata in ((), [("traceparent", TRACEPARENT)])]
    assert [(span.attempt(1), span.ids()) for span in spans] == [((), ("", "")), ((), ("", ""))]
    await tracer.aclose()


async def test_several_exporters(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_EXPORTER is a list, and an exporter may be called by its own name."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none, otlp_proto_http,otlp")
    await trace_one_call()
    assert collector.paths == ["/v1/traces", "/v1/traces"]


REFUSED = {
    "exporter": ({"OTEL_TRACES_EXPORTER": "zipkin"}, "not installed: zipkin"),
    "protocol": ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "not installed: http/json"),
    "protocol of traces": (
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "carrier-pigeon", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        "not installed: carrier-pigeon",
    ),
    "queue": ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "OTEL_[*] variables"),
}


@pytest.mark.parametrize(("variables", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    """One line names the setting and the variable; it is not found out when the first span is lost."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TracingError, match=rf"telemetry\.tracing: .*{expected}") as raised:
        Tracing.from_environment(WALLET_URL)
    assert "\n" not in str(raised.value)


def test_without_the_extra() -> None:
    """Where OpenTelemetry is not installed, one line names the setting and what to install."""
    # None in sys.modules is how Python says that a module cannot be imported.
    script = "import sys; sys.modules['opentelemetry.sdk'] = None; import bridge.telemetry.tracing"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    last = done.stderr.splitlines()[-1]
    assert last.startswith("bridge.tracer.TracingError: telemetry.tracing: true requires OpenTelemetry")
    assert "pip install wallet-bridge[tracing]" in last


async def test_a_malformed_header_is_reported_to_a_logger_that_is_held(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one warning of OpenTelemetry that holds the collector's key comes from where records.py keeps it quiet."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer canary")
    await Tracing.from_environment(WALLET_URL).aclose()
    (record,) = [record for record in caplog.records if "canary" in record.getMessage()]
    assert HELD_LOGGERS[record.name] == "ERROR"
    assert record.levelname == "WARNING"


class Stuck(SpanExporter):
    """Exports to a collector that does not answer."""

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self.may_end = threading.Event()

    def export(self, _spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait until the test lets it go."""
        self.is_reached.set()
        self.may_end.wait()
        return SpanExportResult.FAILURE


async def test_a_stuck_collector_does_not_hold_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Closing gives up after its bound and says so; the thread that is left does not hold the process either."""
    exporter, provider = Stuck(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
    tracer = Tracing(provider, WALLET_URL)
    tracer.start(TERMINATE, ()).ended(ended())
    await tracer.aclose(flush_s=0.05)
    await asyncio.to_thread(exporter.is_reached.wait)
    left = [thread for thread in threading.enumerate() if thread.name == "flush-spans"]
    assert [thread.daemon for thread in left] == [True]
    assert "is the collector reachable?" in caplog.text
    exporter.may_end.set()
    await asyncio.to_thread(left[0].join)
