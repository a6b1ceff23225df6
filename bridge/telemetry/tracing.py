"""Traces: a span for each call and one for each POST, by OpenTelemetry, which is the extra `tracing`.

    caller's span -> wallet.v1.WalletService/Terminate -> POST /api/wallet/terminate -> the wallet's spans
    (traceparent)    server, one for each call            client, one for each attempt  (traceparent)

Names and statuses follow OpenTelemetry's semantic conventions for gRPC servers (1.44, where they are stable) and HTTP
clients; what only the bridge knows is called wallet_bridge.*. A span holds no field of a request or of an answer but
the wallet's code. Sampling, the exporter and its address come from the standard variables, OTEL_TRACES_SAMPLER,
OTEL_EXPORTER_OTLP_ENDPOINT and so on.
"""

import asyncio
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Self
from urllib.parse import urlsplit

from bridge import __version__
from bridge.events import AttemptEnded, CallEnded
from bridge.headers import Headers
from bridge.tracer import Metadata, TracingError
from bridge.transcoding.operation import Operation

try:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
    from opentelemetry.trace import (
        NonRecordingSpan,
        Span,
        SpanContext,
        SpanKind,
        StatusCode,
        TraceFlags,
        Tracer,
        TraceState,
        set_span_in_context,
    )
except ImportError:
    raise TracingError(
        "telemetry.tracing: true requires OpenTelemetry, which is not installed; pip install wallet-bridge[tracing]"
    ) from None

LOGGER = logging.getLogger(__name__)

FLUSH_S = 3.0
"""Time for which the end of a drain waits for the last spans."""

Attributes = dict[str, str | int]


class Tracing:
    """Makes the spans of this process; they are exported in the background. A `spans.Tracer`."""

    def __init__(self, provider: TracerProvider, wallet_url: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("bridge", __version__)
        self._wallet_url = wallet_url.rstrip("/")
        self._wallet = _wallet_attributes(wallet_url)

    @classmethod
    def from_environment(cls, wallet_url: str) -> Self:
        """Return what the OTEL_* variables ask for; raise TracingError where they ask for what there is not."""
        try:
            provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
            for exporter in _exporters():
                provider.add_span_processor(BatchSpanProcessor(exporter))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise TracingError(f"telemetry.tracing: the OTEL_* variables cannot be used: {error}") from None
        return cls(provider, wallet_url)

    def start(self, operation: Operation, metadata: Metadata | None) -> "TracedCall":
        """Begin the span of a call: in its caller's trace, or in a new one where the metadata names none."""
        name = f"{operation.service}/{operation.method}"
        span = self._tracer.start_span(name, _context(metadata or ()), SpanKind.SERVER, _rpc_attributes(operation))
        url = self._wallet_url + operation.path
        return TracedCall(self._tracer, span, self._wallet | {"url.full": url, "url.template": urlsplit(url).path})

    async def aclose(self, flush_s: float = FLUSH_S) -> None:
        """Export the last spans, for at most this many seconds; no span may be begun any more."""
        # The SDK knows no bound, so that a thread of its own waits for it; as a daemon it does not hold the process.
        flush = threading.Thread(target=self._provider.shutdown, name="flush-spans", daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, flush_s)
        if flush.is_alive():
            LOGGER.warning("the last spans could not be exported within %s s; is the collector reachable?", flush_s)


class TracedCall:
    """The spans of one call. A `spans.CallSpan`."""

    __slots__ = ("_attempt", "_context", "_post", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span, post: Attributes) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())
        self._post = post
        self._attempt: Span | None = None

    def attempt(self, number: int) -> Headers:
        """Begin the span of an attempt; return its `traceparent`."""
        again: Attributes = {"http.request.resend_count": number - 1} if number > 1 else {}
        name = f"POST {self._post['url.template']}"
        self._attempt = self._tracer.start_span(name, self._context, SpanKind.CLIENT, self._post | again)
        return _headers(self._attempt.get_span_context())

    def attempt_ended(self, event: AttemptEnded) -> None:
        """End the span of the attempt that was begun last."""
        answered: Attributes = {"http.response.status_code": event.http_status} if event.http_status else {}
        # For a client every 4xx and 5xx is an error; the meaning of the answer's body is in the call's span.
        refused = str(event.http_status) if event.http_status >= HTTP_ERROR_MIN else ""
        self._end_attempt(answered | _present(_causes(event)), event.reason or refused)

    def ids(self) -> tuple[str, str]:
        """Return the trace id and the span id of the call's span as hex digits; "" where the SDK makes none."""
        context = self._span.get_span_context()
        if not _is_ours(context):
            return "", ""
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def ended(self, event: CallEnded) -> None:
        """End the call's span, and that of an attempt which was cut off."""
        if self._attempt is not None:
            self._end_attempt({}, event.reason or event.grpc_code)
        _end(self._span, _call_attributes(event), event.grpc_code if event.grpc_code in SERVER_ERRORS else "")

    def _end_attempt(self, attributes: Attributes, error_type: str) -> None:
        if self._attempt is not None:
            _end(self._attempt, attributes, error_type)
            self._attempt = None


# --- what a span says -------------------------------------------------------------------------------------------

HTTP_ERROR_MIN = 400

