"""What a bridge reports: its events, to be waited for; its log, in a file; its spans."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from bridge.events import CallEnded, Event, Reloaded, ReloadFailed
from bridge.sandbox.record import Pulse
from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.logs import NO_PROCESS, LogEvents, dropped_line
from bridge.telemetry.records import HELD_LOGGERS, configure
from bridge.telemetry.tracing import Tracing
from bridge.tracer import Tracer
from tests.support.whole_path import PATIENCE_S

EventT = TypeVar("EventT", bound=Event)


class Reported:
    """Every event of a bridge, oldest first. It is a listener itself."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._passed = 0
        """Number of events that `next` has returned or passed over."""
        self._changed = Pulse()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)
        self._changed.beat()

    @property
    def calls(self) -> list[CallEnded]:
        """The ends of calls."""
        return [event for event in self.events if isinstance(event, CallEnded)]

    async def number(self, count: int) -> list[CallEnded]:
        """Wait until that many calls have ended, and return their ends."""
        await self._changed.until(lambda: len(self.calls) >= count)
        return self.calls

    async def next(self, kind: type[EventT]) -> EventT:
        """Wait for the next event of a kind; pass over others on the way."""
        while True:
            await self._changed.until(lambda: len(self.events) > self._passed)
            self._passed += 1
            if isinstance(event := self.events[self._passed - 1], kind):
                return event

    async def reports(self, count: int) -> list[Event]:
        """Wait until that many events about files are there; return them and forget all events."""

        def found() -> list[Event]:
            return [event for event in self.events if isinstance(event, Reloaded | ReloadFailed)]

        async with asyncio.timeout(PATIENCE_S):
            await self._changed.until(lambda: len(found()) >= count)
        reports = found()
        self.events.clear()
        self._passed = 0
        return reports


class Log:
    """A log that goes to a file, read as lines."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w+b", buffering=0)
        self._read = 0
        self.writer = LogWriter(self._file.fileno(), partial(dropped_line, "json", NO_PROCESS))

    def configure(self, level: str, log_format: Any) -> LogEvents:
        """Send every log line of this process there."""
        return configure(level, log_format, self.writer)

    def text(self) -> str:
        """Return what was written since the last look."""
        assert self.writer.flush(PATIENCE_S)
        text = os.pread(self._file.fileno(), 2**24, self._read)
        self._read += len(text)
        return text.decode()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines since the last look."""
        return [json.loads(line) for line in self.text().splitlines()]

    def close(self) -> None:
        """Write nothing more."""
        self.writer.close(PATIENCE_S)
        self._file.close()


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


@contextmanager
def loggers_put_back() -> Iterator[None]:
    """Undo at the end what `configure` does to the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in HELD_LOGGERS}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, held in levels.items():
        logging.getLogger(name).setLevel(held)
