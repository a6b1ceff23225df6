"""Standard error of a process that logs: it gets lines of the log only, also from code that writes to it directly.

    the log -> LogWriter -> what standard error was at the start
    descriptor 2 -> a pipe -> a thread -> one line of the log for each line, without its text

Descriptor 2 is where gRPC's C core, Rust's panics and Python itself write directly. Their text may hold anything, so a
line of theirs is logged by its place in the source, where it has one, and its length. A write there never blocks: where
the pipe is full, which is when this process hangs, the text is lost. So is the last text of a process that crashes.

Uncaught exceptions, and Python's warnings, are logged by their places in the code.
"""

import atexit
import fcntl
import logging
import os
import re
import sys
import threading
import warnings
from functools import partial
from pathlib import PurePath
from types import TracebackType
from typing import TextIO

from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.logs import NO_PROCESS, Format, LogEvents, Process, dropped_line
from bridge.telemetry.records import configure

LOGGER = logging.getLogger(__name__)

STDERR = 2
READ_BYTES = 65536

PLACES = (
    # absl's log of the C core, a panic of Rust, a traceback. They admit names of source files, and no caller's text.
    re.compile(rb"[IWEF]\d{4} [0-9:.]{8,20} +\d+ ([a-z0-9_]{1,64}\.(?:cc|h):\d{1,6})\]"),
    re.compile(rb"thread '[^']*' panicked at (?:[\w.+/-]*/)?([a-z0-9_]{1,64}\.rs:\d{1,6})"),
    re.compile(rb' +File "(?:[^"\n]*/)?([a-z0-9_]{1,64}\.pyx?", line \d{1,6})'),
)


class StandardError:
    """The log of this process, on what was its standard error."""

    def __init__(self, descriptor: int, writer: LogWriter, events: LogEvents) -> None:
        self.descriptor = descriptor
        """Of what standard error was at the start: that of a child process, whose log goes to the same place."""
        self.writer = writer
        self.events = events

    @classmethod
    def take(cls, level: str, log_format: Format, process: Process = NO_PROCESS) -> "StandardError":
        """Send the log, and whatever else this process writes to standard error, there as lines of the log.

        `process` is what each line says of it.
        """
        descriptor = fcntl.fcntl(STDERR, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
        writer = LogWriter(descriptor, partial(dropped_line, log_format, process))
        taken = cls(descriptor, writer, configure(level, log_format, writer, process))
        _redirect()
        _hook()
        atexit.register(writer.close)
        return taken


def _redirect() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.dup2(writing, STDERR)
    os.close(writing)
    threading.Thread(target=_read, args=(reading,), name="standard-error", daemon=True).start()


def _read(descriptor: int) -> None:
    left = b""
    while data := os.read(descriptor, READ_BYTES):
        *lines, left = (left + data).split(b"\n")
        if len(left) > READ_BYTES:
            lines, left = [*lines, left], b""
        for line in lines:
            _report(line)


def _report(line: bytes) -> None:
    found = next((found for pattern in PLACES if (found := pattern.match(line))), None)
    place = "" if found is None else found[1].decode().replace('", line ', ":")
    LOGGER.warning(
        "something beside the log has written a line of %d bytes to standard error; its text is left out",
        len(line),
        extra={"place": place},
    )


# --- Python's own -----------------------------------------------------------------------------------------------


def _hook() -> None:
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    warnings.showwarning = _warning


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    LOGGER.critical("an uncaught exception ends the process", exc_info=(kind, error, trace))


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_type is not SystemExit:  # which ends a thread in order
        error = failed.exc_value or BaseException()
        LOGGER.error("an exception has ended a thread", exc_info=(failed.exc_type, error, failed.exc_traceback))


def _unraisable(failed: "sys.UnraisableHookArgs") -> None:
    error = failed.exc_value or BaseException()
    LOGGER.error("an exception that could not be raised", exc_info=(failed.exc_type, error, failed.exc_traceback))


def _warning(  # noqa: PLR0913, PLR0917 - the signature of warnings.showwarning
    message: Warning | str,  # noqa: ARG001 - likewise
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - likewise
    line: str | None = None,  # noqa: ARG001 - likewise
) -> None:
    place = f"{PurePath(filename).name}:{lineno}"
    LOGGER.warning("Python warns with %s; its text is left out", category.__name__, extra={"place": place})
