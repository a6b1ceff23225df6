"""Logs: one structured line for each event, and every line of the libraries in the same form.

No line holds the text of an exception, which may hold anything: a traceback is told by its places.
"""

import logging
import logging.config
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import PurePath
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import Processor

from bridge.status import TEXT_CHARACTERS_MAX, clean
from bridge.telemetry.events import CallEnded, Draining, Event, Serving, Stopped

# At DEBUG these print headers, hence the signature, or bodies, hence the token: never, whatever the level.
HELD_LOGGERS = ("h2", "hpack", "hyperframe", "httpcore", "httpx", "hypercorn")

Format = Literal["json", "console"]

# What needs somebody's eyes: our side is broken, or somebody else's session is at stake.
ERROR_REASONS = frozenset({"BRIDGE_FAULT", "WALLET_AUTH_REJECTED", "WALLET_ECHO_MISMATCH", "WALLET_ENDPOINT"})

NAMES = {CallEnded: "call ended", Serving: "serving", Draining: "draining", Stopped: "stopped"}


def configure(level: str, log_format: Format) -> None:
    """Send every log line of this process to standard error, from this level up, in this format."""
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
            "loggers": {name: {"level": "WARNING"} for name in HELD_LOGGERS},
        }
    )
    # Events go to standard error directly: the way through `logging` costs several times as much, for every call.
    structlog.configure(
        processors=[*shared, renderers[log_format]],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


class LogEvents:
    """Writes each event as one line."""

    def __init__(self) -> None:
        self._logger = structlog.get_logger().bind()

    def __call__(self, event: Event) -> None:
        """Write the event; fields that say nothing are left out."""
        self._logger.log(_level(event), NAMES[type(event)], **_fields(event))


def _json(entry: Mapping[str, Any], **_options: object) -> str:
    return msgspec.json.encode(entry).decode()


def _level(event: Event) -> int:
    if not isinstance(event, CallEnded) or not event.reason:
        return logging.INFO
    return logging.ERROR if event.reason in ERROR_REASONS else logging.WARNING


def _fields(event: Event) -> dict[str, Any]:
    fields = {name: value for name in event.__slots__ if (value := getattr(event, name)) not in ("", 0, None, ())}
    if isinstance(event, CallEnded):
        fields["duration_s"] = round(event.duration_s, 6)
        if event.wallet_code is not None:
            fields["wallet_code"] = event.wallet_code  # 0 is a code like any other
        if event.request_id:
            fields["request_id"] = clean(event.request_id, TEXT_CHARACTERS_MAX)
    return fields


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
