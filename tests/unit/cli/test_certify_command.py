"""`bridge certify` as a command: consent, the live token's state, signals, exit codes, and what never leaves it."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.certify import command as certify
from bridge.cli.certify.requests import SAFE
from bridge.sandbox.answers import page
from bridge.sandbox.behaviours import by_token, hang
from bridge.sandbox.server import FaultServer, Welcome
from bridge.sandbox.stream import Stream
from bridge.settings.model import SettingsError
from tests.support.canaries import found_in
from tests.support.command_runs import FLAGS, MAPPED, PATIENT, PROVIDER, certified, parsed
from tests.support.processes import Command, program
from tests.support.serving import NOWHERE
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from tests.support.staging_wallet import LIVE, SECOND, StagingWallet
from tests.support.whole_path import environment

MAY_BE = "the live token may be terminated"
NOT_SENT = "the live token was not sent to the wallet"
TERMINATED = "the live token is terminated"


CONSENT = {
    "no terminal": (None, (), False),
    "no": ("n\n", (), False),
    "only Enter": ("\n", (), False),
    "the end of input": ("", (), False),
    "yes on the terminal": ("y\n", (), True),
    "--yes": (None, ("--yes",), True),
}


@pytest.mark.parametrize(("says", "flags", "is_sent"), CONSENT.values(), ids=CONSENT)
async def test_consent(says: str | None, flags: Sequence[str], *, is_sent: bool) -> None:
    """Without a yes the live token is not sent: all other probes are reported, and the exit code is 2."""
    wallet = StagingWallet()
    async with FaultServer(wallet, greets_first=False) as server:
        run = await certified(server.url, *flags, says=says, settings=MAPPED)
    assert (LIVE in [request.token for request in wallet.requests]) is is_sent
    assert run.exit_code == (0 if is_sent else 2)
    assert "a wrong signature is refused (HTTP 403, code 9403)" in run.out
    assert ("Go on? [y/N]" in run.err) is (says is not None)
    assert (run.err.endswith("needs a yes on a terminal, or --yes; all other probes are done\n")) is not is_sent
    if says is not None:
        assert (TERMINATED if is_sent else NOT_SENT) in run.out


def test_a_token_that_cannot_be_used_is_not_read() -> None:
    """Without a terminal and without --yes standard input is left alone."""
    given = io.BytesIO(LIVE.encode())
    terminal = certify.Terminal(io.StringIO(), io.StringIO(), given, lambda: False)
    assert certify.run(parsed("certify", *FLAGS, *PROVIDER), terminal, environment(NOWHERE)) == 2
    assert given.tell() == 0


HOSTILE: dict[str, dict[str, Any]] = {
    "texts": {},
    "the token as request_id": {"request_id": "raw"},
    "the token as a UUID": {"request_id": "uuid"},
    "successes": {"unknown": None, "again": None},
}


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "JSON"])
@pytest.mark.parametrize("wallet", HOSTILE.values(), ids=HOSTILE)
async def test_no_secret_is_shown(wallet: dict[str, Any], flags: Sequence[str], tmp_path: Path) -> None:
    """A wallet echoes tokens, credentials and signatures in all its texts, in many forms: none is ever printed."""
    second = tmp_path / "second"
    second.write_text(SECOND)
    staging = StagingWallet(**wallet)
    async with FaultServer(staging, greets_first=False) as server:
        run = await certified(server.url, "--yes", "--second-token-file", str(second), *flags)
    headers = [
        request.header(name) for request in staging.requests for name in ("authorization", "x-request-signature")
    ]
    sent = [header.removeprefix("Basic ") for header in headers if header]
    secrets = {LIVE, SECOND, ACCESS_KEY, PRIVATE_KEY, *sent, *(request.token for request in staging.requests)}
    assert found_in(run.text.encode(), secrets) == []
    assert str(second) not in run.text


async def test_a_request_id_is_shown() -> None:
    """An id that is a UUID and no part of a secret is printed: the wallet's people find the request by it."""
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        run = await certified(server.url, "--yes", "--json")
    assert all(each["request_id"].count("-") == 4 for each in run.report["probes"] if each["status"] is not None)


