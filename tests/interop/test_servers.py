"""Every real server that is installed, every row, checked by the wallet's own log."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from bridge.sandbox.server import bound_socket
from tests.interop import ledger, rows
from tests.interop.calls import Ended, Terminate, bridge_process
from tests.interop.choice import chosen, is_quick
from tests.interop.matrix import Line, Matrix
from tests.interop.running import Processes, StartError, running
from tests.interop.server import H2C, TRANSPORTS, Server
from tests.interop.site import IDLE_SHORT_S, Site, Tls
from tests.interop.tally import tally

EXPIRING_S = 3.0 if is_quick() else 6.0
IDLE_ROUNDS = 2 if is_quick() else 4
MINUTES_MAX = 5
Made = dict[str, Sequence[Ended] | Exception]
"""A row's calls, by the row's name; an error where it broke off."""


def _prepared(folder: Path) -> Path:
    """Make a folder with an empty ledger, and return the ledger."""
    folder.mkdir()
    book = folder / "ledger"
    book.touch()
    return book


@asynccontextmanager
async def site_of(folder: Path, tls: Tls | None) -> AsyncIterator[Site]:
    """Reserve ports for a server, and give it a folder with an empty ledger."""
    book = _prepared(folder)
    # Bound and not listening: no other process gets them.
    sockets = [bound_socket() for _ in range(3)]
    ports = [each.getsockname()[1] for each in sockets]
    try:
        yield Site(folder, ports[0], ports[1], ports[2], book, tls)
    finally:
        for each in sockets:
            each.close()


async def attempt(made: Made, row: str, prefix: str, calls: Callable[[str], Awaitable[Sequence[Ended]]]) -> None:
    """Run a row; keep what it made, or why it broke off: the other rows run all the same."""
    try:
        made[row] = await calls(f"{prefix}-{row.replace(' ', '-')}")
    except (AssertionError, ConnectionError, EOFError, StartError, ExceptionGroup) as error:
        made[row] = error


class Run:
    """All rows of one server over one transport."""

    def __init__(self, server: Server, site: Site, settings: dict[str, str]) -> None:
        self._server = server
        self._site = site
        self._settings = settings
        self._prefix = f"t{site.port}"
        self.made: Made = {}

    async def all(self) -> None:
        """Run what is not left out."""
        try:
            async with (
                running(self._server.programs(self._site), self._site.folder, self._site.port) as processes,
                bridge_process(self._site.url, self._settings) as terminate,
            ):
                await self._usual(processes, terminate)
        except StartError as error:
            self.made["one call"] = error
        await self._special("idle close", partial(replace, idle_s=IDLE_SHORT_S), self._idle)
        await self._special("odd SETTINGS", partial(replace, is_odd=True), self._odd)

    async def _usual(self, processes: Processes, terminate: Terminate) -> None:
        reload = partial(self._server.reload, processes, self._site)
        todo: dict[str, Callable[[str], Awaitable[Sequence[Ended]]]] = {
            "one call": partial(rows.one, terminate),
            "load": partial(rows.many, terminate),
            "reload under load": partial(rows.reloading, terminate, reload=reload),
            "expiring": partial(rows.expiring, terminate, seconds=EXPIRING_S),
        }
        for row, calls in todo.items():
            if not self._is_left_out(row):
                await attempt(self.made, row, self._prefix, calls)

    async def _special(
        self, row: str, change: Callable[[Site], Site], calls: Callable[[Site, str], Awaitable[Sequence[Ended]]]
    ) -> None:
        if self._is_left_out(row):
            return
        async with site_of(self._site.folder / row.split(maxsplit=1)[0], self._site.tls) as own:
            site = change(replace(own, ledger=self._site.ledger))

            async def started(prefix: str) -> Sequence[Ended]:
                async with running(self._server.programs(site), site.folder, site.port):
                    return await calls(site, prefix)

            await attempt(self.made, row, self._prefix, started)

    async def _idle(self, site: Site, prefix: str) -> Sequence[Ended]:
        return await rows.idling(site, self._settings, prefix, IDLE_ROUNDS)

    async def _odd(self, site: Site, prefix: str) -> Sequence[Ended]:
        return await rows.odd(site, self._settings, prefix)

    def _is_left_out(self, row: str) -> bool:
        return row in self._server.left_out

    def lines(self, transport: str) -> Sequence[Line]:
        """Check what was made. The servers have ended: what was on its way to the wallet is in its log or lost."""
        book = ledger.read(self._site.ledger)
        return [self._line(transport, row, made, book) for row, made in self.made.items()] + [
            Line(self._server.name, transport, row, left_out=why) for row, why in self._server.left_out.items()
        ]

    def _line(self, transport: str, row: str, made: Sequence[Ended] | Exception, book: ledger.Ledger) -> Line:
        if isinstance(made, Exception):
            return Line(
                self._server.name,
                transport,
                row,
                broken=" ".join(f"{type(made).__name__}: {made}".replace("|", "/").split())[-400:],
            )
        return Line(self._server.name, transport, row, tally(made, book))


@pytest.mark.timeout(60 * MINUTES_MAX)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("server", [pytest.param(server, id=server.name) for server in chosen()])
async def test_server(server: Server, transport: str, matrix: Matrix, tls: Tls, tmp_path: Path) -> None:
    """No call is made twice, reported wrong or changed on the way; those that fail do so by the server's own right."""
    if why := server.missing():
        matrix.missing[server.name] = why
        assert "CI" not in os.environ, why
        pytest.skip(why)
    matrix.versions[server.name] = f"{server.version()} ({datetime.now(UTC):%Y-%m-%d})"
    async with site_of(tmp_path / "site", None if transport == H2C else tls) as site:
        run = Run(server, site, {"WALLET__CA_FILE": str(tls.ca_file)})
        async with asyncio.timeout(60 * MINUTES_MAX - 10):
            await run.all()
        lines = run.lines(transport)
    matrix.lines += lines
    assert [(line.row, line.remark, line.tally and line.tally.seen) for line in lines if not line.is_good] == []
