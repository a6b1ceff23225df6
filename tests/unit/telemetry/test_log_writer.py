"""The log's way out: real pipes that are not read, that are closed, and disks that are full."""

import fcntl
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import bridge
from bridge.telemetry.log_writer import BUFFER_CHARACTERS_MAX, GATHER_S, LogWriter

PATIENCE_S = 60.0
"""Long enough for a busy machine, also to start Python; no test waits for it to pass."""
PIPE_BYTES = 4096
"""The smallest that Linux makes."""
LINE = "x" * 99 + "\n"


def notice(count: int) -> str:
    """Return the line that reports dropped lines."""
    return f"{count} dropped\n"


@dataclass
class Pipe:
    """A pipe that holds little, and its writer."""

    reading: int
    writing: int
    writers: list[LogWriter] = field(default_factory=list)

    def writer(self, characters_max: int = 1000) -> LogWriter:
        """Return a writer to it, with small buffers."""
        self.writers.append(LogWriter(self.writing, notice, characters_max))
        return self.writers[-1]

    def read_until(self, end: str) -> list[str]:
        """Read until a line with this text has come; return all lines."""
        text = ""
        while f"{end}\n" not in text:
            assert select.select([self.reading], [], [], PATIENCE_S)[0], text
            text += os.read(self.reading, 2**16).decode()
        return text.splitlines()

    def fill(self) -> int:
        """Write until it is full; return how many lines that took."""
        os.set_blocking(self.writing, False)
        lines = 0
        try:
            while True:
                os.write(self.writing, LINE.encode())
                lines += 1
        except BlockingIOError:
            os.set_blocking(self.writing, True)
        return lines


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe. A writer that hangs in a write to it is released at the end, by an error."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    pipe = Pipe(reading, writing)
    yield pipe
    os.close(pipe.reading)
    # Before its number means another file: what a thread still writes would go there.
    for writer in pipe.writers:
        writer.close(PATIENCE_S)
    os.close(pipe.writing)


def test_lines_leave_by_themselves_and_in_order(pipe: Pipe) -> None:
    """No flush is needed, and they are gathered for less than the 100 ms that a crash may cost."""
    writer = pipe.writer()
    for number in range(5):
        writer.put(f"{number}\n", is_urgent=number == 2)
    assert pipe.read_until("4") == ["0", "1", "2", "3", "4"]
    assert GATHER_S < 0.1


def test_who_logs_never_waits_and_missing_lines_are_reported(pipe: Pipe) -> None:
    """Into a full pipe as much is kept as the buffer holds; the rest is counted, and reported when lines flow again."""
    before = pipe.fill()
    writer = pipe.writer(characters_max=10 * len(LINE))
    for _ in range(100):
        writer.put(LINE)
    # The thread may have taken some lines out of the buffer, to hang with them in its write: at most a chunk.
    chunk = select.PIPE_BUF // len(LINE)
    assert 90 - chunk <= writer.dropped <= 90
    dropped = writer.dropped
    closing = threading.Thread(target=writer.flush)
    closing.start()
    lines = pipe.read_until(f"{dropped} dropped") if dropped else []
    writer.put("later\n")
    lines += pipe.read_until("later")
    closing.join(PATIENCE_S)
    assert lines.count(LINE.strip()) == before + 100 - dropped
    assert lines.count(f"{dropped} dropped") == 1
    assert writer.dropped == dropped


def test_a_flood_does_not_push_out_what_is_urgent(pipe: Pipe) -> None:
    """Warnings and unknown outcomes have a buffer of their own, whatever comes before them."""
    pipe.fill()
    writer = pipe.writer(characters_max=10 * len(LINE))
    for _ in range(1000):
        writer.put(LINE)
    dropped = writer.dropped
    for number in range(10):
        writer.put(f"urgent {number}\n", is_urgent=True)
    assert writer.dropped == dropped
    lines = pipe.read_until("urgent 9")
    assert [line for line in lines if line.startswith("urgent")] == [f"urgent {number}" for number in range(10)]


