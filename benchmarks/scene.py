"""Where a run takes place: cores, folder, requests, the quick wallet, and one measured load of a row."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import contestants, h2load
from benchmarks.contestants import Placement, Row, Server, framed
from benchmarks.figures import Round
from benchmarks.procfs import Cores
from benchmarks.rows import ANSWER
from benchmarks.wallets import QuickWallet, quick_wallet
from bridge.process.scheduling import Policy
from bridge.sandbox.operations import TERMINATE_REQUEST
from wallet.v1.wallet_service_pb2 import TerminateRequest

METHOD = "/wallet.v1.WalletService/Terminate"
PATH = "/api/wallet/terminate"
IN_FLIGHT = 64
WARM_UP_CALLS = 500
CALLS_MIN = 256


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    rounds: int
    seconds: float
    """Of one load, at the pace of the row's warm-up."""


@dataclass(frozen=True)
class Scene:
    """What every measurement needs."""

    cores: Cores
    folder: Path
    wallet: QuickWallet
    effort: Effort

    @asynccontextmanager
    async def running(
        self,
        row: Row,
        wallet_url: str = "",
        settings: Mapping[str, str] | None = None,
        *,
        on_all_cores: bool = False,
        policy: Policy = "batch",
    ) -> AsyncIterator[Server]:
        """Run a row before a wallet, the quick one where none is named, on the server's core or on all."""
        cores = self.cores.server | self.cores.load if on_all_cores else self.cores.server
        placement, url = Placement(cores, policy), wallet_url or self.wallet.url
        async with contestants.running(row, url, self.folder, placement, settings) as server:
            yield server

    @property
    def steps_file(self) -> Path:
        """Where the bridge with timers writes its figures when it ends."""
        return self.folder / contestants.STEPS_FILE

    def grpc(self, server: Server) -> h2load.Target:
        """Return a row as the target of a load."""
        body = framed(TerminateRequest(**TERMINATE_REQUEST).SerializeToString())
        return h2load.Target(
            f"http://127.0.0.1:{server.port}{METHOD}",
            self._body_file("terminate.grpc", body),
            ("content-type: application/grpc", "te: trailers"),
            server.row.response_bytes,
        )

    def rest(self, wallet_url: str) -> h2load.Target:
        """Return a wallet as the target of a load, without anything between."""
        body = json.dumps(TERMINATE_REQUEST, separators=(",", ":")).encode()
        return h2load.Target(
            f"{wallet_url}{PATH}",
            self._body_file("terminate.json", body),
            ("content-type: application/json",),
            len(json.dumps(ANSWER)),
        )

    async def warm_up(self, server: Server, in_flight: int = IN_FLIGHT, connections: int = 0) -> float:
        """Load a row for a moment; return the calls per second that it can carry."""
        calls = max(WARM_UP_CALLS, in_flight)
        return (await h2load.closed_loop(self.grpc(server), calls, in_flight, self.folder, connections)).calls_per_s

    async def load(self, server: Server, calls_per_s: float, in_flight: int = IN_FLIGHT, connections: int = 0) -> Round:
        """Load a row at full pace for the run's time, and measure it. `calls_per_s`: what its warm-up came to."""
        calls = max(CALLS_MIN, in_flight, round(calls_per_s * self.effort.seconds))
        before, reached = server.cpu_time(), self.wallet.reached()
        sent = await h2load.closed_loop(self.grpc(server), calls, in_flight, self.folder, connections)
        spent = server.cpu_time() - before
        return Round(
            calls=sent.calls,
            ok=sent.ok,
            reached=self.wallet.reached() - reached - 1,  # the second count counts itself
            wrong=await server.wrong_of_sample(),
            cpu_us=spent.total_s / sent.calls * 1e6,
            system_us=spent.system_s / sent.calls * 1e6,
            calls_per_s=sent.calls_per_s,
            p50_ms=sent.latency_ms(0.5),
            p99_ms=sent.latency_ms(0.99),
            memory_mb=server.memory_mb(),
        )

    def _body_file(self, name: str, body: bytes) -> Path:
        file = self.folder / name
        if not file.exists():
            file.write_bytes(body)
        return file


@asynccontextmanager
async def a_scene(cores: Cores, effort: Effort) -> AsyncIterator[Scene]:
    """Run the quick wallet, with a folder for everything that is written, for as long as the context lasts."""
    with TemporaryDirectory(prefix="bridge-bench-") as name:
        async with quick_wallet(Path(name)) as wallet:
            yield Scene(cores, Path(name), wallet, effort)
