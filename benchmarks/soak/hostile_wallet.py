"""A wallet that does its worst, as a process: `python hostile_wallet.py SEED`.

It says its URL, and then every REPORT_S what it saw, as one JSON line. It takes orders in lines on standard input:

    storm    restart now and then, change SETTINGS, retire and drop connections
    calm     end that, drop all connections, and say so in the next report
    keys 7   from now on, carry out only what is signed with this version of the keys

and ends with its standard input. What it saw it forgets with each report, so that a long run stays small.
"""

import asyncio
import contextlib
import json
import random
import sys
import uuid
from collections.abc import Callable
from typing import Any

import uvloop
from h2.settings import SettingCodes

from benchmarks.soak.mix import BEHAVIOURS, UNCOUNTED, plan_of
from bridge.sandbox.behaviours import recycle_after
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from bridge.sandbox.wire import GoneError
from tests.support.random_wallet import RandomWallet
from tests.support.rotating_wallet import REFUSED, Keys

REPORT_S = 0.5
PAUSE_S_MAX = 5.0
"""Between two turns of the weather; how long one lasts is TURN_S_MAX at most."""
TURN_S_MAX = 1.0
REQUESTS_PER_CONNECTION = 500
REMEMBERED_MAX = 20_000
"""Tokens whose attempts are counted: those of a minute, while no call lasts longer than a few seconds."""
FAIR: dict[int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, SettingCodes.INITIAL_WINDOW_SIZE: 65_535}


def keys_of(key_version: int) -> Keys:
    """Return the keys of a version; every part of a soak knows them."""
    return Keys(f"soak-access-key-{key_version}", str(uuid.UUID(int=key_version)))


class HostileWallet(RandomWallet):
    """Does what the token says, if the request is signed as it is wanted at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self._special = {**self._special, **BEHAVIOURS}
        self.key_version = 0
        self.foreign = 0
        """Requests that were signed with neither this key version nor the one before or after it."""

    async def __call__(self, stream: Stream) -> None:
        """Refuse what is signed with other keys, before it counts as an attempt; else follow the plan."""
        if keys_of(self.key_version).signed(stream.request):
            token = stream.request.token
            self.plans[token] = plan_of(token)
            await super().__call__(stream)
            return
        neighbours = (self.key_version - 1, self.key_version + 1)
        self.foreign += not any(keys_of(each).signed(stream.request) for each in neighbours if each >= 0)
        await REFUSED(stream)

    def forget(self, open_connections: set[int]) -> None:
        """Forget the oldest tokens, and connections that are closed."""
        for known in (self.plans, self._attempts):
            for token in list(known)[: max(0, len(known) - REMEMBERED_MAX)]:
                del known[token]
        for number in self._last_processed.keys() - open_connections:
            del self._last_processed[number]


class Weather:
    """What happens to the wallet as a whole, for every caller."""

    def __init__(self, server: FaultServer, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._turns = (self._restart, self._fewer_streams, self._small_windows, self._retire_all, self._drop_all)

    async def storm(self) -> None:
        """Go on until cancelled, and leave the wallet as it should be."""
        try:
            while True:
                await asyncio.sleep(self._chance.uniform(0.0, PAUSE_S_MAX))
                await self._chance.choice(self._turns)()
        finally:
            self._set(FAIR)

    async def calm(self) -> None:
        """Drop all connections."""
        async with self._server.offline():
            pass

    async def _restart(self) -> None:
        async with self._server.offline():
            await self._a_while()

    async def _fewer_streams(self) -> None:
        await self._with({SettingCodes.MAX_CONCURRENT_STREAMS: self._chance.choice((0, 1, 2))})

    async def _small_windows(self) -> None:
        await self._with({SettingCodes.INITIAL_WINDOW_SIZE: self._chance.choice((0, 1, 100))})

    async def _retire_all(self) -> None:
        for connection in self._server.open_connections:
            if not connection.retired:
                with contextlib.suppress(GoneError):
                    connection.goaway()

    async def _drop_all(self) -> None:
        for connection in self._server.open_connections:
            connection.abort()

    async def _with(self, values: dict[int, int]) -> None:
        self._set(FAIR | values)
        await self._a_while()
        self._set(FAIR)

    async def _a_while(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, TURN_S_MAX))

    def _set(self, values: dict[int, int]) -> None:
        self._server.settings = values
        for connection in self._server.open_connections:
            if not connection.closing and connection not in UNCOUNTED:
                connection.send_settings(values)


class Process:
    """The process: a wallet, its weather, and the lines in and out."""

    def __init__(self, server: FaultServer, wallet: HostileWallet, chance: random.Random) -> None:
        self._server = server
        self._wallet = wallet
        self._weather = Weather(server, chance)
        self._storm: asyncio.Task[None] | None = None
        self._calms = 0
        self._commands: dict[str, Callable[..., Any]] = {"storm": self._begin, "calm": self._end, "keys": self._want}

    async def run(self) -> None:
        """Obey and report until standard input ends."""
        _say({"url": self._server.url})
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        reports = asyncio.create_task(self._report())
        while line := await reader.readline():
            name, *values = line.decode().split()
            await self._commands[name](*values)
        await self._end()
        reports.cancel()

    async def _begin(self) -> None:
        self._storm = asyncio.create_task(self._weather.storm())

    async def _end(self) -> None:
        if self._storm is not None:
            self._storm.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._storm
            self._storm = None
        await self._weather.calm()
        self._calms += 1

    async def _want(self, key_version: str) -> None:
        self._wallet.key_version = int(key_version)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            server = self._server
            _say(
                {
                    "processed": server.processed,
                    "violations": [repr((error, *getattr(error, "__notes__", ()))) for error in server.client_errors],
                    "foreign": self._wallet.foreign,
                    "connections": server.connections,
                    "calms": self._calms,
                }
            )
            for record in (server.processed, server.client_errors, server.requests, server.resets, server.goaways):
                record.clear()
            self._wallet.forget({connection.number for connection in server.open_connections})


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


async def main(seed: str) -> None:
    """Serve until standard input ends."""
    wallet = HostileWallet()
    behaviour = recycle_after(REQUESTS_PER_CONNECTION, wallet)
    async with FaultServer(behaviour, settings=FAIR) as server:
        await Process(server, wallet, random.Random(seed)).run()  # noqa: S311 - reproducible is what it must be


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
