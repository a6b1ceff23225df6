"""Settlement of real processes: signals, workers, a real Redis, keys that change, and what files and logs hold."""

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest

from bridge.sandbox.behaviours import answer, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from bridge.settlement.entry import Entry, State
from bridge.settlement.open_store import store_at
from bridge.settlement.store import Store
from tests.support.canaries import found_in
from tests.support.metrics_page import get
from tests.support.ports import reserved_address
from tests.support.processes import Command, bridge_command
from tests.support.redis_server import needs_redis, redis_server
from tests.support.settings_files import PRIVATE_KEY
from tests.support.whole_path import end_of, environment, terminate_request
from wallet.v1.wallet_error_pb2 import SETTLEMENT_PENDING
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

PATIENCE_S = 300.0
OLD, NEW = (base64.b64encode(bytes(range(first, first + 32))).decode() for first in (0, 100))
HTML = (("content-type", "text/html"),)

pytestmark = pytest.mark.timeout(900)


class Wallet:
    """A wallet whose gateway fails until it is well; the calls before have an unknown outcome."""

    def __init__(self) -> None:
        self.is_well = False

    async def __call__(self, stream: Stream) -> None:
        """Answer late enough that what is written before a call is sent has been written."""
        if self.is_well:
            await terminated(stream)
        else:
            await stream.pause(0.5)
            await answer(502, b"<html>", HTML)(stream)


@dataclass
class Place:
    """A store, a key file and a wallet, which bridges come and go before."""

    folder: Path
    url: str
    server: FaultServer
    wallet: Wallet
    store: Store

    @property
    def key_file(self) -> Path:
        """The keys of settlement."""
        return self.folder / "settlement.key"

    @asynccontextmanager
    async def bridge(self, settings: Mapping[str, str] | None = None) -> AsyncIterator["Running"]:
        """Run `bridge serve` until it serves."""
        section = {
            "SETTLEMENT__STORE": self.url,
            "SETTLEMENT__KEY_FILE": str(self.key_file),
            "SETTLEMENT__DURABILITY": "before",
        }
        environ = environment(self.server.url, {**section, **(settings or {})})
        async with bridge_command("serve", environ=environ) as command:
            line = await command.line('"serving"')
            yield Running(command, json.loads(line)["address"])

    async def entries(self) -> tuple[Entry, ...]:
        """Return what the store holds, newest first."""
        return (await self.store.page(1000)).entries

    async def until_settled(self) -> tuple[Entry, ...]:
        """Wait until every entry is SETTLED; return them."""
        async with asyncio.timeout(PATIENCE_S):
            while waiting := [entry for entry in await self.entries() if entry.state is not State.SETTLED]:
                for entry in waiting:
                    if not entry.is_leased:  # its backoff ends, as by `bridge settlement retry`
                        await self.store.retry(entry.entry_id)
                await asyncio.sleep(0.2)
        return await self.entries()

    async def end_leases(self) -> None:
        """Let the leases end of bridges that are gone, which lasts 30 s."""
        for entry in await self.entries():
            if entry.is_leased:
                await self.store.renew(entry.entry_id, entry.fence, 0.0)


@dataclass
class Running:
    """A bridge that serves."""

    command: Command
    address: str

    async def pending(self, *names: str) -> list[str]:
        """Call until one call for each name was answered PENDING; return their tokens."""
        tokens = []
        async with asyncio.timeout(PATIENCE_S):
            for name in names:
                number = 0
                while not await self._is_pending(f"{name}-{number}"):
                    number += 1
                tokens.append(f"{name}-{number}")
        return tokens

    async def _is_pending(self, token: str) -> bool:
        # A connection of its own, so that workers share the calls.
        options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            end = await end_of(WalletServiceStub(channel).Terminate(terminate_request(token)))
        return bool(end.wallet_error.settlement == SETTLEMENT_PENDING)


@asynccontextmanager
async def place_in(folder: Path, kind: str, *options: str) -> AsyncIterator[Place]:
    """Give a place with this kind of store."""
    async with AsyncExitStack() as stack:
        url = f"sqlite://{folder}/settlement.db"
        if kind == "redis":
            url = stack.enter_context(redis_server(folder, *options))
        wallet = Wallet()
        server = await stack.enter_async_context(FaultServer(wallet))
        store = store_at(url)
        stack.push_async_callback(store.close)
        place = Place(folder, url, server, wallet, store)
        place.key_file.write_text(f"{OLD}\n")
        yield place


