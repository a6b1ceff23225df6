r"""Interface for traces, as the call path uses it. Where tracing is off there is no tracer, and no cost.

    start -> attempt -> attempt_ended -> ended
             \-- once for each POST --/

Every span is ended by the event of its end: a trace says nothing that the events do not.
"""

from collections.abc import Iterable
from typing import Protocol

from bridge.events import AttemptEnded, CallEnded
from bridge.headers import Headers
from bridge.start_error import StartError
from bridge.transcoding.operation import Operation

Metadata = Iterable[tuple[str, str | bytes]]
"""Metadata of a call, names in lower case, as gRPC hands it over."""


class TracingError(StartError):
    """Tracing cannot start. The text is one line that names the setting or the variable and what to do."""


class CallSpan(Protocol):
    """One call, traced. Its attempts follow one another; nothing here waits."""

    def attempt(self, number: int) -> Headers:
        """Begin the span of an attempt, 1 for the first; return the headers that only this POST is sent with."""

    def attempt_ended(self, event: AttemptEnded) -> None:
        """End the span of the attempt that was begun last."""

    def ids(self) -> tuple[str, str]:
        """Return the trace id and the span id of the call as hex digits (W3C Trace Context); "" where none is made."""

    def ended(self, event: CallEnded) -> None:
        """End the call's span, and that of an attempt which was cut off."""


class Tracer(Protocol):
    """Makes the spans of one process."""

    def start(self, operation: Operation, metadata: Metadata | None) -> CallSpan:
        """Begin the span of a call, as part of the trace that its metadata names."""

    async def aclose(self) -> None:
        """Export what is left, for a bounded time."""
