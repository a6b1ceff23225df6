"""Files that change while the bridge runs: taken up once they have settled, reported once when they are bad."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.events import Event, Reloaded, ReloadFailed
from bridge.settings.file_watch import FileWatch, ReloadError
from tests.support.whole_path import PATIENCE_S

SECRET = "the-secret"
RULE = "must be something good"
MISSING = "cannot be read: No such file or directory"
BAD = {"bad": ("bad", RULE), "missing": (None, MISSING)}
KEY = "wallet.ca_file"
PAIR = CERTIFICATE, PRIVATE_KEY = "client_certificate_file", "client_key_file"


class Watched:
    """A watch over files of a test, and what came of it. A file is bad when its text starts with "bad".

    Files of a pair fit when they end alike.
    """

    def __init__(self, files: Mapping[str, Path], groups: Iterable[Iterable[str]] = ()) -> None:
        self.files = files
        self.applied: list[str] = []
        """The key of every call that succeeded."""
        self.in_use: list[str] = []
        self.events: list[Event] = []
        self.received = asyncio.Event()
        self.watch = FileWatch(files, self.apply, self.emit, interval_s=0.001, groups=groups)

    def apply(self, key: str) -> None:
        """Take up the files' content, if all of it is good."""
        texts = [path.read_text() for path in self.files.values()]
        if any(text.startswith("bad") for text in texts) or len({text[-1:] for text in texts}) > 1:
            raise ReloadError(RULE)
        self.applied.append(key)
        self.in_use = texts

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)
        self.received.set()

    def look(self, times: int = 2) -> list[Event]:
        """Look that many times; return what was emitted meanwhile."""
        before = len(self.events)
        for _ in range(times):
            self.watch.check()
        return self.events[before:]


def put(file: Path, text: str | None) -> None:
    """Let the file hold this text; None: be gone."""
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a good file."""
    path = tmp_path / "file"
    path.write_text(f"{SECRET} 1")
    return path


@pytest.fixture
def watched(file: Path) -> Watched:
    """Watch the file, which has been looked at once."""
    watched = Watched({KEY: file})
    watched.watch.check()
    return watched


@pytest.fixture
def pair(tmp_path: Path) -> Watched:
    """Watch a certificate and its key, which have been looked at once."""
    files = {key: tmp_path / key for key in PAIR}
    for path in files.values():
        path.write_text(f"{SECRET} 1")
    watched = Watched(files, [PAIR])
    watched.watch.check()
    return watched


def test_the_first_look_takes_up_what_is_there(watched: Watched) -> None:
    """What changed between the reading of the settings and the first look is in use after it, without an event."""
    assert (watched.in_use, watched.events) == ([f"{SECRET} 1"], [])


def test_what_stays_as_it_is_is_left_alone(watched: Watched, file: Path) -> None:
    """Content that is the same is not applied again, whatever the file's times say."""
    file.write_text(file.read_text())
    os.utime(file, (1, 1))
    assert watched.look(3) == []
    assert watched.applied == [KEY]


def test_times_and_size_may_be_equal(watched: Watched, file: Path) -> None:
    """Content counts, nothing else: the same size and the same times hide no change."""
    times = file.stat()
    file.write_text(f"{SECRET} 2")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert watched.look() == [Reloaded(KEY)]


def test_a_link_above_the_file_may_be_swapped(tmp_path: Path) -> None:
    """Kubernetes changes a mounted secret by swapping the link `..data` from one folder to another."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    watched = Watched({KEY: tmp_path / "key"})
    watched.watch.check()
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watched.look() == [Reloaded(KEY)]
    assert watched.in_use == ["two"]


def test_a_file_that_is_no_file(watched: Watched, file: Path) -> None:
    """A folder in the file's place is reported like any file that cannot be read."""
    file.unlink()
    file.mkdir()
    assert watched.look() == [ReloadFailed(KEY, "cannot be read: Is a directory")]