async def test_the_wallet_goes_away_with_the_live_token() -> None:
    """A connection that breaks under the live token, and cannot be made again: the report says "may be terminated"."""
    wallet, has_gone = StagingWallet(), False

    async def behaviour(stream: Stream) -> None:
        nonlocal has_gone
        if stream.request.token == LIVE:
            has_gone = True
            stream.connection.abort()
        else:
            await wallet(stream)

    def welcome(_number: int) -> Welcome:
        return Welcome.RESET if has_gone else Welcome.SERVE

    async with FaultServer(behaviour, greets_first=False, welcome=welcome) as server:
        run = await certified(server.url, "--yes", settings=MAPPED)
    assert run.exit_code == 2
    assert MAY_BE in run.out
    assert "the live token with another player_id gets no answer (WALLET_CONNECTION_LOST" in run.out
    assert "bridge: terminate: the wallet cannot be reached" in run.err


async def test_another_players_success_confirms_nothing() -> None:
    """A success for another player_id is no proof that the token of this one is terminated."""
    async with FaultServer(StagingWallet(another=None, again=page(502)), greets_first=False) as server:
        run = await certified(server.url, "--yes", "--json", settings=MAPPED)
    assert run.report["tokens"] == {"the live token": "UNCERTAIN"}


async def test_the_wallet_goes_away_before_the_live_token() -> None:
    """What proves that nothing was sent leaves the live token as it was."""
    wallet, over_http1 = StagingWallet(), iter([Welcome.SERVE])
    over_http2 = sum(not probe.is_http1 for probe in SAFE)

    def welcome(_number: int) -> Welcome:
        return Welcome.SERVE if len(wallet.requests) < over_http2 else next(over_http1, Welcome.RESET)

    async with FaultServer(wallet, welcome=welcome) as server:
        run = await certified(server.url, "--yes", settings=MAPPED)
    assert run.exit_code == 2
    assert NOT_SENT in run.out
    assert "bridge: wrong-player: the wallet cannot be reached" in run.err


async def test_a_wallet_that_does_not_answer_never_gets_the_live_token() -> None:
    """Where not even a right request with a made-up token is answered, the live token stays where it is."""
    received = []

    async def behaviour(stream: Stream) -> None:
        received.append(stream.request.token)
        stream.reset(2)  # INTERNAL_ERROR

    async with FaultServer(behaviour, greets_first=False) as server:
        run = await certified(server.url, "--yes", settings=MAPPED)
    assert (run.exit_code, LIVE in received) == (2, False)
    assert NOT_SENT in run.out
    assert "unknown-token: the wallet gives no answer to a right request" in run.err


