"""Keys that change while a bridge serves: no call fails, whichever side switches first; bad files do no harm."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.events import CallEnded, Reloaded, ReloadFailed
from bridge.sandbox.behaviours import answer, hang, sequence, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from bridge.telemetry.fan_out import fan_out
from tests.support.busy_bridge import Load
from tests.support.engines import on_both_engines
from tests.support.reported import Log, Reported, loggers_put_back
from tests.support.rotating_wallet import FILES, NEW, OLD, OTHER, REFUSED, Keys, in_files
from tests.support.whole_path import PATIENCE_S, Caller, Failure, bridge_to

pytestmark = on_both_engines

LOOK_S = 0.005
"""How often the bridge looks at its files."""
AUTH_REJECTED = ("INTERNAL", "WALLET_AUTH_REJECTED", "REJECTED", 401, 9401, "no", "r")


class RotatingWallet:
    """A behaviour that asks `wanted`, a set of keys that may change at any time."""

    def __init__(self, *wanted: Keys, then: Behaviour = terminated) -> None:
        self.wanted = set(wanted)
        self._then = then

    async def __call__(self, stream: Stream) -> None:
        """Carry out what is signed with wanted keys; refuse anything else."""
        is_wanted = any(keys.signed(stream.request) for keys in self.wanted)
        await (self._then if is_wanted else REFUSED)(stream)


@dataclass
class Change:
    """A bridge with its keys in files, before a wallet that accepts certain keys."""

    folder: Path
    wanted: RotatingWallet = field(default_factory=lambda: RotatingWallet(OLD))
    listener: Reported = field(default_factory=Reported)
    written: Keys = OLD
    wallet: FaultServer = field(init=False)
    caller: Caller = field(init=False)

    async def write(self, keys: Keys) -> None:
        """Write these keys into the bridge's files, and wait until it has taken them up."""
        changed = [name for name in FILES if getattr(keys, name) != getattr(self.written, name)]
        keys.write(self.folder)
        self.written = keys
        reloaded = [Reloaded(f"wallet.providers.1.{name}_file") for name in changed]
        assert await self.listener.reports(len(changed)) == reloaded

    async def want(self, *keys: Keys) -> None:
        """Let the wallet want these keys, any of them, and no other."""
        self.wanted.wanted = {*keys}

    async def calls(self, requests: int) -> None:
        """Make a call that must succeed with so many requests to the wallet, and must report that many attempts."""
        before = len(self.wallet.requests)
        assert (await self.caller.terminate()).code == "OK"
        assert len(self.wallet.requests) - before == requests
        ended = [event for event in self.listener.events if isinstance(event, CallEnded)]
        assert ended[-1].attempts == requests


@pytest.fixture
def settings() -> dict[str, str]:
    """Give no settings; a test that is parametrized by this name has others."""
    return {}


@pytest.fixture
async def change(tmp_path: Path, settings: dict[str, str]) -> AsyncIterator[Change]:
    """Run a bridge and a wallet with the old keys."""
    OLD.write(tmp_path)
    change = Change(tmp_path)
    async with (
        FaultServer(change.wanted) as change.wallet,
        bridge_to(
            change.wallet.url, {**settings, **in_files(tmp_path)}, emit=change.listener, watch_interval_s=LOOK_S
        ) as change.caller,
    ):
        yield change


Move = Callable[[Change], Awaitable[None]]


def write(keys: Keys) -> Move:
    """Change the bridge's files."""
    return lambda change: change.write(keys)


def want(*keys: Keys) -> Move:
    """Change what the wallet accepts."""
    return lambda change: change.want(*keys)


COURSES: dict[str, Sequence[Move]] = {
    "the bridge first": [write(NEW), want(NEW)],
    "the wallet first, which takes both for a while": [want(OLD, NEW), write(NEW), want(NEW)],
    "taken back by the bridge": [write(NEW), write(OLD)],
    "taken back by the wallet, then by the bridge": [write(NEW), want(NEW), want(OLD), write(OLD)],
    "wrong keys, then the right ones": [write(OTHER), write(NEW), want(NEW)],
    "one key after the other": [write(Keys(NEW.access_key, OLD.private_key)), write(NEW), want(NEW)],
    "twice": [write(NEW), want(NEW), write(OTHER), want(OTHER)],
}


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
@pytest.mark.short(
    "grpcio-the bridge first",
    "grpcio-the wallet first, which takes both for a while",
    "grpcio-taken back by the wallet, then by the bridge",
    "native-wrong keys, then the right ones",
)
async def test_no_call_fails(change: Change, course: Sequence[Move]) -> None:
    """While twelve callers call, keys change on both sides: every call is OK, and every token is processed once."""
    async with Load.running(change.caller) as load:
        for move in course:
            await move(change)
            await load.goes_on()
    assert load.ends == {"OK": len(load.tokens)}
    assert Counter(change.wallet.processed) == Counter(load.tokens)
    # What both sides have agreed on is what the next call is signed with.
    await change.calls(requests=1)


async def test_the_wallets_answers_decide(change: Change) -> None:
    """One call finds out which keys the wallet accepts; those after it are signed with them at once."""
    await change.calls(requests=1)
    await change.write(NEW)
    await change.calls(requests=2)
    await change.calls(requests=1)
    await change.want(NEW)
    await change.calls(requests=2)
    await change.calls(requests=1)


