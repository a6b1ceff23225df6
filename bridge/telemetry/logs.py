"""Logs: one structured line for each event, and every line of the libraries in the same form.

    events, the bridge's loggers, libraries' loggers -> one line each -> LogWriter (log_writer.py) -> standard error

No line holds the text of an exception, which may hold anything: a traceback is logged by its places. A library's own
text may hold anything too, a caller's metadata for instance: its line has its place in that library's code instead.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import structlog

from bridge.events import (
    AttemptEnded,
    CallEnded,
    CallStarted,
    CannotStart,
    CertificateInUse,
    Event,
    LogLinesDropped,
    ReloadFailed,
    SchedulingSet,
    SettlementChanged,
    SettlementNotWritten,
    SettlementOff,
    SettlementPaused,
    SettlementSampled,
    SettlementStore,
    SettlementStoreFailed,
    StateSampled,
    WorkerEnded,
)
from bridge.places import places
from bridge.telemetry.log_writer import LogWriter
from bridge.transcoding.status import TEXT_CHARACTERS_MAX, clean

HELD_LOGGERS = {
    # At DEBUG these print headers, hence the signature, or bodies, hence the token: never, whatever the level.
    **dict.fromkeys(("h2", "hpack", "hyperframe", "httpcore", "httpx"), "WARNING"),
    # A warning of this one prints what is wrong in OTEL_EXPORTER_OTLP_HEADERS, hence the collector's key.
    "opentelemetry.util.re": "ERROR",
}
"""Minimum level of these loggers, however low the operator's is."""

Format = Literal["json", "console"]

# What a person must look at: our side is broken, or another player's session is at stake.
ERROR_REASONS = frozenset({"BRIDGE_FAULT", "WALLET_AUTH_REJECTED", "WALLET_ECHO_MISMATCH", "WALLET_ENDPOINT"})

LEVEL_NAMES = {
    level: logging.getLevelName(level).lower()
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
}
"""From the highest to the lowest. A library's level between two of them has the name of the lower one."""

LEVELS: dict[type[Event], int] = {
    AttemptEnded: logging.DEBUG,
    ReloadFailed: logging.ERROR,
    WorkerEnded: logging.ERROR,
    CannotStart: logging.CRITICAL,
    SettlementNotWritten: logging.ERROR,
    SettlementOff: logging.CRITICAL,
    SettlementPaused: logging.ERROR,
}
"""For any other event INFO, but for a call that failed."""

SILENT: frozenset[type[Event]] = frozenset(
    {CallStarted, StateSampled, LogLinesDropped, SettlementStoreFailed, SettlementSampled}
)
"""Never logged: metrics have them. A call's start says nothing that its end does not; the others come every second."""

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


Process = Mapping[str, int]
"""Fields of the process that writes a line: `pid`, and `worker` for one of several."""

NO_PROCESS: Process = MappingProxyType({})
"""For the supervisor, whose lines name the worker that they are about by the same fields."""


def configure(level: str, log_format: Format, writer: LogWriter, process: Process = NO_PROCESS) -> "LogEvents":
    """Send every log line of this process to the writer, from this level up, in this format; return the events'."""
    events = LogEvents(level, log_format, writer, process)
    root = logging.getLogger()
    root.handlers[:] = [_Records(events)]
    root.setLevel(level.upper())
    for name, held in HELD_LOGGERS.items():
        logging.getLogger(name).setLevel(held)
    return events


def dropped_line(log_format: Format, process: Process, count: int) -> str:
    """Return the line that reports dropped lines, which is written when lines flow again."""
    fields = {"event": "log lines dropped", "lines": count}
    return Lines(log_format, process).line(logging.ERROR, fields)


class LogEvents:
    """Writes each event as one line, from this level up, in this format."""

    def __init__(self, level: str, log_format: Format, writer: LogWriter, process: Process = NO_PROCESS) -> None:
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._silent = SILENT | {kind for kind, fixed in LEVELS.items() if fixed < self._level}
        self._lines = Lines(log_format, process)
        self._writer = writer

    def __call__(self, event: Event) -> None:
        """Write the event, if its kind is logged at this level; fields that say nothing are left out."""
        if type(event) in self._silent:
            return
        level = _level(event)
        if level >= self._level:
            self.write(level, _cleaned(event), is_urgent=_is_unknown(event))

    def write(self, level: int, fields: Event | Mapping[str, Any], *, is_urgent: bool = False) -> None:
        """Write a line, whatever the level. Warnings and worse are urgent: they have a buffer of their own."""
        self._writer.put(self._lines.line(level, fields), is_urgent=is_urgent or level >= logging.WARNING)


class Lines:
    """Makes lines in one format: JSON for machines, or one without colours for people."""

    def __init__(self, log_format: Format, process: Process) -> None:
        self._console = structlog.dev.ConsoleRenderer(colors=False) if log_format == "console" else None
        self._process = process
        self._process_json = "".join(f'"{name}":{value},' for name, value in process.items())
        self._second, self._date = 0, ""

    def line(self, level: int, fields: Event | Mapping[str, Any]) -> str:
        """Return one line with its line feed."""
        # Not through structlog's processors: they cost a tenth of a whole call, and would add just these two.
        second, fraction = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        now, name = f"{self._date}.{fraction // 1000:06}Z", LEVEL_NAMES.get(level) or _name_between(level)
        if self._console is None:
            rest = msgspec.json.encode(fields).decode()
            return f'{{"timestamp":"{now}","level":"{name}",{self._process_json}{rest[1:]}\n'
        entry = {"timestamp": now, "level": name, **self._process, **msgspec.to_builtins(fields)}
        return f"{self._console(None, name, entry)}\n"


def _name_between(level: int) -> str:
    return next((name for known, name in LEVEL_NAMES.items() if known <= level), "debug")


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


def _is_unknown(event: Event) -> bool:
    return isinstance(event, CallEnded) and event.outcome == "UNKNOWN"


SETTLEMENT_NEEDS_EYES = frozenset({"REJECTED", "UNRESOLVED"})
"""States that only a person ends."""


def _level(event: Event) -> int:
    if isinstance(event, CallEnded) and event.reason:
        return logging.ERROR if event.reason in ERROR_REASONS else logging.WARNING
    level = LEVELS.get(type(event), logging.INFO)
    return level if isinstance(event, CallEnded) else max(level, _level_by_its_content(event))


def _level_by_its_content(event: Event) -> int:
    if isinstance(event, SettlementChanged) and event.state in SETTLEMENT_NEEDS_EYES:
        return logging.ERROR
    if isinstance(event, SettlementStore) and event.is_failing:
        return logging.ERROR
    if isinstance(event, CertificateInUse | SchedulingSet) and event.problem:
        return logging.WARNING
    return logging.NOTSET


def _cleaned(event: Event) -> Event:
    """Return the event without anything in the wallet's request id that could harm a terminal or flood the log."""
    if not isinstance(event, CallEnded):
        return event
    cleaned = clean(event.request_id, TEXT_CHARACTERS_MAX)
    return event if cleaned == event.request_id else msgspec.structs.replace(event, request_id=cleaned)
