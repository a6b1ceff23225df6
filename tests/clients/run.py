"""Run the same cases with the sample of every language, against a bridge and its sandbox, and compare what they print.

    python -m tests.clients.run           every language whose toolchain is here; says which are missing
    python -m tests.clients.run --all     the same, and a missing toolchain is a failure
    python -m tests.clients.run go java   only these

What each must print is expected.txt, byte for byte, so that all are equal. How many POSTs a case may cause stands in
cases.json and is counted at the wallet's stand-ins: that is how a retry that was not asked for would be seen.

edges.json has what takes time, with expected_edges.txt: the libraries at the limits of their settings. Each of these
cases runs in a process of its own, after a call that is not timed: those whose deadline counts by the millisecond come
first, then the short ones, then, of all languages at once, the long ones, which mostly wait.
"""

import asyncio
import difflib
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "generated" / "python"), str(ROOT)]

from bridge import __version__  # noqa: E402 -- after the path is set: a script brings only its own folder
from tests.clients.stand_ins import WALLETS, bridges  # noqa: E402 -- likewise

CONFIGS = {
    "shipped": ROOT / "generated" / "service_config.json",
    "careless": HERE / "careless_service_config.json",
    "none": HERE / "no_service_config.json",
}
EXPECTED = HERE / "expected.txt"
EXPECTED_EDGES = HERE / "expected_edges.txt"
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
    "deadlineMs": 20_000,
    # Go and Java make at least 10 s of it.
    "keepaliveMs": 10_000,
    # A call before, whose end is not printed, with this token; then this long nothing; then the case's calls in turn.
    "warm": False,
    "idleMs": 0,
    "calls": 1,
    # How many of the calls must end as expected; None: all. The others may only be too late for their details.
    "atLeast": None,
    # Of edges: what runs at the same time.
    "group": "short",
}
WARM_TOKEN = "warm"
TOO_LATE = """DEADLINE_EXCEEDED  outcome=OUTCOME_UNSPECIFIED code=- http_status=0 attempts=0
   domain=- cause=- retry_after_ms=- request_id=- call_id=-
-> CHECK
"""
"""What a sample prints of a call whose deadline its library has ended by itself."""
# A bridge whose health says NOT_SERVING still serves: a call arrives exactly if the library does not ask for health.
DRAINING_CASE = CASE_DEFAULTS | {"name": "health", "bridge": "draining", "token": "while-draining"}
# A build downloads what it needs at its first time.
BUILD_TIMEOUT_S = 1200
RUN_TIMEOUT_S = 150

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


NODE = f"{HERE}/node"
NODE_PACKAGE = f"wallet-bridge-{__version__}.tgz"
JAVA_TARGET = f"{HERE}/java/sample/target"
CLIENTS = {
    "python": Client((), (), (sys.executable, f"{HERE}/python/main.py")),
    "go": Client(
        ("go",), (("go", "-C", f"{HERE}/go", "build", "-o", "target/terminate", "."),), (f"{HERE}/go/target/terminate",)
    ),
    "node": Client(
        ("node", "npm"),
        (
            ("npm", "--prefix", NODE, "ci", "--silent", "--ignore-scripts"),
            # As a registry would give it: a link would look for its dependencies where it lies.
            ("npm", "pack", "--silent", "--pack-destination", NODE, f"{ROOT}/generated/node"),
            ("npm", "--prefix", NODE, "install", "--silent", "--no-save", "--ignore-scripts", f"{NODE}/{NODE_PACKAGE}"),
            ("npm", "--prefix", NODE, "run", "--silent", "build"),
        ),
        ("node", f"{NODE}/target/main.js"),
        asks_health=False,
    ),
    "java": Client(
        ("java", "mvn"),
        (("mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", f"{HERE}/java/pom.xml", "package"),),
        ("java", "-cp", f"{JAVA_TARGET}/classes:{JAVA_TARGET}/dependencies/*", "wallet.sample.Main"),
    ),
}


class ClientsError(Exception):
    """A sample could not be built, or did other than it must. The text says which and what."""


def cases() -> list[Case]:
    """Return the cases with what they leave out filled in."""
    return _cases("cases.json")


def edges(group: str) -> list[Case]:
    """Return the cases at the libraries' limits, likewise; each is made on a warm channel."""
    return [{**case, "warm": True} for case in _cases("edges.json") if case["group"] == group]


def _cases(name: str) -> list[Case]:
    return [CASE_DEFAULTS | case for case in json.loads((HERE / name).read_text())]


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
    async with bridges() as (addresses, posts):
        return await printed_by(client, addresses, todo), posts.count()


