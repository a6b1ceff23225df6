"""Logs: one structured line for each event, and every line of the libraries in the same form.

No line holds the text of an exception, which may hold anything: a traceback is told by its places.
"""

import asyncio
import contextlib
import logging
import logging.config
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import PurePath
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import Processor

from bridge.status import TEXT_CHARACTERS_MAX, clean
from bridge.telemetry.events import AttemptEnded, CallEnded, CallStarted, Event, ReloadFailed, StateSampled, WorkerEnded

HELD_LOGGERS = {
    # At DEBUG these print headers, hence the signature, or bodies, hence the token: never, whatever the level.
    **dict.fromkeys(("h2", "hpack", "hyperframe", "httpcore", "httpx", "hypercorn"), "WARNING"),
    # A warning of this one prints what is wrong in OTEL_EXPORTER_OTLP_HEADERS, hence the collector's key.
    "opentelemetry.util.re": "ERROR",
}
"""The level from which these loggers are heard, however low the operator's is."""

Format = Literal["json", "console"]

# What needs somebody's eyes: our side is broken, or somebody else's session is at stake.
ERROR_REASONS = frozenset({"BRIDGE_FAULT", "WALLET_AUTH_REJECTED", "WALLET_ECHO_MISMATCH", "WALLET_ENDPOINT"})

LEVEL_NAMES = {level: name.lower() for name, level in logging.getLevelNamesMapping().items()}

LEVELS: dict[type[Event], int] = {
    AttemptEnded: logging.DEBUG,
    ReloadFailed: logging.ERROR,
    WorkerEnded: logging.ERROR,
}
"""For any other event INFO, but for a call that failed."""

SILENT: frozenset[type[Event]] = frozenset({CallStarted, StateSampled})
"""Never logged: metrics tell them. The one says nothing that the call's end does not, the other comes every second."""


def configure(level: str, log_format: Format) -> "LogEvents":
    """Send every log line of this process to standard error, from this level up, in this format; return the events'."""
    renderers: dict[str, Processor] = {
        "json": structlog.processors.JSONRenderer(serializer=_json),
        "console": structlog.dev.ConsoleRenderer(colors=False),
    }
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _places_only,
    ]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderers[log_format]],
                    "foreign_pre_chain": [structlog.stdlib.add_logger_name, _first_line_of_asyncio, *shared],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {name: {"level": held} for name, held in HELD_LOGGERS.items()},
        }
    )
    # For events in the console's format, which go to standard error directly.
    structlog.configure(
        processors=[*shared, renderers[log_format]],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    return LogEvents(level, log_format)


class LogEvents:
    """Writes each event as one line to standard error, from this level up, in this format."""

    def __init__(self, level: str, log_format: Format) -> None:
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._write: Callable[[int, Event], None] = JsonLines() if log_format == "json" else _write_console

    def __call__(self, event: Event) -> None:
        """Write the event, if its kind is logged at this level; fields that say nothing are left out."""
        if type(event) in SILENT:
            return
        level = _level(event)
        if level >= self._level:
            self._write(level, _cleaned(event))


class JsonLines:
    """Writes events as JSON, one to a line, all of one turn of the event loop together."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._second, self._date = 0, ""

    def __call__(self, level: int, event: Event) -> None:
        """Write the event when the loop's turn ends; without a loop, now."""
        # Not through structlog: its processors cost a tenth of a whole call, and would add just these two.
        second, fraction = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line = msgspec.json.encode(event).decode()
        self._lines.append(
            f'{{"timestamp":"{self._date}.{fraction // 1000:06}Z","level":"{LEVEL_NAMES[level]}",{line[1:]}\n'
        )
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self._flush)
        except RuntimeError:
            self._flush()

    def _flush(self) -> None:
        # The system call costs as much as all the rest of a line.
        text = "".join(self._lines)
        self._lines.clear()
        # To whom should it be told that nobody can be told?
        with contextlib.suppress(OSError):
            sys.stderr.write(text)


def _write_console(level: int, event: Event) -> None:
    structlog.get_logger().log(level, **msgspec.to_builtins(event))


def _json(entry: Mapping[str, Any], **_options: object) -> str:
    return msgspec.json.encode(entry).decode()


def _level(event: Event) -> int:
    if not isinstance(event, CallEnded) or not event.reason:
        return LEVELS.get(type(event), logging.INFO)
    return logging.ERROR if event.reason in ERROR_REASONS else logging.WARNING


def _cleaned(event: Event) -> Event:
    """Return the event without anything in the wallet's request id that could harm a terminal or flood the log."""
    if not isinstance(event, CallEnded):
        return event
    cleaned = clean(event.request_id, TEXT_CHARACTERS_MAX)
    return event if cleaned == event.request_id else msgspec.structs.replace(event, request_id=cleaned)


def _first_line_of_asyncio(_logger: Any, _name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out what asyncio adds below its message: reprs of tasks and handles, with the text of an exception."""
    if entry["logger"] == "asyncio":
        entry["event"] = entry["event"].partition("\n")[0]
    return entry


def _places_only(_logger: Any, _name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its type and places. ProcessorFormatter lays that of a foreign record here, too."""
    error = entry.pop("exc_info", None)
    if isinstance(error, tuple) and error[0] is not None:
        frames = traceback.extract_tb(error[2])
        places = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
        entry["exception"] = f"{error[0].__name__} at {places}"
    return entry