async def test_the_report_is_not_read() -> None:
    """Where standard output breaks, the state of the live token is reported on standard error."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("wrong-player"):
                raise BrokenPipeError
            return super().write(text)

    err = io.StringIO()
    terminal = certify.Terminal(Broken(), err, io.BytesIO(LIVE.encode()), lambda: False)
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        with pytest.raises(BrokenPipeError):
            await asyncio.to_thread(
                certify.run, parsed("certify", *FLAGS, "--yes", *PROVIDER), terminal, environment(server.url, PATIENT)
            )
    assert err.getvalue().startswith(f"bridge: {MAY_BE}")


def certify_command(
    url: str, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
) -> AbstractAsyncContextManager[Command]:
    """Run `bridge certify` as a process of its own, whose standard input is no terminal unless it is given one."""
    line = (sys.executable, "-m", "bridge", "certify", *FLAGS, *PROVIDER, *arguments)
    return program(*line, env=environment(url, {**PATIENT, **MAPPED}), stdin=stdin)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "JSON"])
@pytest.mark.short("text-SIGINT")
async def test_interrupted(number: signal.Signals, flags: Sequence[str], tmp_path: Path) -> None:
    """A signal while the live token is out: what was found so far is printed, and that it may be terminated."""
    (tmp_path / "token").write_text(f"{LIVE}\n")
    async with (
        FaultServer(by_token({LIVE: hang}, StagingWallet()), greets_first=False) as server,
        certify_command(server.url, "--yes", "--token-file", str(tmp_path / "token"), *flags) as command,
    ):
        await server.until(lambda: any(request.token == LIVE for request in server.requests))
        command.process.send_signal(number)
        assert await command.end() == 130
    assert "a wrong signature is refused" in command.output
    assert "Traceback" not in command.output
    if flags:
        report = json.loads(command.output.splitlines()[0])
        assert (report["tokens"], report["problem"]) == ({"the live token": "UNCERTAIN"}, certify.SIGNALLED)
    else:
        assert MAY_BE in command.output


@pytest.mark.long
async def test_as_a_process(tmp_path: Path) -> None:
    """It runs by its name; without --yes and a terminal the exit code is 2, with --yes here 0."""
    (tmp_path / "token").write_text(LIVE)
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        async with certify_command(server.url, "--token-file", str(tmp_path / "token")) as refused:
            assert await refused.end() == 2
        async with certify_command(server.url, "--token-file", str(tmp_path / "token"), "--yes") as done:
            assert await done.end() == 0
    assert certify.NO_CONSENT in refused.output
    assert done.output.endswith(f"{TERMINATED}: the wallet has confirmed it\n")


@pytest.mark.parametrize(("typed", "exit_code"), [(b"y\n", 0), (b"n\n", 2), (b"\n", 2)], ids=["y", "n", "Enter"])
@pytest.mark.short("y")
async def test_on_a_terminal(typed: bytes, exit_code: int, tmp_path: Path) -> None:
    """On a real terminal it asks, and only a yes sends the live token."""
    (tmp_path / "token").write_text(LIVE)
    ours, theirs = os.openpty()
    os.write(ours, typed)
    wallet = StagingWallet()
    async with FaultServer(wallet, greets_first=False) as server:
        file = str(tmp_path / "token")
        async with certify_command(server.url, "--token-file", file, stdin=theirs) as command:
            assert await command.end() == exit_code
        assert f"send the live token to {server.url} and terminate it. Go on? [y/N]" in command.output
    assert (LIVE in [request.token for request in wallet.requests]) is (exit_code == 0)
    for descriptor in (ours, theirs):
        os.close(descriptor)


@pytest.mark.long
async def test_interrupted_while_it_asks(tmp_path: Path) -> None:
    """Ctrl-C at the question ends it like any other: what was found is printed, and that the token was not sent."""
    (tmp_path / "token").write_text(LIVE)
    ours, theirs = os.openpty()
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        file = str(tmp_path / "token")
        async with certify_command(server.url, "--token-file", file, stdin=theirs) as command:
            assert (await command.line("http1")).startswith("http1")
            command.process.send_signal(signal.SIGINT)
            assert await command.end() == 130
    assert "a wrong signature is refused" in command.output
    assert NOT_SENT in command.output
    assert "Traceback" not in command.output
    for descriptor in (ours, theirs):
        os.close(descriptor)


REFUSED = {
    "no token": ((), "", "standard input: must be a token, 1 to 4096 bytes"),
    "too long": ((), "x" * 4097, "standard input: must be a token, 1 to 4096 bytes"),
    "no such file": (("--token-file", "/canary"), LIVE, "--token-file: cannot be read: No such file or directory"),
    "a folder": (("--token-file", "/"), LIVE, "--token-file: cannot be read: Is a directory"),
    "unknown provider": (("--provider-id", "3"), LIVE, "--provider-id: must be one of the configured ones: 1, 12345"),
    "an empty game": (("--game-id", ""), LIVE, "--game-id is required"),
    "a long currency": (("--currency", "x" * 4097), LIVE, "--currency is longer than 4096 bytes"),
}


@pytest.mark.parametrize(("flags", "token", "line"), REFUSED.values(), ids=REFUSED)
async def test_refused_before_any_probe(flags: Sequence[str], token: str, line: str) -> None:
    """One line names what is wrong, and nothing was sent."""
    with pytest.raises(SettingsError) as raised:
        await certified(NOWHERE, "--yes", *flags, token=token)
    assert str(raised.value) == line


async def test_the_second_token_must_be_another_one(tmp_path: Path) -> None:
    """The same token twice would show nothing about two live ones."""
    (tmp_path / "second").write_text(f"{LIVE}\n")
    with pytest.raises(SettingsError, match=r"^--second-token-file: must hold another token than the live one$"):
        await certified(NOWHERE, "--yes", "--second-token-file", str(tmp_path / "second"))


@pytest.mark.parametrize("text", ["0", "-1", "1.0", "x", "18446744073709551616", "1" * 5000, "\u0661"])
def test_ids(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An id is a number from 1 to 2^64-1."""
    with pytest.raises(SystemExit):
        parsed("certify", *FLAGS, f"--player-id={text}")
    assert "must be a number from 1 to 18446744073709551615" in capsys.readouterr().err
