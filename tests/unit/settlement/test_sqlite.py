"""The SQLite file: its mode, its layouts, its failures, and several processes at once."""

# ruff: noqa: ASYNC240 - no other task waits while a test waits for a disk

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.settlement.entry import SCHEMA, State
from bridge.settlement.sqlite import SqliteStore, changes, database, questions, schema
from bridge.settlement.sqlite.database import BATCH_MAX
from bridge.settlement.store import Problem, StoreError, Warn
from tests.support.settlement_calls import FAR_S, OPERATION, OPERATIONS, add, new_call
from tests.unit.settlement.conftest import PATIENCE_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file that is not there yet."""
    return tmp_path / "settlement.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store."""
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


async def problem_at(path: Path) -> Problem:
    """Return why a file cannot be opened."""
    store = SqliteStore(path)
    with pytest.raises(StoreError) as caught:
        await store.open()
    with pytest.raises(StoreError) as again:
        await store.write([new_call()])
    await store.close()
    assert again.value.problem is caught.value.problem
    assert str(caught.value) == f"settlement store sqlite://{path} {caught.value.problem.value}"
    return caught.value.problem


def execute(path: Path, *statements: str) -> list[object]:
    """Carry out statements with another program's connection; return the last one's rows."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


async def test_only_its_owner_can_read_the_file(path: Path) -> None:
    """Whatever the process's mask lets through; also the two files that SQLite adds."""
    before = os.umask(0)
    try:
        async with opened(path) as store:
            await add(store, new_call())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"settlement.db": 0o600, "settlement.db-shm": 0o600, "settlement.db-wal": 0o600}