STORES = pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=needs_redis)])


@STORES
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.short("SIGKILL-sqlite")
async def test_another_bridge_finishes_what_one_has_begun(short_path: Path, kind: str, number: signal.Signals) -> None:
    """The bridge that answered PENDING is gone: the next one on the store has the wallet confirm each token."""
    async with place_in(short_path, kind) as place:
        async with place.bridge() as first:
            tokens = await first.pending("a", "b", "c")
            first.command.process.send_signal(number)
            assert await first.command.end() == (0 if number is signal.SIGTERM else -number)
        if number is signal.SIGTERM:
            assert not any(entry.is_leased for entry in await place.entries())
        await place.end_leases()
        place.wallet.is_well = True
        async with place.bridge():
            await place.until_settled()
        assert set(tokens) <= set(place.server.processed)


@STORES
@pytest.mark.short("sqlite")
async def test_workers_share_a_store(short_path: Path, kind: str) -> None:
    """Each entry is confirmed by the wallet once, whichever worker answered its call and whichever takes it."""
    async with place_in(short_path, kind) as place, place.bridge({"SERVER__WORKERS": "2"}) as bridge:
        tokens = await bridge.pending(*"abcdef")
        place.wallet.is_well = True
        entries = await place.until_settled()
        assert set(tokens) <= set(place.server.processed)
        assert len(place.server.processed) == len(set(place.server.processed)) == len(entries)


@pytest.mark.long
async def test_keys_are_replaced_while_the_bridge_runs(short_path: Path) -> None:
    """New calls are encrypted with the new first key at SIGHUP; entries under the old one are still decrypted."""
    async with place_in(short_path, "sqlite") as place, place.bridge() as bridge:
        await bridge.pending("old")
        (old,) = {entry.key_id for entry in await place.entries()}
        place.key_file.write_text(f"{NEW}\n{OLD}\n")
        bridge.command.process.send_signal(signal.SIGHUP)
        line = await bridge.command.line('"reloaded"', "settlement.key_file")
        assert OLD not in line
        await bridge.pending("new")
        key_ids = [entry.key_id for entry in await place.entries()]
        assert key_ids[-1] == old != key_ids[0]
        place.wallet.is_well = True
        assert {entry.key_id for entry in await place.until_settled()} == set(key_ids)


@STORES
@pytest.mark.long
async def test_files_log_and_metrics_hold_no_secret(short_path: Path, kind: str) -> None:
    """Neither token, body, signature nor key, raw, in hex or base64, while an entry is PENDING and afterwards."""
    options = ("--appendonly", "yes", "--save", "1 1")
    with reserved_address() as metrics:
        async with place_in(short_path, kind, *options) as place:
            settings = {"TELEMETRY__METRICS_LISTEN": metrics, "TELEMETRY__LOG_LEVEL": "debug"}
            async with place.bridge(settings) as bridge:
                (token,) = await bridge.pending("canary-of-a-token")
                said = _files(place) + (await asyncio.to_thread(get, metrics))[1].encode()
                place.wallet.is_well = True
                await place.until_settled()
                said += _files(place) + (await asyncio.to_thread(get, metrics))[1].encode()
                bridge.command.process.terminate()
                assert await bridge.command.end() == 0
            said += bridge.command.output.encode()
            requests = [request for request in place.server.requests if request.token == token]
        said += _files(place)
    signatures = {request.header("x-request-signature") or "" for request in requests}
    bodies = {request.body.decode() for request in requests}
    assert signatures - {""}
    assert b"wallet_bridge_settlement_entries" in said
    assert b'"settlement changed"' in said
    assert found_in(said, {token, PRIVATE_KEY, OLD, *signatures, *bodies}) == []
    assert bytes(range(32)) not in said
    assert bytes(range(32)).hex().encode() not in said


def _files(place: Place) -> bytes:
    """Return the contents of all files of the store."""
    files = [file for file in place.folder.rglob("*") if file.is_file() and file != place.key_file]
    assert files
    return b"".join(file.read_bytes() for file in files)
