"""Logs: one structured line for each event. What the logging module gets becomes lines of the same form (records.py).

events, records of loggers -> one line each -> LogWriter (log_writer.py) -> standard error
"""

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

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
from bridge.telemetry.log_writer import LogWriter
from bridge.transcoding.status import TEXT_CHARACTERS_MAX, clean

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

Process = Mapping[str, int]
"""Fields of the process that writes a line: `pid`, and `worker` for one of several."""

NO_PROCESS: Process = MappingProxyType({})
"""For the supervisor, whose lines name the worker that they are about by the same fields."""


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
        self._console = _console() if log_format == "console" else None
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


def _console() -> Callable[[Any, str, Any], str]:
    # JSON, the default, goes without: the import is 5 % of a start.
    from structlog.dev import ConsoleRenderer  # noqa: PLC0415

    return ConsoleRenderer(colors=False)


def _name_between(level: int) -> str:
    return next((name for known, name in LEVEL_NAMES.items() if known <= level), "debug")


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
