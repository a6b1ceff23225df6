"""Log lines on their way out: a bounded buffer, and a thread that writes them to a descriptor.

Logging never waits for the reader: a pipe that is not read would otherwise stop the event loop, and with it calls,
health and signals (pipe(7): a write to a full pipe blocks). What the buffer cannot hold is dropped and counted,
and when lines flow again one of them reports how many are missing.

A line leaves within 100 ms. So a process that is killed, or crashes, may lose the lines of its last 100 ms.
"""

import os
import queue
import select
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

BUFFER_CHARACTERS_MAX = 4 * 1024 * 1024
"""Size of the buffer of each kind of line while the pipe is not read: some 10 000 lines."""

GATHER_S = 0.05
"""For how long lines are gathered before they are written together: the system call costs more than a line."""

CHUNK_BYTES_MAX = select.PIPE_BUF
"""Lines of several processes that share a pipe are not mixed: up to here a write to a pipe is atomic (pipe(7))."""

CLOSE_S = 1.0
"""Time for which the end of the process waits for the last lines."""

Notice = Callable[[int], str]
"""Makes the line that reports how many lines were dropped."""


@dataclass(slots=True)
class _Budget:
    """Limit and present size of one kind of waiting line."""

    characters_max: int
    characters: int = 0


_Item: TypeAlias = tuple[str, _Budget] | threading.Event


class LogWriter:
    """Writes lines to a descriptor, which it does not close, from a thread of its own.

    Lines that are urgent have a buffer of their own, so that a flood of others cannot push them out. `notice` makes the
    line that reports dropped lines. All methods may be called from any thread.
    """

    def __init__(self, descriptor: int, notice: Notice, characters_max: int = BUFFER_CHARACTERS_MAX) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._budgets = {is_urgent: _Budget(characters_max) for is_urgent in (False, True)}
        # Reentrant, as is the queue: a destructor that logs may run in the midst of `put`, in the same thread.
        self._lock = threading.RLock()
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._dropped = 0
        self._reported = 0
        self._is_cut = False
        """Whether the descriptor has got a part of a line, whose rest was lost."""
        self._is_closed = False
        self._hurry = threading.Event()
        threading.Thread(target=self._run, name="log-writer", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Number of lines dropped so far, because the buffer was full or the descriptor took none."""
        return self._dropped

    def put(self, line: str, *, is_urgent: bool = False) -> None:
        """Have a line written, which ends with a line feed; drop it where its buffer is full. Never wait."""
        budget = self._budgets[is_urgent]
        with self._lock:
            if self._is_closed or budget.characters + len(line) > budget.characters_max:
                self._dropped += 1
                return
            budget.characters += len(line)
        self._queue.put((line, budget))

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until all lines of before are written, for at most so many seconds; say whether they are."""
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        return written.wait(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Take no further line, and wait for at most so many seconds until those of before are written.

        The thread stays: where it hangs in a write, nothing can end it.
        """
        with self._lock:
            self._is_closed = True
        self.flush(timeout_s)

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            items = [self._queue.get()]
            if not isinstance(items[0], threading.Event):
                self._hurry.wait(GATHER_S)
            self._hurry.clear()
            with suppress(queue.Empty):
                while True:
                    items.append(self._queue.get_nowait())
            self._write_all(items)

    def _write_all(self, items: Iterable[_Item]) -> None:
        lines: list[str] = []
        size = 0
        for item in items:
            if isinstance(item, threading.Event):
                self._write(lines)
                lines, size = [], 0
                item.set()
                continue
            line, budget = item
            with self._lock:
                budget.characters -= len(line)
            line_bytes = _bytes_max(line)
            if size + line_bytes > CHUNK_BYTES_MAX:
                self._write(lines)
                lines, size = [], 0
            lines.append(line)
            size += line_bytes
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        if missing := self._dropped - self._reported:
            self._write_bytes(self._notice(missing), missing)
        if not self._write_bytes("".join(lines)):
            with self._lock:
                self._dropped += len(lines)

    def _write_bytes(self, text: str, reported: int = 0) -> bool:
        """Write a text as a whole; say whether that was possible. `reported`: how many dropped lines it reports."""
        data = text.encode(errors="backslashreplace")
        if self._is_cut:
            data = b"\n" + data
        left = memoryview(data)
        try:
            while left:
                written = _written(self._descriptor, left)
                left = left[written:]
        except OSError:
            # There is nowhere left to report that standard error is gone, or its disk full.
            self._is_cut = self._is_cut or len(left) < len(data)
            return False
        self._is_cut = False
        self._reported += reported
        return True


def _bytes_max(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode(errors="backslashreplace"))


def _written(descriptor: int, data: memoryview) -> int:
    """Write some of the data; return how many bytes. Another process may have made the descriptor non-blocking."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
