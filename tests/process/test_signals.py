"""Signals to real processes: none of them cuts off a call, but for a second one that stops."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from bridge.process.signals import IGNORED_SIGNALS, STOP_SIGNALS
from bridge.sandbox.behaviours import after, terminated
from bridge.sandbox.server import FaultServer
from tests.support.processes import bridge_command
from tests.support.serving import NOWHERE, TWO, key_in, serving, supervised
from tests.support.settings_files import PRIVATE_KEY
from tests.support.whole_path import call_over, environment

OTHER_PRIVATE_KEY = "0f0e0d0c-ca9a-4bee-8bad-c0ffee123456"
SOME = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPROF, signal.SIGRTMIN, signal.SIGRTMAX)


def test_which_signals_are_ignored() -> None:
    """All that would end the process by default (signal(7)), but for those that stop, SIGHUP, and faults."""
    names = {number.name for number in IGNORED_SIGNALS if isinstance(number, signal.Signals)}
    ending = {"SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGPWR", "SIGSTKFLT"}
    assert names - {"SIGIO"} == (ending & {each.name for each in signal.Signals}) | {"SIGRTMIN", "SIGRTMAX"}
    assert set(SOME) <= set(IGNORED_SIGNALS)
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT} == set(STOP_SIGNALS)


TOGETHER: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "serve": (("serve",), {}),
    "two workers": (("serve",), TWO),
    "sandbox": (("sandbox", "--listen", "127.0.0.1:0"), {}),
}


@pytest.mark.parametrize("case", TOGETHER)
async def test_signals_to_stop_that_come_together_are_one(case: str) -> None:
    """As timeout(1) sends them, to the process and to its group: it ends as after one, and says nothing of a second."""
    arguments, settings = TOGETHER[case]
    async with bridge_command(*arguments, environ=environment(NOWHERE, settings)) as command:
        await command.line("127.0.0.1:")
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            command.process.send_signal(number)
        assert await command.end() == 0
        assert "Error" not in command.output


async def test_other_signals_are_logged_and_ignored() -> None:
    """A call in flight gets its answer whatever signal comes meanwhile."""
    may_answer = asyncio.Event()
    async with FaultServer(after(may_answer)) as wallet, serving(wallet.url) as (command, channel):
        call = asyncio.create_task(call_over(channel))
        await wallet.until(lambda: len(wallet.requests) == 1)
        for number in SOME:
            command.process.send_signal(number)
            await command.line(f"{number.name} is ignored")
        may_answer.set()
        assert (await call).code == "OK"
        command.process.send_signal(signal.SIGQUIT)
        assert await command.end() == 0


@pytest.mark.long
async def test_hangup_re_reads_the_files_of_all_workers(tmp_path: Path) -> None:
    """The supervisor hands SIGHUP on: every worker takes up what has changed. Other signals end neither it nor them."""
    key = tmp_path / "key"
    key.write_text(PRIVATE_KEY)
    async with FaultServer(terminated) as wallet, supervised(wallet, key_in(key)) as bridge:
        for pid in (bridge.command.process.pid, *bridge.pids.values()):
            os.kill(pid, signal.SIGUSR1)
            await bridge.command.line("SIGUSR1 is ignored")
        key.write_text(OTHER_PRIVATE_KEY)
        bridge.command.process.send_signal(signal.SIGHUP)
        assert [(await bridge.event("reloaded"))["key"] for _ in bridge.pids] == [
            "wallet.providers.777.private_key_file"
        ] * 2
        assert (await bridge.call(provider_id=777)).code == "OK"
        bridge.command.process.send_signal(signal.SIGQUIT)
        assert await bridge.command.end() == 0
        assert "SIGHUP: all files are looked at now" in bridge.command.output


@pytest.mark.long
async def test_signals_while_it_starts() -> None:
    """SIGHUP and SIGUSR1 that come before the bridge serves do not end it."""
    async with bridge_command("serve", environ=environment(NOWHERE, {"SERVER__WORKERS": "2"})) as command:
        await command.line('"worker started"')
        for number in (signal.SIGHUP, signal.SIGUSR1):
            command.process.send_signal(number)
        await command.address()
        command.process.terminate()
        assert await command.end() == 0


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
@pytest.mark.long
async def test_the_sandbox_too(number: signal.Signals) -> None:
    """`bridge sandbox` says which signals it ignores, and ends with 0 at those that stop."""
    async with bridge_command("sandbox", "--listen", "127.0.0.1:0") as sandbox:
        await sandbox.line("http://")
        for ignored in (signal.SIGHUP, signal.SIGUSR2):
            sandbox.process.send_signal(ignored)
            await sandbox.line(f"{ignored.name} is ignored")
        sandbox.process.send_signal(number)
        assert await sandbox.end() == 0
