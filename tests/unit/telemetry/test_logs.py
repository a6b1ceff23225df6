"""The log: one line for each event, libraries in the same form, and no line that holds what it should not."""

import asyncio
import gc
import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import REASONS
from bridge.events import (
    AttemptEnded,
    CallEnded,
    CallStarted,
    CannotStart,
    CertificateInUse,
    Draining,
    Event,
    LogLinesDropped,
    Reloaded,
    ReloadFailed,
    SchedulingSet,
    Serving,
    StateSampled,
    Stopped,
    WorkerEnded,
    WorkerStarted,
)
from bridge.telemetry.records import LIBRARY_LINE
from tests.support.reported import Log, loggers_put_back

SECRET = "a text that must not be read"

OK_FACTS: dict[str, Any] = {
    "service": "wallet.v1.WalletService",
    "method": "Terminate",
    "provider_id": 12345,
    "grpc_code": "OK",
    "duration_s": 0.123457,
    "attempts": 1,
    "http_status": 200,
    "wallet_code": 1,
    "request_id": "r-1",
    "call_id": "call-7",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "span_id": "b7ad6b7169203331",
}
OK = CallEnded(**OK_FACTS)


def failed(reason: str, **facts: Any) -> CallEnded:
    """Return the report of a call that failed."""
    return CallEnded("s", "m", 1, "UNKNOWN", 0.5, reason=reason, **facts)


@pytest.fixture(autouse=True)
def loggers_are_put_back() -> Iterator[None]:
    """Undo what `configure` does to the whole process."""
    with loggers_put_back():
        yield


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """Return a log; what was logged before the test calls its `configure` went elsewhere."""
    with closing(Log(tmp_path / "log")) as log:
        yield log


CALL: dict[str, Any] = {"service": "s", "method": "m", "provider_id": 1}
FAULT: dict[str, Any] = {
    "outcome": "REJECTED",
    "cause": "c",
    "attempts": 2,
    "http_status": 200,
    "wallet_code": 0,
    "fault": "f",
}
UNREACHABLE: dict[str, Any] = {"reason": "WALLET_UNREACHABLE", "cause": "refused"}
WHERE: dict[str, Any] = {"address": "127.0.0.1:50051", "wallet_url": "https://wallet.example"}
UTC_2030, UTC_2020 = "2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
EXPIRED: dict[str, Any] = {"not_after": UTC_2020, "not_after_s": 1_577_836_800.0, "problem": "has expired"}


def line(event: str, level: str = "info", **fields: Any) -> dict[str, Any]:
    """Return a line of the log without its time."""
    return {"event": event, "level": level, **fields}


def call(level: str, grpc_code: str, duration_s: float = 0.5, **fields: Any) -> dict[str, Any]:
    """Return the line of a call that has ended."""
    return line("call ended", level, **CALL | {"grpc_code": grpc_code, "duration_s": duration_s} | fields)


EVENTS: dict[str, tuple[Event, dict[str, Any]]] = {
    "OK": (OK, line("call ended", **OK_FACTS)),
    "drift": (
        CallEnded("s", "m", 1, "OK", 0.0, missing_fields=("balance",), unknown_count=2),
        call("info", "OK", 0.0, missing_fields=["balance"], unknown_count=2),
    ),
    "failure": (failed("WALLET_REJECTED", **FAULT), call("warning", "UNKNOWN", reason="WALLET_REJECTED", **FAULT)),
    "request that could not be read": (
        CallEnded("s", "m", 0, "INVALID_ARGUMENT", 0.5, reason="INVALID_REQUEST", outcome="NOT_SENT"),
        call("warning", "INVALID_ARGUMENT", reason="INVALID_REQUEST", outcome="NOT_SENT", provider_id=0),
    ),
    "queued, detached": (
        CallEnded("s", "m", 1, "OK", 0.5, queue_s=0.012346, is_detached=True, token_fingerprint="5a0c"),
        call("info", "OK", queue_s=0.012346, is_detached=True, token_fingerprint="5a0c"),
    ),
    "attempt answered": (
        AttemptEnded("Terminate", 1, 0.123457, http_status=200),
        line("attempt ended", "debug", method="Terminate", number=1, duration_s=0.123457, http_status=200),
    ),
    "attempt failed": (
        AttemptEnded("Terminate", 2, 0.0, **UNREACHABLE),
        line("attempt ended", "debug", method="Terminate", number=2, duration_s=0.0, **UNREACHABLE),
    ),
    "serving": (Serving(**WHERE), line("serving", **WHERE)),
    "draining": (Draining(drain_s=5.0), line("draining", drain_s=5.0)),
    "drain at once": (Draining(drain_s=0.0), line("draining", drain_s=0.0)),
    "stopped": (Stopped(), line("stopped")),
    "reloaded": (Reloaded("wallet.ca_file"), line("reloaded", key="wallet.ca_file")),
    "reload failed": (
        ReloadFailed("wallet.ca_file", "must be a PEM certificate"),
        line("reload failed", "error", key="wallet.ca_file", problem="must be a PEM certificate"),
    ),
    "certificate in use": (
        CertificateInUse("wallet.ca_file", UTC_2030, 1_893_456_000.0),
        line("certificate in use", key="wallet.ca_file", not_after=UTC_2030, not_after_s=1_893_456_000.0),
    ),
    "certificate that has expired": (
        CertificateInUse("wallet.ca_file", **EXPIRED),
        line("certificate in use", "warning", key="wallet.ca_file", **EXPIRED),
    ),
    "scheduling": (SchedulingSet("batch", threads=3), line("scheduling", policy="batch", threads=3)),
    "scheduling that is refused": (
        SchedulingSet("batch", problem="refused"),
        line("scheduling", "warning", policy="batch", problem="refused"),
    ),
    "cannot start": (CannotStart("it cannot listen"), line("cannot start", "critical", problem="it cannot listen")),
    "worker started": (WorkerStarted(1, 4711), line("worker started", worker=1, pid=4711)),
    "worker ended": (
        WorkerEnded(1, 4711, exit_code=0, restart_s=0.1),
        line("worker ended", "error", worker=1, pid=4711, exit_code=0, restart_s=0.1),
    ),
}