async def test_only_the_keys_differ(change: Change) -> None:
    """What is sent again is the same body to the same path, with the headers that prove who asks made again."""
    await change.write(NEW)
    await change.calls(requests=2)
    first, second = change.wallet.requests
    assert first.body == second.body
    differing = {name for (name, value), other in zip(first.headers, second.headers, strict=True) if value != other[1]}
    assert differing == {"authorization", "x-request-signature"}


async def test_a_call_that_was_signed_before(change: Change) -> None:
    """A call signed with the old keys, before the bridge has new ones, that meets a wallet that has: still OK."""
    may_check = asyncio.Event()

    async def check_late(stream: Stream) -> None:
        await may_check.wait()
        await change.wanted(stream)

    change.wallet.behaviour = check_late
    call = asyncio.create_task(change.caller.terminate())
    await change.wallet.until(lambda: len(change.wallet.requests) == 1)
    await change.write(NEW)
    await change.want(NEW)
    may_check.set()
    assert (await call).code == "OK"
    assert len(change.wallet.requests) == 2


async def test_rejected_with_all_keys(change: Change) -> None:
    """With two key versions, neither of which the wallet accepts, the call ends, and reports its attempts."""
    await change.write(NEW)
    await change.want(OTHER)
    # The newest a second time: the wallet may have switched after it had refused it.
    Failure(*AUTH_REJECTED, attempts=3).check(await change.caller.terminate())
    assert len(change.wallet.requests) == 3


ENDS: dict[str, tuple[Callable[[], Behaviour], str, int]] = {
    "no answer to the second": (lambda: sequence(REFUSED, hang), "WALLET_TIMEOUT", 2),
    "another no to the second": (lambda: sequence(REFUSED, answer(404, b"{}")), "WALLET_ENDPOINT", 2),
    # It contradicts itself, so it is unknown whether the call was carried out.
    "401 with status true": (lambda: answer(401, b'{"status":true,"code":1}'), "WALLET_INCONSISTENT", 1),
    "500": (lambda: answer(500), "WALLET_GATEWAY_ERROR", 1),
}


@pytest.mark.parametrize("settings", [{"WALLET__DEADLINE_DEFAULT_S": "1"}], ids=[""])
@pytest.mark.parametrize(("behaviour", "reason", "attempts"), ENDS.values(), ids=ENDS)
async def test_only_a_proven_refusal_is_signed_again(
    change: Change, behaviour: Callable[[], Behaviour], reason: str, attempts: int
) -> None:
    """What may have been carried out is not sent with other keys; how a second try ends is how the call ends."""
    # The connection is there first, and only the wallet that does not answer is waited for no longer than a second.
    assert (await change.caller.terminate(timeout_s=PATIENCE_S)).code == "OK"
    await change.write(NEW)
    change.wallet.behaviour = behaviour()
    end = await change.caller.terminate(timeout_s=None if reason == "WALLET_TIMEOUT" else PATIENCE_S)
    assert (end.wallet_error.reason, end.wallet_error.attempts) == (reason, attempts)
    assert len(change.wallet.requests) == 1 + attempts


@pytest.fixture
def loggers_are_put_back() -> Iterator[None]:
    """Undo what `configure` does to the whole process."""
    with loggers_put_back():
        yield


ACCESS_KEY_RULE = "access_key: must be printable ASCII without white space at its ends in access_key_file"
BAD_FILES: dict[str, tuple[str, str | None, str]] = {
    "emptied": ("access_key", "", f"{ACCESS_KEY_RULE}; it is empty"),
    "gone": ("private_key", None, "cannot be read: No such file or directory"),
}


def put(file: Path, text: str | None) -> None:
    """Let the file hold this text; None: be gone."""
    file.unlink()
    if text is not None:
        file.write_text(text)


@pytest.mark.usefixtures("loggers_are_put_back")
@pytest.mark.parametrize(("name", "text", "problem"), BAD_FILES.values(), ids=BAD_FILES)
async def test_a_bad_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str, text: str | None, problem: str
) -> None:
    """A bad file is reported in an event and in the log, without its content; the keys in use stay."""
    OLD.write(tmp_path)
    log_file = Log(tmp_path_factory.mktemp("log") / "log")
    listener, log = Reported(), log_file.configure("debug", "json")
    key = f"wallet.providers.1.{name}_file"
    async with (
        FaultServer(RotatingWallet(OLD)) as wallet,
        bridge_to(wallet.url, in_files(tmp_path), emit=fan_out(listener, log), watch_interval_s=LOOK_S) as caller,
    ):
        put(tmp_path / name, text)
        assert await listener.reports(1) == [ReloadFailed(key, problem)]
        ends = [await caller.terminate() for _ in range(3)]
        OLD.write(tmp_path)
        assert await listener.reports(1) == [Reloaded(key)]
    assert [end.code for end in ends] == ["OK"] * 3
    assert len(wallet.requests) == 3
    logged = log_file.text()
    log_file.close()
    reports = [line for line in map(json.loads, logged.splitlines()) if line["event"].startswith("reload")]
    assert [(line["event"], line["level"], line["key"], line.get("problem")) for line in reports] == [
        ("reload failed", "error", key, problem),
        ("reloaded", "info", key, None),
    ]
    assert not [secret for keys in (OLD, NEW) for secret in keys.secrets if secret in logged]
