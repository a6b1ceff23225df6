"""Run the same cases with the sample of every language, against a bridge and its sandbox, and compare what they print.

    python tests/clients/run.py           every language whose toolchain is here; says which are missing
    python tests/clients/run.py --all     the same, and a missing toolchain is a failure
    python tests/clients/run.py go java   only these

What each must print is expected.txt, byte for byte, so that all are equal. How many POSTs a case may cause stands in
cases.json and is counted at the wallet's stand-ins: that is how a repeat that nobody asked for would be seen.
"""

import asyncio
import difflib
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "generated" / "python"), str(ROOT)]

from h2.errors import ErrorCodes  # noqa: E402 -- after the path is set: a script brings only its own folder

from bridge import sandbox  # noqa: E402 -- likewise
from bridge.config import load  # noqa: E402 -- likewise
from bridge.server import BridgeServer, running  # noqa: E402 -- likewise
from faults.behaviours import reset_with  # noqa: E402 -- likewise
from faults.server import FaultServer, bound_socket  # noqa: E402 -- likewise
from whole_path import environment  # noqa: E402 -- likewise

CONFIGS = {
    "shipped": ROOT / "generated" / "service_config.json",
    "careless": HERE / "careless_service_config.json",
    "none": HERE / "no_service_config.json",
}
EXPECTED = HERE / "expected.txt"
CASE_DEFAULTS = {
    "bridge": "wallet",
    "config": "shipped",
    "token": "3dc8fe01-2018-486e-9632-35aef21028a5",
    "playerId": "1",
    "siteId": "1",
    "providerId": "1",
    "gameId": "example",
    "currency": "EUR",
    # The caller's own id of the call; "" for none.
    "requestId": "",
    # No case but those of a deadline comes near it.
    "deadlineMs": 4500,
}
# A bridge whose health says NOT_SERVING still serves: a call arrives exactly if the library does not ask for health.
DRAINING_CASE = CASE_DEFAULTS | {"name": "health", "bridge": "draining", "token": "while-draining"}
# A build downloads what it needs at its first time.
BUILD_TIMEOUT_S = 1200
RUN_TIMEOUT_S = 120

Case = Mapping[str, Any]
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """The sample in one language."""

    needs: Command
    """Programs that must be on PATH."""
    build: tuple[Command, ...]
    """What makes it, from a clean checkout."""
    run: Command
    """What runs it; the folder with the cases is added."""
    asks_health: bool = True
    """Its gRPC library heeds `healthCheckConfig`."""

    @property
    def absent(self) -> str:
        """Which programs are missing; "" when it can run."""
        return ", ".join(program for program in self.needs if shutil.which(program) is None)


JAVA_TARGET = f"{HERE}/java/sample/target"
CLIENTS = {
    "python": Client((), (), (sys.executable, f"{HERE}/python/main.py")),
    "go": Client(
        ("go",),
        (("go", "-C", f"{HERE}/go", "build", "-o", "target/terminate", "."),),
        (f"{HERE}/go/target/terminate",),
    ),
    "node": Client(
        ("node", "npm"),
        (
            ("npm", "--prefix", f"{HERE}/node", "ci", "--silent"),
            ("npm", "--prefix", f"{HERE}/node", "run", "--silent", "build"),
        ),
        ("node", f"{HERE}/node/target/main.js"),
        asks_health=False,
    ),
    "java": Client(
        ("java", "mvn"),
        (("mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", f"{HERE}/java/pom.xml", "package"),),
        ("java", "-cp", f"{JAVA_TARGET}/classes:{JAVA_TARGET}/dependencies/*", "wallet.sample.Main"),
    ),
}


WALLETS = {"refusing": "refusing", "unreachable": "nobody"}
"""What stands behind a bridge, by the bridge's name; behind any other the sandbox."""

SETTINGS: Mapping[str, Mapping[str, str]] = {
    # It gives up long before its caller does, so that its words arrive on a busy machine too.
    "impatient": {"WALLET__DEADLINE_DEFAULT_S": "0.5", "WALLET__DEADLINE_MAX_S": "0.5"}
}
"""Of those bridges that are not as by default."""


class ClientsError(Exception):
    """A sample could not be built, or did other than it must. The text says which and what."""


def cases() -> list[Case]:
    """Return the cases with what they leave out filled in."""
    return [CASE_DEFAULTS | case for case in json.loads((HERE / "cases.json").read_text())]


@dataclass(frozen=True, slots=True)
class Posts:
    """What reached the wallet's stand-ins, counted by their name and token."""

    count: Callable[[], Counter[tuple[str, str]]]