@pytest.mark.parametrize(("event", "fields"), EVENTS.values(), ids=EVENTS)
def test_an_event_is_one_line_of_json(log: Log, event: Event, fields: dict[str, Any]) -> None:
    """Fields that say nothing are left out; a code of 0, an exit with 0 or a drain of 0 s says something."""
    emit = log.configure("DEBUG", "json")
    emit(event)
    (found,) = log.lines()
    assert found.pop("timestamp").endswith("Z")
    assert found == fields


ERRORS = {"BRIDGE_FAULT", "WALLET_AUTH_REJECTED", "WALLET_ECHO_MISMATCH", "WALLET_ENDPOINT"}


@pytest.mark.parametrize("reason", [*sorted(REASONS), "TOKEN_NOT_FOUND"])
def test_the_reason_sets_the_level(log: Log, reason: str) -> None:
    """What a person must look at is an error, any other failure a warning, also one that the operator named."""
    emit = log.configure("DEBUG", "json")
    emit(failed(reason))
    assert [line["level"] for line in log.lines()] == ["error" if reason in ERRORS else "warning"]


def test_every_reason_that_is_an_error_exists() -> None:
    """The levels name reasons of the table, and no others."""
    assert ERRORS <= REASONS


def test_the_wallets_request_id_is_cleaned(log: Log) -> None:
    """A request_id can neither forge a line, nor colour a terminal, nor fill the disk."""
    emit = log.configure("DEBUG", "json")
    emit(failed("WALLET_REJECTED", request_id='r\n{"level":"error"}\x1b[31m\u202e' + "x" * 10_000))
    (line,) = log.lines()
    assert line["request_id"].startswith('r {"level":"error"}[31mx')
    assert len(line["request_id"]) == 256


def test_a_level_silences_what_is_below(log: Log) -> None:
    """At WARNING a good call is no line."""
    emit = log.configure("WARNING", "json")
    emit(OK)
    emit(failed("WALLET_TIMEOUT"))
    assert [line["reason"] for line in log.lines()] == ["WALLET_TIMEOUT"]


SILENT: tuple[Event, ...] = (
    StateSampled(in_flight=1, queued=2, detached=3, connections=4, streams=5),
    CallStarted("wallet.v1.WalletService", "Terminate"),
    LogLinesDropped(3),
)


@pytest.mark.parametrize("event", SILENT, ids=lambda event: type(event).__name__)
def test_what_is_for_metrics_alone_is_no_line(log: Log, event: Event) -> None:
    """A sample of every second and the start of each call: not even DEBUG writes them."""
    emit = log.configure("DEBUG", "json")
    emit(event)
    assert log.lines() == []


def test_the_console_format_is_for_people(log: Log) -> None:
    """One line with the same fields, without colours, not in JSON."""
    emit = log.configure("INFO", "console")
    emit(failed("WALLET_REJECTED", request_id="r\n\x1b[31m"))
    written = log.text()
    assert written.count("\n") == 1
    assert "WALLET_REJECTED" in written
    assert "\x1b" not in written