@pytest.mark.parametrize("half", ["bad", ""], ids=["cut short", "emptied"])
def test_half_a_replacement_is_no_alarm(watched: Watched, file: Path, half: str) -> None:
    """What one look sees of a replacement that is under way is neither taken up nor reported."""
    file.write_text(half)
    assert watched.look(1) == []
    file.write_text("whole")
    assert watched.look(3) == [Reloaded(KEY)]
    assert watched.applied == [KEY, KEY]


@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD)
def test_a_file_that_is_bad_from_the_start(file: Path, text: str | None, problem: str) -> None:
    """What the first look cannot use is reported when the second finds it unchanged."""
    put(file, text)
    watched = Watched({KEY: file})
    assert watched.look(1) == []
    assert watched.look(3) == [ReloadFailed(KEY, problem)]


def test_files_are_watched_each_for_itself(tmp_path: Path) -> None:
    """Without a group, a bad file holds up no other."""
    files = {name: tmp_path / name for name in ("a", "b")}
    for path in files.values():
        path.write_text("1")
    applied: list[str] = []
    events: list[Event] = []

    def apply(key: str) -> None:
        if files[key].read_text() == "bad":
            raise ReloadError(RULE)
        applied.append(key)

    watch = FileWatch(files, apply, events.append)
    watch.check()
    files["a"].write_text("bad")
    files["b"].write_text("2")
    watch.check()
    watch.check()
    assert applied == ["a", "b", "b"]
    assert events == [ReloadFailed("a", RULE), Reloaded("b")]


def test_a_pair_is_taken_up_as_one(pair: Watched) -> None:
    """A change of both files is applied once, with the first setting, and reported for both."""
    for path in pair.files.values():
        path.write_text("new 2")
    assert pair.look() == [Reloaded(CERTIFICATE), Reloaded(PRIVATE_KEY)]
    assert pair.applied == [CERTIFICATE, CERTIFICATE]


def test_one_file_of_a_pair(pair: Watched) -> None:
    """A change of the second file alone is applied with the first setting, and reported for the second."""
    pair.files[PRIVATE_KEY].write_text("another 1")
    assert pair.look() == [Reloaded(PRIVATE_KEY)]
    assert pair.applied == [CERTIFICATE, CERTIFICATE]


def test_a_pair_may_be_replaced_file_by_file(pair: Watched) -> None:
    """A pair of which one look sees a half is no alarm, and its half is never in use."""
    pair.files[CERTIFICATE].write_text("new 2")
    assert pair.look(1) == []
    pair.files[PRIVATE_KEY].write_text("new 2")
    assert pair.look(3) == [Reloaded(CERTIFICATE), Reloaded(PRIVATE_KEY)]


def test_half_a_pair_that_stays_is_an_alarm(pair: Watched) -> None:
    """A half that stays is reported for the file that has changed; the whole pair, once it is there, for both."""
    pair.files[CERTIFICATE].write_text("new 2")
    assert pair.look(5) == [ReloadFailed(CERTIFICATE, RULE)]
    assert pair.in_use == [f"{SECRET} 1", f"{SECRET} 1"]
    pair.files[PRIVATE_KEY].write_text("new 2")
    assert pair.look() == [Reloaded(CERTIFICATE), Reloaded(PRIVATE_KEY)]
    assert pair.in_use == ["new 2", "new 2"]


def test_half_of_a_pair_is_missing(pair: Watched) -> None:
    """Of a pair that cannot be read, the file that is gone is reported, and the other is not applied alone."""
    pair.files[CERTIFICATE].write_text("another 1")
    pair.files[PRIVATE_KEY].unlink()
    assert pair.look() == [ReloadFailed(PRIVATE_KEY, MISSING)]
    assert pair.applied == [CERTIFICATE]


def test_any_exception_of_apply_is_a_failure(file: Path) -> None:
    """What `apply` was not meant to raise is reported by its type, without its text, and later content is taken up."""
    events: list[Event] = []

    def apply(_key: str) -> None:
        if "broken" in file.read_text():
            raise ValueError(SECRET)

    watch = FileWatch({KEY: file}, apply, events.append)
    for text in ("good", "broken", "broken", "fixed", "fixed"):
        file.write_text(text)
        watch.check()
    assert events == [ReloadFailed(KEY, "cannot be used, by a fault of the bridge: ValueError"), Reloaded(KEY)]


