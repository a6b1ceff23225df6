"""`bridge health` says what a running bridge says of itself, and its exit code says the same to a script."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from bridge.cli import health
from bridge.cli.main import main
from bridge.server.health import Health
from tests.support.dead_addresses import silent_server
from tests.support.ports import reserved_address

SERVICE = "wallet.v1.WalletService"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command wait for as long as a busy machine may need."""
    monkeypatch.setattr(health, "PATIENCE_S", 60.0)


@asynccontextmanager
async def server(*, is_leaving: bool = False, has_health: bool = True) -> AsyncIterator[str]:
    """Run the bridge's health service alone, at the beginning of a drain or before; yield its address."""
    reported, listening = Health([SERVICE]), grpc.aio.server()
    port = listening.add_insecure_port("127.0.0.1:0")
    if has_health:
        reported.add_to(listening)
    if is_leaving:
        reported.leave()
    await listening.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await listening.stop(None)


async def asked(address: str, *flags: str) -> int:
    """Return the command's exit code."""
    return await asyncio.to_thread(main, ["health", "--address", address, *flags])


SAID = {
    "serving": (False, (), 0, "SERVING"),
    "one service": (False, ("--service", SERVICE), 0, "SERVING"),
    "in a drain": (True, (), 1, "NOT_SERVING"),
    "one service in a drain": (True, ("--service", SERVICE), 1, "NOT_SERVING"),
    "liveness in a drain": (True, ("--service", "liveness"), 0, "SERVING"),
}


@pytest.mark.parametrize(("is_leaving", "flags", "code", "said"), SAID.values(), ids=SAID)
async def test_status(
    *, is_leaving: bool, flags: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is printed; the exit code is 0 for SERVING and 1 for everything else."""
    async with server(is_leaving=is_leaving) as address:
        assert await asked(address, *flags) == code
    assert capsys.readouterr() == (f"{said}\n", "")


async def test_an_unknown_service(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that the bridge does not know is no health: one line names it."""
    async with server() as address:
        assert await asked(address, "--service", "wallet.v1.Other") == 1
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    assert line.startswith(f'bridge: {address}: it has no service "wallet.v1.Other"')


async def test_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    """A gRPC server without the service is distinguished from one that no one reaches."""
    async with server(has_health=False) as address:
        assert await asked(address) == 1
    assert "has no health service" in capsys.readouterr().err


async def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that no process listens on is a line, not a traceback."""
    with reserved_address() as address:
        assert await asked(address) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"bridge: {address}: no connection; is `bridge serve` running there?")
    assert line.count("\n") == 1


async def test_no_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who takes the connection and says nothing does not keep a script waiting."""
    monkeypatch.setattr(health, "PATIENCE_S", 0.2)
    async with silent_server() as silent:
        address = f"127.0.0.1:{silent.port}"
        assert await asked(address) == 1
    assert capsys.readouterr().err == f"bridge: {address}: no answer within 0.2 s\n"


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong flag ends with 2, as with every command."""
    with pytest.raises(SystemExit) as ended:
        main(["health", "--address", "dns:///bridge"])
    assert ended.value.code == 2
    assert "must be host:port, like 127.0.0.1:50051" in capsys.readouterr().err
