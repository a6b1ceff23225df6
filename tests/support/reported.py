"""What a bridge reports, to be waited for."""

import asyncio
from typing import TypeVar

from bridge.events import CallEnded, Event, Reloaded, ReloadFailed
from bridge.sandbox.record import Pulse
from tests.support.whole_path import PATIENCE_S

EventT = TypeVar("EventT", bound=Event)


class Reported:
    """Every event of a bridge, oldest first. It is a listener itself."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._passed = 0
        """Number of events that `next` has returned or passed over."""
        self._changed = Pulse()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)
        self._changed.beat()

    @property
    def calls(self) -> list[CallEnded]:
        """The ends of calls."""
        return [event for event in self.events if isinstance(event, CallEnded)]

    async def number(self, count: int) -> list[CallEnded]:
        """Wait until that many calls have ended, and return their ends."""
        await self._changed.until(lambda: len(self.calls) >= count)
        return self.calls

    async def next(self, kind: type[EventT]) -> EventT:
        """Wait for the next event of a kind; pass over others on the way."""
        while True:
            await self._changed.until(lambda: len(self.events) > self._passed)
            self._passed += 1
            if isinstance(event := self.events[self._passed - 1], kind):
                return event

    async def reports(self, count: int) -> list[Event]:
        """Wait until that many events about files are there; return them and forget all events."""

        def found() -> list[Event]:
            return [event for event in self.events if isinstance(event, Reloaded | ReloadFailed)]

        async with asyncio.timeout(PATIENCE_S):
            await self._changed.until(lambda: len(found()) >= count)
        reports = found()
        self.events.clear()
        self._passed = 0
        return reports