async def test_run_survives_a_listener_that_fails(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An event that cannot be reported ends no watch; the log names the exception without its text."""
    applied = asyncio.Queue[str]()

    def fail(_event: Event) -> None:
        raise OSError(SECRET)

    watch = FileWatch({KEY: file}, lambda _key: applied.put_nowait(file.read_text()), fail, interval_s=0.001)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(PATIENCE_S):
        for text in (f"{SECRET} 1", "2", "3"):
            put(file, text)
            assert await applied.get() == text
    running.cancel()
    await asyncio.wait([running])
    record = ("bridge.settings.file_watch", logging.ERROR, "a reload could not be reported: OSError")
    assert record in caplog.record_tuples
    assert SECRET not in caplog.text


def test_no_content_is_held(watched: Watched, pair: Watched) -> None:
    """What the watch itself holds between two looks has no file's content in it."""
    watched.in_use = pair.in_use = []
    for watch in (watched.watch, pair.watch):
        assert SECRET not in str([vars(group) for group in watch._groups])  # no other way in


STATES = st.sampled_from(["good 1", "good 2", "bad 1", "bad 2", None])


@given(st.lists(st.tuples(STATES, st.integers(1, 3)), max_size=12))
@example([("good 1", 1), ("good 1", 1), ("good 1", 3)])  # the second look takes it up
@example([("bad 1", 3), ("bad 1", 2), ("bad 2", 2)])  # reported once, and other bad content again
@example([("good 1", 2), ("bad 1", 1), ("good 1", 3)])  # taken back before the second look
@example([("good 1", 2), ("bad 1", 3), ("good 1", 2)])  # correct again by what stayed in use meanwhile
@example([(None, 3), ("good 1", 2)])
def test_any_course_of_changes(course: list[tuple[str | None, int]]) -> None:
    """In use is the last good content that stayed for two looks, and the last event says how it is with the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_text("good 0")
        watched = Watched({KEY: path})
        watched.look()
        expected = "good 0"
        handled: str | None = expected
        seen: str | None = expected
        for text, looks in course:
            put(path, text)
            is_new = text != handled and looks + (text == seen) >= 2
            events = watched.look(looks)
            if is_new and text is not None and text.startswith("good"):
                expected = text
                assert events == [Reloaded(KEY)]
            else:
                assert events == [ReloadFailed(KEY, RULE if text else MISSING)] * is_new
            handled, seen = (text if is_new else handled), text
            assert watched.in_use == [expected]
        assert len(watched.applied) == 1 + sum(isinstance(event, Reloaded) for event in watched.events)


class Patient(Watched):
    """A watch that would look again in an hour."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        super().__init__(files)
        self.watch = FileWatch(files, self.apply, self.emit, interval_s=3600)

    async def reported(self) -> Event:
        """Wait for the next event."""
        self.received.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self.received.wait()
        return self.events[-1]


async def test_asked_to_look_it_looks_at_once(file: Path) -> None:
    """What has changed is taken up by that one look, and what is still bad is reported again."""
    watched = Patient({KEY: file})
    watched.watch.check()
    running = asyncio.create_task(watched.watch.run())
    for text, event in (
        ("new", Reloaded(KEY)),
        ("bad", ReloadFailed(KEY, RULE)),
        ("bad", ReloadFailed(KEY, RULE)),
        ("good", Reloaded(KEY)),
    ):
        put(file, text)
        watched.watch.look_now()
        assert await watched.reported() == event
    running.cancel()
    assert watched.in_use == ["good"]


async def test_a_file_system_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """Reading happens outside the event loop, and a read that never ends does not keep the process from ending."""
    hanging = tmp_path / "pipe"
    os.mkfifo(hanging)  # opening it waits for a writer
    watched = Patient({KEY: hanging})
    running = asyncio.create_task(watched.watch.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert watched.events == []
    running.cancel()
    await asyncio.wait([running])
    with hanging.open("wb"):  # lets the thread go
        pass