async def test_a_commit_is_on_the_disk_before_it_is_reported(path: Path) -> None:
    """WAL with synchronous = FULL (2)."""
    async with opened(path) as store:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = await store._database.run(  # what holds on its own connection, no one else can see
            lambda connection, _: [connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
        )
    assert found == ["wal", 2, 1]


async def test_entries_outlive_the_process(path: Path) -> None:
    """What one store wrote, the next one finds; a write is whole without a close."""
    first = SqliteStore(path)
    call = new_call()
    await add(first, call)
    async with opened(path) as second:
        (entry,) = await second.take(1, FAR_S, OPERATIONS)
        assert entry.entry_id == call.sealed.entry_id
    await first.close()


async def test_the_file_holds_no_content_and_no_body(path: Path) -> None:
    """Neither the file nor its log, also after the entry was settled."""
    async with opened(path) as store:
        await store.write([new_call("canary"), new_call("other")])
        files = list(path.parent.iterdir())
        held = b"".join(file.read_bytes() for file in files)
    assert len(files) == 3
    assert OPERATION.encode() in held
    assert b"canary" not in held


async def test_a_file_that_is_replaced_is_opened_again(path: Path) -> None:
    """What is written afterwards is where the next start looks for it."""
    async with opened(path) as store:
        await add(store, new_call("a"))
        for file in list(path.parent.iterdir()):
            file.unlink()
        added = await add(store, new_call("b"))
        async with opened(path) as other:
            assert [entry.entry_id for entry in (await other.page(10)).entries] == [added.entry_id]


async def test_a_newer_layout_is_refused_and_left_alone(path: Path) -> None:
    """An older bridge cannot know what it would break."""
    async with opened(path) as store:
        added = await add(store, new_call())
    execute(path, f"PRAGMA user_version = {len(schema.LAYOUTS) + 1}")
    assert await problem_at(path) is Problem.NEWER_LAYOUT
    execute(path, f"PRAGMA user_version = {len(schema.LAYOUTS)}")
    async with opened(path) as store:
        assert await store.get(added.entry_id) is not None


async def test_an_older_layout_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every layout between, once, and with all that was written."""
    async with opened(path) as store:
        added = await add(store, new_call())
    layouts = [*schema.LAYOUTS, "ALTER TABLE entries ADD COLUMN note TEXT;\n", "CREATE TABLE more (x) STRICT;\n"]
    monkeypatch.setattr(schema, "LAYOUTS", [*layouts[:-1], "CREATE TABLE more (x ANY) STRICT;\n"])
    refusing = SqliteStore(path, creates=False)
    with pytest.raises(StoreError) as caught:
        await refusing.open()
    assert caught.value.problem is Problem.OLDER_LAYOUT
    await refusing.close()
    for _ in range(2):
        async with opened(path) as store:
            assert await store.get(added.entry_id) is not None
    assert execute(path, "SELECT note FROM entries", "SELECT count(*) FROM more") == [(0,)]
    assert execute(path, "PRAGMA user_version") == [(len(schema.LAYOUTS),)]


async def test_a_layout_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or nothing: the older bridge can be started again."""
    async with opened(path) as store:
        added = await add(store, new_call())
    with monkeypatch.context() as patch:
        patch.setattr(schema, "LAYOUTS", [*schema.LAYOUTS, "CREATE TABLE more (x);\nNOT SQL;\n"])
        assert await problem_at(path) is Problem.DAMAGED
    async with opened(path) as store:
        assert await store.get(added.entry_id) is not None
    assert execute(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'more'") == [(0,)]


async def test_an_entry_of_a_newer_schema_is_left_alone(path: Path) -> None:
    """It is neither taken nor given up, but shown."""
    async with opened(path) as store:
        added = await add(store, new_call())
        execute(path, f"UPDATE entries SET schema = {SCHEMA + 1}")  # noqa: S608 - a number
        assert await store.take(10, FAR_S, OPERATIONS) == []
        assert await store.expire(0.0, OPERATIONS) == []
        (entry,) = (await store.page(10)).entries
        assert (entry.entry_id, entry.state, entry.schema) == (added.entry_id, State.PENDING, SCHEMA + 1)


async def test_a_file_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    """Text, and another program's database."""
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    before = path.read_bytes()
    assert await problem_at(path) is Problem.DAMAGED
    assert path.read_bytes() == before
    path.unlink()
    execute(path, "CREATE TABLE entries (mine)")
    assert await problem_at(path) is Problem.DAMAGED


async def test_a_damaged_file_is_reported_and_serves_again_once_restored(path: Path, tmp_path: Path) -> None:
    """The store opens the file again by itself."""
    async with opened(path) as store:
        await add(store, new_call())
    shutil.copy(path, tmp_path / "backup")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    store = SqliteStore(path)
    with pytest.raises(StoreError) as caught:
        await store.page(10)
    assert caught.value.problem is Problem.DAMAGED
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        file.unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup", path)
    assert len((await store.page(10)).entries) == 1
    await store.close()


MISSING: dict[str, tuple[Callable[[Path], Path], Problem]] = {
    "no folder": (lambda folder: folder / "nowhere" / "x.db", Problem.UNREACHABLE),
    "a folder": (lambda folder: folder, Problem.UNREACHABLE),
    "below a file": (lambda folder: folder / "file" / "x.db", Problem.UNREACHABLE),
}


@pytest.mark.parametrize("case", MISSING)
async def test_a_path_without_a_file_is_reported(tmp_path: Path, case: str) -> None:
    """One line that names it, at the start and at each use; a check says the same."""
    (tmp_path / "file").touch()
    make, expected = MISSING[case]
    assert await problem_at(make(tmp_path)) is expected
    with pytest.raises(StoreError) as caught:
        await SqliteStore(make(tmp_path)).check()
    assert caught.value.problem is expected


async def test_a_file_that_another_process_holds_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that a transaction may be waited for; then it serves again."""
    monkeypatch.setattr("bridge.settlement.sqlite.database.BUSY_S", 0.05)
    async with opened(path) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError) as caught:
                await add(store, new_call())
            other.execute("ROLLBACK")
        assert caught.value.problem is Problem.BUSY
        assert (await add(store, new_call())).is_new


async def test_work_that_fails_does_not_fail_what_shares_its_transaction(path: Path) -> None:
    """Each of them is carried out alone, and once."""
    async with opened(path) as store:
        started = asyncio.Event()

        def bad(connection: sqlite3.Connection, _: float) -> None:
            connection.execute("INSERT INTO facts VALUES ('half', 'done')")
            connection.execute("SELECT * FROM nowhere")

        async def after(work: object) -> object:
            await started.wait()
            return await work  # type: ignore[misc]  # an awaitable of any kind

        waiting = [after(add(store, new_call(str(number)))) for number in range(3)]
        gathered = asyncio.gather(*waiting, after(store._database.run(bad)), return_exceptions=True)
        started.set()
        *added, failure = await gathered
        assert [getattr(one, "is_new", None) for one in added] == [True] * 3
        assert isinstance(failure, StoreError)
        assert len((await store.page(10)).entries) == 3
    assert execute(path, "SELECT * FROM facts") == []


async def test_what_waits_at_a_moment_shares_a_transaction(path: Path) -> None:
    """A commit waits for the disk: two hundred writes that come meanwhile need one more."""
    statements: list[str] = []
    has_begun, is_over = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection, _: float) -> None:
        connection.set_trace_callback(statements.append)
        has_begun.set()
        is_over.wait()

    async with opened(path) as store:
        under_way = asyncio.create_task(store._database.run(slow))
        await asyncio.to_thread(has_begun.wait)
        writes = [asyncio.create_task(add(store, new_call(str(number)))) for number in range(200)]
        while store._database._jobs.qsize() < len(writes):  # noqa: ASYNC110 - each has begun within a few turns
            await asyncio.sleep(0)
        is_over.set()
        await asyncio.gather(under_way, *writes)
        assert statements.count("COMMIT") == 2
        assert len((await store.page(BATCH_MAX)).entries) == 200


async def test_a_check_creates_nothing(path: Path) -> None:
    """A store that could be created passes, and nothing is there afterwards."""
    checked = await SqliteStore(path).check()
    assert (checked.warnings, checked.key_use.check) == ((), "")
    assert list(path.parent.iterdir()) == []


async def test_a_check_warns_of_a_file_that_everybody_can_read(path: Path) -> None:
    """It holds call ids and identities."""
    async with opened(path) as store:
        path.chmod(0o644)
        assert (await store.check()).warnings == (Warn.READABLE_BY_OTHERS,)


class Overtaken(sqlite3.Connection):
    """A connection to an empty file, which another process gives its layout just before one of its statements."""

    path: Path
    statements_left: int

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Let the other process go first where it is its turn, and no transaction keeps it out."""
        if self.statements_left == 0 and not self.in_transaction:
            with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as other:
                schema.bring_up_to_date(other)
        self.statements_left -= 1
        return super().execute(*arguments)


@pytest.mark.parametrize("statements", range(4))
def test_a_file_that_another_process_creates_meanwhile_is_not_damaged(path: Path, statements: int) -> None:
    """Whether it has its layout is asked of one moment: before the other process has given it, or after."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, factory=Overtaken)) as connection:
        connection.path, connection.statements_left = path, statements
        schema.bring_up_to_date(connection)
        assert schema.is_up_to_date(connection)


WORKERS, ENTRIES = 4, 120


def take_all(path: Path, start: object) -> list[str]:
    """Open the file at the same moment as the others, write, and take until nothing is due."""
    # Four processes write at once, and any of them may be stopped for a while: none may give up.
    for limit in ("BUSY_S", "TIMEOUT_S"):
        setattr(database, limit, PATIENCE_S)

    async def main() -> list[str]:
        start.wait()  # type: ignore[attr-defined]  # a barrier of the manager's
        async with opened(path) as store:
            name = f"of {os.getpid()}"
            await asyncio.gather(*(add(store, new_call(f"{name} {number}")) for number in range(ENTRIES // WORKERS)))
            start.wait()  # type: ignore[attr-defined]  # likewise
            owned: list[str] = []
            while taken := await store.take(3, FAR_S, OPERATIONS):
                owned += [entry.entry_id for entry in taken]
            return owned

    return asyncio.run(main())


@pytest.mark.long
def test_processes_that_share_the_file_own_every_entry_once(path: Path) -> None:
    """They create the file at the same moment, too."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(WORKERS) as pool:
        # Where one of them fails, the others end, too, and the test with what it has said.
        start = manager.Barrier(WORKERS, timeout=PATIENCE_S)
        owned = [entry_id for part in pool.starmap(take_all, [(path, start)] * WORKERS) for entry_id in part]
    assert len(owned) == len(set(owned)) == ENTRIES


MOUNTED = """
set -e
mount -t tmpfs -o size=6m tmpfs "$1"
exec "$2" "$3" "$1"
"""


def in_small_disk(tmp_path: Path, script: str) -> str:
    """Run a script on a file system of 6 MiB that only it can see; return what it prints."""
    folder, program = tmp_path / "disk", tmp_path / "script.py"
    folder.mkdir()
    program.write_text(script)
    # A mount needs the rights of root; without them the tests are skipped.
    command = ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", str(folder), sys.executable, str(program)]
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(  # noqa: S603 - our own script
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, check=False, timeout=250
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL = """
import asyncio, os, sys
from pathlib import Path
from typing import Any
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import StoreError
from tests.support.settlement_calls import new_call

async def main(folder):
    store = SqliteStore(folder / "x.db")
    written = []
    try:
        while len(written) < 20_000:
            call = new_call(str(len(written)))
            await store.write([call])
            written.append(call.sealed.entry_id)
    except StoreError as error:
        print(error.problem.name)
    print(all([await store.get(entry_id) is not None for entry_id in written]) and len(written) > 50)
    (folder / "ballast").unlink()
    await store.write([new_call("after")])
    print("serves again")
    await store.close()

folder = Path(sys.argv[1])
(folder / "ballast").write_bytes(bytes(200_000))
asyncio.run(main(folder))
"""


@pytest.mark.timeout(300)
@pytest.mark.long
def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """It is reported, what was written before is there, and with free space the store serves again."""
    assert in_small_disk(tmp_path, FULL).splitlines() == ["FULL", "True", "serves again"]


READ_ONLY = """
import asyncio, subprocess, sys
from pathlib import Path
from typing import Any
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import StoreError
from tests.support.settlement_calls import new_call

async def main(folder):
    store = SqliteStore(folder / "x.db")
    await store.write([new_call("a")])
    await store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    store = SqliteStore(folder / "x.db")
    for ask in (lambda: store.write([new_call("b")]), store.check):
        try:
            await ask()
        except StoreError as error:
            print(error.problem.name)
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.timeout(300)
def test_a_read_only_disk_is_reported(tmp_path: Path) -> None:
    """In the same words by a write and by a check."""
    assert in_small_disk(tmp_path, READ_ONLY).splitlines() == ["READ_ONLY", "READ_ONLY"]


PLANS: dict[str, tuple[str, Any]] = {
    "page": (questions.PAGE, (10, 100)),
    "page of a state": (questions.PAGE_OF_STATE, ("PENDING", 10, 100)),
    "get": (questions.GET, ("x",)),
    "of call": (questions.OF_CALL, ("x",)),
    "of caller": (questions.OF_CALL_BY, ("x", "[]")),
    "oldest": (questions.OLDEST, ()),
    "providers": (changes.PROVIDERS, {"schema": 1, "operation": OPERATION}),
    "due": (changes.DUE, (1, OPERATION, "7", 0.0, 10)),
    "take": (changes.TAKE, (0.0, 1)),
    "renew": (changes.RENEW, (0.0, "x", 1)),
    "expire": (changes.EXPIRE, (0.0, 1, 0.0, "[]", 10)),
    "settle": (changes.SETTLE, (0.0, "[]")),
    "purge": (changes.PURGE, (0.0, 10)),
    "purge calls": (changes.PURGE_CALLS, (0.0,)),
}


@pytest.mark.parametrize("case", PLANS)
async def test_no_statement_reads_a_whole_table(path: Path, case: str) -> None:
    """Every table is searched by an index or by its key, however many entries there are; no entries are sorted."""
    statement, values = PLANS[case]

    def explain(connection: sqlite3.Connection, _: float) -> list[str]:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

    async with opened(path) as store:
        plan = await store._database.run(explain)
    assert not [step for step in plan if step.startswith(("SCAN entries", "SCAN calls")) or "ORDER BY" in step]
    assert [step for step in plan if step.startswith("SEARCH")]