@asynccontextmanager
async def bridges() -> AsyncIterator[tuple[Mapping[str, str], Posts]]:
    """Run bridges before the sandbox, one before a wallet that refuses every stream, and one before nothing."""
    async with AsyncExitStack() as stack:
        wallet = await stack.enter_async_context(sandbox.serve())
        refusing = await stack.enter_async_context(FaultServer(reset_with(ErrorCodes.REFUSED_STREAM)))
        # Bound and not listening: connecting is refused, and nobody else can take the port.
        nobody = stack.enter_context(bound_socket())
        urls = {"wallet": wallet.url, "refusing": refusing.url}
        urls["unreachable"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        urls |= {"draining": wallet.url, "impatient": wallet.url}
        servers = {
            name: await stack.enter_async_context(running(load(None, environment(url, SETTINGS.get(name, {})))))
            for name, url in urls.items()
        }
        await stack.enter_async_context(draining(servers["draining"]))

        def count() -> Counter[tuple[str, str]]:
            seen = Counter(("wallet", received.token or "") for received in wallet.received)
            return seen + Counter(("refusing", request.token) for request in refusing.requests)

        yield {name: server.address for name, server in servers.items()}, Posts(count)


@asynccontextmanager
async def draining(bridge: BridgeServer) -> AsyncIterator[None]:
    """Hold a bridge in the first step of its drain: health says NOT_SERVING, calls are still served."""
    drain = asyncio.create_task(bridge.drain(BUILD_TIMEOUT_S))
    try:
        yield
    finally:
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)


def write_inputs(folder: Path, addresses: Mapping[str, str], todo: Sequence[Case]) -> None:
    """Write what a sample reads."""
    (folder / "cases.json").write_text(json.dumps(todo))
    (folder / "bridges.json").write_text(json.dumps(addresses))
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(config.read_text())


async def execute(command: Command, timeout_s: float) -> str:
    """Run a command to its end and return its standard output; ClientsError when it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ClientsError(f"`{' '.join(command)}` did not end within {timeout_s:.0f} s") from None
    if process.returncode:
        raise ClientsError(f"`{' '.join(command)}` ended with {process.returncode}:\n{output.decode()}")
    return output.decode()


async def observe(client: Client, todo: Sequence[Case]) -> tuple[str, Counter[tuple[str, str]]]:
    """Run a sample on its own bridges; return what it printed and the POSTs that it caused."""
    with tempfile.TemporaryDirectory() as scratch:
        async with bridges() as (addresses, posts):
            write_inputs(Path(scratch), addresses, todo)
            printed = await execute((*client.run, scratch), RUN_TIMEOUT_S)
            return printed, posts.count()


def wanted_posts(todo: Sequence[Case]) -> Counter[tuple[str, str]]:
    """Return the POSTs that these cases cause together, by the wallet's stand-in and token."""
    wanted: Counter[tuple[str, str]] = Counter()
    for case in todo:
        wanted[WALLETS.get(case["bridge"], "wallet"), case["token"]] += case["posts"]
    return +wanted


def objections(printed: str, posts: Counter[tuple[str, str]]) -> str:
    """Say in what a run differs from what it must be; "" when in nothing."""
    wanted = EXPECTED.read_text()
    lines = list(
        difflib.unified_diff(wanted.splitlines(), printed.splitlines(), "expected.txt", "printed", lineterm="")
    )
    if printed != wanted and not lines:
        lines = ["the ends of lines differ from expected.txt"]
    must = wanted_posts(cases())
    lines += [
        f"POSTs of {token} at {bridge}: {posts[bridge, token]}, wanted {must[bridge, token]}"
        for bridge, token in sorted(must.keys() | posts.keys())
        if posts[bridge, token] != must[bridge, token]
    ]
    return "\n".join(lines)


async def check(name: str) -> None:
    """Build and run one sample; ClientsError when it cannot be built or is not as it must be."""
    client = CLIENTS[name]
    for command in client.build:
        await execute(command, BUILD_TIMEOUT_S)
    if why := objections(*await observe(client, cases())):
        raise ClientsError(why)
    _, posts = await observe(client, [DRAINING_CASE])
    if bool(posts) is client.asks_health:
        raise ClientsError(f"healthCheckConfig: {posts.total()} calls reached a bridge that says NOT_SERVING")


async def main(arguments: Sequence[str]) -> int:
    """Check the samples that are asked for; return the exit code."""
    names = [name for name in arguments if name != "--all"] or list(CLIENTS)
    failed = False
    for name in names:
        if missing := CLIENTS[name].absent:
            print(f"{name:<8}left out: {missing} not found on PATH", flush=True)
            failed |= "--all" in arguments
            continue
        try:
            await check(name)
        except ClientsError as error:
            print(f"{name:<8}FAILED\n{error}", flush=True)
            failed = True
        else:
            health = "health asked" if CLIENTS[name].asks_health else "its library does not ask for health"
            print(f"{name:<8}ok: {len(cases())} cases as in expected.txt, no POST too many, {health}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
