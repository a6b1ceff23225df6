"""Records of the logging module as lines of the log: the bridge's own, and those of every library.

No line holds the text of an exception, which may hold anything: a traceback is logged by its places. A library's own
text may hold anything too, a caller's metadata for instance: its line has its place in that library's code instead.

Beside `logs.py`, since no compiled class can be one of the standard library's handlers.
"""

import logging
from pathlib import PurePath

from bridge.places import places
from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.logs import NO_PROCESS, Format, LogEvents, Process

HELD_LOGGERS = {
    # At DEBUG these print headers, hence the signature, or bodies, hence the token: never, whatever the level.
    **dict.fromkeys(("h2", "hpack", "hyperframe", "httpcore", "httpx"), "WARNING"),
    # A warning of this one prints what is wrong in OTEL_EXPORTER_OTLP_HEADERS, hence the collector's key.
    "opentelemetry.util.re": "ERROR",
}
"""Minimum level of these loggers, however low the operator's is."""

LIBRARY_LINE = "a library has logged a line; its text is left out"
"""In the place of a text that others wrote."""

ASYNCIO_LINES = frozenset(
    {
        "Task exception was never retrieved",
        "Future exception was never retrieved",
        "Task was destroyed but it is pending!",
        "Fatal error on transport",
        "Fatal read error on socket transport",
        "Fatal write error on socket transport",
        "Unhandled exception in client_connected_cb",
        "socket.send() raised exception.",
    }
)
"""First lines of asyncio's that hold no value. Below them it adds reprs of tasks, with the text of an exception."""


def configure(level: str, log_format: Format, writer: LogWriter, process: Process = NO_PROCESS) -> LogEvents:
    """Send every log line of this process to the writer, from this level up, in this format; return the events'."""
    events = LogEvents(level, log_format, writer, process)
    root = logging.getLogger()
    root.handlers[:] = [_Records(events)]
    root.setLevel(level.upper())
    for name, held in HELD_LOGGERS.items():
        logging.getLogger(name).setLevel(held)
    return events


class _Records(logging.Handler):
    """Writes records of the logging module, the bridge's own and those of libraries."""

    def __init__(self, events: LogEvents) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. Whatever it holds, nothing is raised: who logs is not to blame."""
        try:
            self._events.write(record.levelno, _fields(record))
        except Exception as unexpected:  # noqa: BLE001 - its text may hold anything
            self._events.write(
                logging.ERROR, {"event": "a log line could not be made", "exception": type(unexpected).__name__}
            )


def _fields(record: logging.LogRecord) -> dict[str, str]:
    fields = {"event": LIBRARY_LINE, "logger": record.name}
    if record.name.partition(".")[0] == "bridge":
        fields["event"] = record.getMessage()
        fields |= {"place": record.__dict__["place"]} if record.__dict__.get("place") else {}
    elif record.name == "asyncio" and (first := str(record.msg).partition("\n")[0]) in ASYNCIO_LINES:
        fields["event"] = first
    else:
        fields["place"] = f"{PurePath(record.pathname).name}:{record.lineno} {record.funcName}"
    if record.exc_info and record.exc_info[0] is not None:
        fields["exception"] = places(record.exc_info[0], record.exc_info[2])
    return fields