def test_lines_of_two_writers_are_not_mixed(pipe: Pipe) -> None:
    """Workers share a pipe. However full it is, each line in it is whole."""
    other = pipe.writer(BUFFER_CHARACTERS_MAX)
    writer = pipe.writer(BUFFER_CHARACTERS_MAX)
    texts = {"a" * 301, "b" * 777, "ä" * 501}
    for _ in range(300):
        for text in texts:
            writer.put(f"{text}\n")
            other.put(f"{text}\n")
    flushes = [threading.Thread(target=each.flush, args=(PATIENCE_S,)) for each in (writer, other)]
    for flush in flushes:
        flush.start()
    read = b""
    while read.count(b"\n") < 1800:
        assert select.select([pipe.reading], [], [], PATIENCE_S)[0], len(read)
        read += os.read(pipe.reading, 700)
    assert set(read.decode().splitlines()) == texts
    assert (writer.dropped, other.dropped) == (0, 0)


def test_a_reader_who_has_gone_is_nobodys_trouble(pipe: Pipe) -> None:
    """Lines for a closed pipe are counted as dropped; nothing is raised, and the thread goes on."""
    writer = pipe.writer()
    os.close(pipe.reading)
    for round_ in (1, 2):
        writer.put("gone\n")
        assert writer.flush(PATIENCE_S)
        assert writer.dropped == round_
    pipe.reading = os.dup(pipe.writing)


def test_a_full_disk_is_nobodys_trouble() -> None:
    """Likewise where the disk is full."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = LogWriter(full.fileno(), notice)
        writer.put("lost\n")
        assert writer.flush(PATIENCE_S)
        assert writer.dropped == 1
        writer.close()


def test_a_descriptor_that_does_not_block(pipe: Pipe) -> None:
    """Another process that shares standard error may have made it non-blocking: no line is lost by that."""
    os.set_blocking(pipe.writing, False)
    writer = pipe.writer(BUFFER_CHARACTERS_MAX)
    for number in range(200):
        writer.put(f"{number} {LINE}")
    assert len(pipe.read_until(f"199 {LINE.strip()}")) == 200
    assert writer.dropped == 0


def test_after_the_end_nothing_is_written(pipe: Pipe) -> None:
    """What is logged when the log is closed is counted, and waits for no one."""
    writer = pipe.writer()
    writer.put("last\n")
    writer.close(PATIENCE_S)
    writer.put("too late\n")
    assert writer.dropped == 1
    assert pipe.read_until("last") == ["last"]


def run(script: str, *arguments: str, stderr: int | None = None) -> int:
    """Run a script in a process of its own; return its exit code."""
    environ = {**os.environ, "PYTHONPATH": str(Path(bridge.__file__).parents[1])}
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, env=environ, stderr=stderr, check=False, timeout=PATIENCE_S)  # noqa: S603 - ours
    return ended.returncode


HALF = """
import resource, sys
from bridge.telemetry.log_writer import LogWriter
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))
file = open(sys.argv[1], "wb", buffering=0)
writer = LogWriter(file.fileno(), lambda count: f"{count} dropped\\n")
writer.put("a" * 99 + "\\n" + "b" * 99 + "\\n")
writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
writer.put("c\\n")
writer.flush()
"""


def test_a_line_cut_off_by_a_full_disk_ends_there(tmp_path: Path) -> None:
    """When there is room again, the next line does not continue the one that was cut off."""
    file = tmp_path / "log"
    assert run(HALF, str(file)) == 0
    assert file.read_text().splitlines() == ["a" * 99, "b" * 50, "1 dropped", "c"]


STUCK = """
import os, sys
from bridge.telemetry.standard_error import StandardError
log = StandardError.take("info", "json")
for _ in range(10_000):
    log.events.write(30, {"event": "x" * 100})
sys.exit(3)
"""


def test_an_unread_pipe_does_not_hold_the_end(pipe: Pipe) -> None:
    """A process whose last lines are not read waits for a second, and ends with its own exit code."""
    pipe.fill()
    assert run(STUCK, stderr=pipe.writing) == 3
