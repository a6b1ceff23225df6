"""The SQLite store on the loop's own thread, so that it runs in virtual time: in memory, on a given clock."""

import sqlite3
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.sqlite.database import PRAGMAS, Clock
from bridge.settlement.sqlite.schema import bring_up_to_date

ResultT = TypeVar("ResultT")


class InlineDatabase:
    """Carries out work as `Database` does, each piece in a transaction of its own, at once."""

    name = "sqlite://:memory:"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self.connection.close)  # Python from 3.13 on warns of one that is left open.
        for pragma in PRAGMAS:
            self.connection.execute(pragma)
        bring_up_to_date(self.connection)

    async def run(self, work: Callable[[sqlite3.Connection, float], ResultT], *, writes: bool = True) -> ResultT:
        """Carry out work in a transaction."""
        self.connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        with self.connection:
            return work(self.connection, self.clock())

    async def close(self) -> None:
        """Drop the entries."""
        self.connection.close()


class InlineStore(SqliteStore):
    """A store of real SQL in which nothing waits."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Path(InlineDatabase.name), clock)
        self.inline = InlineDatabase(clock)
        self._database = self.inline  # type: ignore[assignment]  # all that the store asks of one


def at_once(question: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return the answer to a question that waits for nothing, like each that an InlineStore is asked."""
    try:
        question.send(None)
    except StopIteration as answered:
        return answered.value  # type: ignore[no-any-return]  # what the coroutine returns
    raise AssertionError("it waits")