def test_a_line_of_a_library_has_the_same_form(log: Log) -> None:
    """A fixed text, level, logger, time and the place in the library's code; neither its text nor its arguments."""
    log.configure("DEBUG", "json")
    logging.getLogger("some.library").warning("%d things of %s", 3, SECRET)
    logging.getLogger("some.library").warning(f"of {SECRET}")  # noqa: G004 - a library's habit is the case
    lines = log.lines()
    assert [line.pop("timestamp") for line in lines if line["place"].startswith("test_logs.py:")]
    assert {re.sub(r"\d+", "1", line.pop("place")) for line in lines} == {
        "test_logs.py:1 test_a_line_of_a_library_has_the_same_form"
    }
    assert lines == [{"event": LIBRARY_LINE, "level": "warning", "logger": "some.library"}] * 2


def test_a_line_of_the_bridge_keeps_its_text(log: Log) -> None:
    """Message, level, logger and time, its arguments filled in."""
    log.configure("DEBUG", "json")
    logging.getLogger("bridge.some.module").warning("%d things", 3)
    (line,) = log.lines()
    assert line.pop("timestamp")
    assert line == {"event": "3 things", "level": "warning", "logger": "bridge.some.module"}


BAD_RECORDS: dict[str, tuple[Any, ...]] = {
    "too few arguments": ("%s %s", SECRET),
    "an argument that cannot be shown": ("%d", SECRET),
    "no text": (object(),),
    "a lone surrogate": ("\udc80",),
    "an unknown level": ("a",),
}


@pytest.mark.parametrize("arguments", BAD_RECORDS.values(), ids=BAD_RECORDS)
@pytest.mark.parametrize("name", ["bridge.some.module", "some.library", "asyncio"])
def test_a_record_that_cannot_be_made_is_a_line_all_the_same(
    log: Log, name: str, arguments: tuple[Any, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong log call gets no exception, standard error gets no traceback, and no argument is shown."""
    log.configure("DEBUG", "json")
    logging.getLogger(name).log(33, *arguments)
    (line,) = log.lines()
    assert line["level"] in {"warning", "error"}
    assert SECRET not in str(line)
    assert capfd.readouterr() == ("", "")


def fail_inside() -> None:
    """Raise an error that holds a secret, with another as its cause."""
    raise ValueError(SECRET) from KeyError(SECRET)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_reported_by_its_places(log: Log, log_format: Any) -> None:
    """Type, file, line and function; no text of it or of its cause, in every logger."""
    log.configure("DEBUG", log_format)
    try:
        fail_inside()
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    written = log.text()
    assert SECRET not in written
    assert "Traceback" not in written
    here = "test_an_exception_is_reported_by_its_places"
    assert re.search(rf"ValueError at test_logs\.py:\d+ {here} > test_logs\.py:\d+ fail_inside\b", written)


async def test_an_unawaited_task_is_reported_by_its_places(log: Log) -> None:
    """Asyncio puts the repr of the task, hence the exception's text, into its message: only the first line stays."""
    log.configure("DEBUG", "json")

    async def fail() -> None:
        fail_inside()

    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    lines = [line for line in log.lines() if line["level"] == "error"]
    assert [line["event"] for line in lines] == ["Task exception was never retrieved"]
    assert lines[0]["exception"].startswith("ValueError at test_logs.py:")
    assert SECRET not in str(lines)


def test_a_record_without_an_exception_has_none(log: Log) -> None:
    """exc_info without an exception under way is no field."""
    log.configure("DEBUG", "json")
    logging.getLogger("some.library").error("nothing", exc_info=True)  # noqa: LOG014 - a library's slip is the case
    (line,) = log.lines()
    assert "exception" not in line


HELD = ("h2", "hpack.hpack", "hyperframe", "httpcore.http2", "httpx")


@pytest.mark.parametrize("name", HELD)
def test_talkative_libraries_are_held(log: Log, name: str) -> None:
    """At DEBUG they would print headers, hence the signature, or bodies: never; their warnings come through."""
    log.configure("DEBUG", "json")
    logger = logging.getLogger(name)
    logger.debug(SECRET)
    logger.info(SECRET)
    assert log.lines() == []
    logger.warning("a warning")
    assert [(line["event"], line["logger"]) for line in log.lines()] == [(LIBRARY_LINE, name)]


def test_the_collectors_key_is_no_line(log: Log) -> None:
    """OpenTelemetry warns of a malformed header variable with its whole text: that warning is not logged."""
    log.configure("DEBUG", "json")
    logger = logging.getLogger("opentelemetry.util.re")
    logger.warning(SECRET)
    assert log.lines() == []
    logger.error("an error")
    assert [(line["event"], line["level"]) for line in log.lines()] == [(LIBRARY_LINE, "error")]
