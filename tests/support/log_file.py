"""A log that goes to a file, for tests of what is logged."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.logs import NO_PROCESS, LogEvents, dropped_line
from bridge.telemetry.records import HELD_LOGGERS, configure
from tests.support.whole_path import PATIENCE_S


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
