"""One SQLite file, used from a thread of its own: what waits at a moment shares one transaction.

A commit waits for the disk (WAL with synchronous = FULL), some milliseconds, whatever is in it. While it waits, further
work gathers, so that the file takes as many calls as come, and no event loop ever waits for a disk.
"""

import asyncio
import contextlib
import errno
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bridge.settlement.sqlite.errors import problem_of
from bridge.settlement.sqlite.schema import LayoutProblem, bring_up_to_date, is_up_to_date
from bridge.settlement.store import TIMEOUT_S, Problem, StoreError

BUSY_S = 2.0
"""Longest wait for another process's transaction."""
BUSY_POLL_S = 0.01
BATCH_MAX = 256
"""Pieces of work that share a transaction."""
WAITING_MAX = 1024
"""Pieces of work that wait; more are refused, so that a disk that hangs fills no memory."""
FILE_MODE = 0o600
WAL_BYTES_KEPT = 16 * 2**20
"""Size to which the write-ahead log is cut after a checkpoint."""

PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}",
)

Clock = Callable[[], float]
Work = Callable[[sqlite3.Connection, float], Any]
"""Work inside a transaction, with the connection and the time."""
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A piece of work and who waits for it."""

    work: Work
    writes: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    def finish(self, result: object) -> None:
        """Hand over a result, or an exception to be raised, from the database's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: no task waits any more
            self.loop.call_soon_threadsafe(self._finish, result)

    def _finish(self, result: object) -> None:
        if self.done.done():
            return  # the waiting task was cancelled or has given up
        if isinstance(result, BaseException):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class Database:
    """The file and its thread. `clock` is one clock for all processes that share the file."""

    def __init__(self, path: Path, clock: Clock = time.time, *, creates: bool = True) -> None:
        self._creates = creates
        self.name = f"sqlite://{path}"
        self._path = path
        self._clock = clock
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._file_id = (0, 0)

    async def run(self, work: Callable[[sqlite3.Connection, float], ResultT], *, writes: bool = True) -> ResultT:
        """Carry out work in a transaction; raise StoreError, then nothing of it is in the file, unless TIMEOUT."""
        if self._jobs.qsize() >= WAITING_MAX:
            raise StoreError(self.name, Problem.TIMEOUT)
        if self._thread is None:
            # A daemon: a process that ends without `close` must not wait for it. A transaction that is cut is undone.
            self._thread = threading.Thread(target=self._serve, name="settlement-sqlite", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        job = Job(work, writes, loop, loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                result: ResultT = await job.done
        except TimeoutError:
            raise StoreError(self.name, Problem.TIMEOUT) from None
        return result

    async def close(self) -> None:
        """Finish what waits and close the file."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    # --- the thread -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        is_open = True
        while is_open:
            batch = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while batch[-1] is not None and len(batch) < BATCH_MAX:
                    batch.append(self._jobs.get_nowait())
            is_open = batch[-1] is not None
            # A request whose caller has given up is not worth the disk's time.
            self._carry_out([job for job in batch if job is not None and not job.done.done()])
        self._disconnect()

    def _carry_out(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        results: list[object] = []
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE" if any(job.writes for job in jobs) else "BEGIN")
            now = self._clock()
            results = [job.work(connection, now) for job in jobs]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the thread must live, and everybody must learn what happened
            self._failed(jobs, error, is_shared=not results)
        else:
            for job, result in zip(jobs, results, strict=True):
                job.finish(result)

    def _failed(self, jobs: Sequence[Job], error: Exception, *, is_shared: bool) -> None:
        """Undo a transaction. `is_shared`: one job's work failed, which the others need not suffer from."""
        problem = self._problem_of(error)
        self._roll_back(problem)
        if is_shared and len(jobs) > 1 and problem in {None, Problem.DAMAGED, Problem.FAILED}:
            for job in jobs:
                self._carry_out([job])
            return
        for job in jobs:
            job.finish(error if problem is None else StoreError(self.name, problem))

    def _problem_of(self, error: Exception) -> Problem | None:
        if isinstance(error, LayoutProblem):
            return error.problem
        return problem_of(error) if isinstance(error, sqlite3.Error | OSError) else None

    def _roll_back(self, problem: Problem | None) -> None:
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()
        if problem not in {None, Problem.BUSY, Problem.FULL}:
            # The next work opens the file again: it may have been replaced or repaired.
            self._disconnect()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._file_id != _file_id(self._path):
            # Removed or replaced while it was open: what is written now must be where the next start looks.
            self._disconnect()
        if self._connection is None:
            self._connection = _connect(self._path, creates=self._creates)
            self._file_id = _file_id(self._path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def probe(path: Path, ask: Callable[[sqlite3.Connection], ResultT], default: ResultT) -> ResultT:
    """Test that the file can be written, or could be created, and leave nothing behind.

    Return what the file says to a question, or the default where there is no file or layout yet; raise sqlite3.Error,
    OSError or LayoutProblem.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "")
        return default
    with contextlib.closing(_opened(path)) as connection:
        if not is_up_to_date(connection):
            return default
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO facts VALUES ('probe', '') ON CONFLICT DO NOTHING")
        connection.execute("ROLLBACK")
        return ask(connection)


def _connect(path: Path, *, creates: bool) -> sqlite3.Connection:
    if creates:
        _create(path)
    connection = _opened(path)
    try:
        _prepare(connection, creates=creates)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, *, creates: bool) -> None:
    if not is_up_to_date(connection) and not creates:
        raise LayoutProblem(Problem.OLDER_LAYOUT)
    _use_wal(connection)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    bring_up_to_date(connection)


def _create(path: Path) -> None:
    # Only a file that is new is opened here: closing a second descriptor of a database would drop this process's
    # locks on it (https://www.sqlite.org/howtocorrupt.html, section 2.2). SQLite gives its other files the same mode.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))


def _opened(path: Path) -> sqlite3.Connection:
    if path.is_file():
        # SQLite would only say that it cannot open the file: it lacks the place for its log.
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, "")
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "")
    # mode=rw: a file that has been removed is not made again without its mode.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to the write-ahead log; SQLite's own time-out does not cover that."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if problem_of(error) is not Problem.BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_POLL_S)
        else:
            return


def _file_id(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
