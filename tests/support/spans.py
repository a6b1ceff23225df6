"""A tracer that keeps its spans."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from bridge.telemetry.tracing import Tracing
from bridge.tracer import Tracer


class Traces:
    """A tracer for a wallet, and the spans that it made."""

    def __init__(self, wallet_url: str) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = Tracing(provider, wallet_url)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """Every span that has ended: that of a call comes before those of its attempts."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.kind is not SpanKind.SERVER)