# The semantic conventions for gRPC, server span: any other code is the caller's fault, or no fault.
SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})

DEFAULT_PORTS = {"https": 443, "http": 80}


def _end(span: Span, attributes: Attributes, error_type: str) -> None:
    span.set_attributes(attributes)
    if error_type:
        span.set_attribute("error.type", error_type)
        # Without a description: everything that there is to say is in the attributes.
        span.set_status(StatusCode.ERROR)
    span.end()


def _call_attributes(event: CallEnded) -> Attributes:
    return {
        "rpc.response.status_code": event.grpc_code,
        "wallet_bridge.attempts": event.attempts,
        **_present(
            {
                "wallet_bridge.call_id": event.call_id,
                "wallet_bridge.reason": event.reason,
                "wallet_bridge.outcome": event.outcome,
                **_causes(event),
                # As text: OTLP's integers end at 2^63-1, and one that is larger costs the whole batch of spans.
                "wallet_bridge.wallet_code": "" if event.wallet_code is None else str(event.wallet_code),
                "wallet_bridge.is_detached": event.is_detached,
            }
        ),
    }


def _rpc_attributes(operation: Operation) -> Attributes:
    return {"rpc.system.name": "grpc", "rpc.method": f"{operation.service}/{operation.method}"}


def _wallet_attributes(wallet_url: str) -> Attributes:
    url = urlsplit(wallet_url)
    return {
        "http.request.method": "POST",
        "network.protocol.version": "2",
        "server.address": url.hostname or "",
        "server.port": url.port or DEFAULT_PORTS[url.scheme],
    }


def _causes(event: CallEnded | AttemptEnded) -> Attributes:
    return {"wallet_bridge.cause": event.cause, "wallet_bridge.detail": event.detail}


def _present(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value}


# --- W3C trace context ------------------------------------------------------------------------------------------

# Section 3.2: version ff is none; version 00 ends with its flags, a later one may go on behind another dash.
_TRACEPARENT = re.compile(
    r"(?:(?P<version_00>00)|(?!00|ff)[0-9a-f]{2})"
    r"-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})(?P<span_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?(version_00)|(?:-.*)?)"
)

# Section 3.3.1. The SDK's own reading writes what it does not understand into the log.
_KEY = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_TRACESTATE_MEMBER = re.compile(rf"[ \t]*({_KEY})=([ -+\--<>-~]{{0,255}}[!-+\--<>-~])[ \t]*")
_TRACESTATE_MEMBERS_MAX = 32


def _context(metadata: Metadata) -> Context:
    """Return the caller's span as a parent, or none where there is no traceparent, or more than one, or a bad one."""
    found: dict[str, list[str]] = {"traceparent": [], "tracestate": []}
    for name, value in metadata:
        if name in found and isinstance(value, str):
            found[name].append(value)
    parent = _TRACEPARENT.fullmatch(found["traceparent"][0]) if len(found["traceparent"]) == 1 else None
    if parent is None:
        return Context()
    span = SpanContext(
        int(parent["trace_id"], 16),
        int(parent["span_id"], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent["flags"], 16)),
        trace_state=_trace_state(found["tracestate"]),
    )
    return set_span_in_context(NonRecordingSpan(span), Context())


def _trace_state(values: Sequence[str]) -> TraceState:
    members = [member for value in values for member in value.split(",") if member.strip(" \t")]
    pairs = {found[1]: found[2] for member in members if (found := _TRACESTATE_MEMBER.fullmatch(member))}
    # One member that is bad, or a key that comes twice, spoils the whole.
    is_good = len(pairs) == len(members) <= _TRACESTATE_MEMBERS_MAX
    return TraceState(list(pairs.items()) if is_good else None)


def _is_ours(context: SpanContext) -> bool:
    # With OTEL_SDK_DISABLED the SDK passes the caller's own context on, or one of zeros.
    return context.is_valid and not context.is_remote


def _headers(context: SpanContext) -> Headers:
    if not _is_ours(context):  # what a caller sent is never forwarded
        return ()
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return ((b"traceparent", traceparent.encode()),)


# --- the environment --------------------------------------------------------------------------------------------

_OTLP = {"": "otlp_proto_http", "http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def _resource() -> Resource:
    # A second look at the environment: the SDK puts what is given here before what the operator says.
    default = Resource.create({SERVICE_NAME: "wallet-bridge", SERVICE_VERSION: __version__})
    return default.merge(OTELResourceDetector().detect())


def _exporters() -> Iterator[SpanExporter]:
    """Make the exporters that OTEL_TRACES_EXPORTER lists: otlp, which is the default, console, none, or another's."""
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        if name.strip() != "none":
            yield _exporter(name.strip())


def _exporter(name: str) -> SpanExporter:
    protocol_variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((os.environ[variable] for variable in protocol_variables if os.environ.get(variable)), "")
    entry_point = _OTLP.get(protocol, protocol) if name == "otlp" else name
    for found in entry_points(group="opentelemetry_traces_exporter", name=entry_point):
        made: SpanExporter = found.load()()
        return made
    raise TracingError(
        f"telemetry.tracing: OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL asks for an exporter that is not "
        f"installed: {entry_point}; without them it is OTLP over HTTP"
    )