async def observe_edges(client: Client, todo: Sequence[Case]) -> tuple[str, Counter[tuple[str, str]]]:
    """Do the same with a process for each case, all at once."""
    async with bridges() as (addresses, posts):
        printed = await asyncio.gather(*(printed_by(client, addresses, [case]) for case in todo))
        return "".join(map(in_time_or_not, todo, printed)), posts.count()


def in_time_or_not(case: Case, block: str) -> str:
    """Return what a case has printed, without those calls that may be too late for their details on a busy machine."""
    late = re.search(rf"(\d+) x {re.escape(TOO_LATE)}", block)
    if case["atLeast"] is None or late is None or case["calls"] - int(late[1]) < case["atLeast"]:
        return block
    in_time = case["calls"] - int(late[1])
    return block.replace(late[0], "").replace(f"{in_time} x ", f"{case['calls']} x ")


async def printed_by(client: Client, addresses: Mapping[str, str], todo: Sequence[Case]) -> str:
    """Run a sample with these cases before these bridges and return what it prints."""
    with tempfile.TemporaryDirectory() as scratch:
        write_inputs(Path(scratch), addresses, todo)
        return await execute((*client.run, scratch), RUN_TIMEOUT_S)


def wanted_posts(todo: Sequence[Case]) -> Counter[tuple[str, str]]:
    """Return the POSTs that these cases cause together, by the wallet's stand-in and token."""
    wanted: Counter[tuple[str, str]] = Counter()
    for case in todo:
        wanted[WALLETS.get(case["bridge"], "wallet"), case["token"]] += case["posts"]
        wanted["wallet", WARM_TOKEN] += case["warm"]
    return +wanted


def expected_edges(todo: Sequence[Case]) -> str:
    """Return what a sample must print of these edges."""
    blocks = {block.partition("\n")[0]: f"# {block}" for block in EXPECTED_EDGES.read_text().split("# ")[1:]}
    return "".join(blocks[case["name"]] for case in todo)


def objections(
    printed: str, posts: Counter[tuple[str, str]], wanted: str | None = None, todo: Sequence[Case] | None = None
) -> str:
    """Say in what a run of these cases (None: those of cases.json) differs from what it must be; "" when in nothing."""
    wanted = EXPECTED.read_text() if wanted is None else wanted
    lines = list(difflib.unified_diff(wanted.splitlines(), printed.splitlines(), "expected", "printed", lineterm=""))
    if printed != wanted and not lines:
        lines = ["the ends of lines differ from what is expected"]
    must = wanted_posts(cases() if todo is None else todo)
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


async def check_edges(group: str, name: str) -> None:
    """Run a sample that is built at these edges; ClientsError when it is not as it must be."""
    todo = edges(group)
    if why := objections(*await observe_edges(CLIENTS[name], todo), expected_edges(todo), todo):
        raise ClientsError(why)


async def is_as_it_must_be(name: str, check: Callable[[str], Awaitable[None]], what: str) -> bool:
    """Make one check of one sample and print how it ended."""
    try:
        await check(name)
    except ClientsError as error:
        print(f"{name:<8}FAILED\n{error}", flush=True)
        return False
    print(f"{name:<8}ok: {what}", flush=True)
    return True


def what_was_checked(client: Client) -> str:
    """Return what a sample has done when its cases are as they must be."""
    health = "health asked" if client.asks_health else "its library does not ask for health"
    return f"{len(cases())} cases as in expected.txt, no POST too many, {health}"


async def main(arguments: Sequence[str]) -> int:
    """Check the samples that are asked for; return the exit code."""
    names = [name for name in arguments if name != "--all"] or list(CLIENTS)
    missing = {name: CLIENTS[name].absent for name in names if CLIENTS[name].absent}
    for name, programs in missing.items():
        print(f"{name:<8}left out: {programs} not found on PATH", flush=True)
    present = [name for name in names if name not in missing]
    good = [name for name in present if await is_as_it_must_be(name, check, what_was_checked(CLIENTS[name]))]
    for group, what in (("timed", "details in time"), ("short", "no deadline cut short, old connections harm no call")):
        good = [name for name in good if await is_as_it_must_be(name, partial(check_edges, group), what)]
    long, what = partial(check_edges, "long"), "keepalive harms no call, details in time after 10 s"
    ends = await asyncio.gather(*(is_as_it_must_be(name, long, what) for name in good))
    return int(good != present or not all(ends) or (bool(missing) and "--all" in arguments))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
