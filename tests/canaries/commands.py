"""The commands beside `bridge serve`, with canaries: what they print, right and wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.sandbox import ROWS
from bridge.sandbox.behaviours import answer
from bridge.sandbox.server import FaultServer
from tests.canaries.record import Record, command_line
from tests.canaries.scene import IN_ENVIRONMENT, TIMEOUT_S, canary_environment
from tests.support.canaries import CANARIES
from tests.support.processes import bridge_command
from tests.support.serving import channel_to
from tests.support.whole_path import End, call_over


async def commands(record: Record, folder: Path) -> None:
    """Run each command that looks at settings: with right ones, and with wrong ones."""
    async with FaultServer(answer(404)) as server:
        right = canary_environment(server.url, folder)
        wrong = right | {
            "BRIDGE_WALLET__PROVIDERS__3__PRIVATE_KEY": CANARIES["bad new private key"],
            "BRIDGE_WALLET__PROVIDERS__3__ACCESKEY": CANARIES["access key in the environment"],
            "BRIDGE_WALLET__URL": f"http://{CANARIES['access key']}@127.0.0.1:1",
            "BRIDGE_TELEMETRY__FINGERPRINT_KEY": CANARIES["token"][:15],
        }
        await _run(record, "doctor", right, "doctor")
        await _run(record, "doctor, as JSON", right, "doctor", "--json")
        await _run(record, "serve --check", right, "serve", "--check")
        await _run(record, "settings that are refused", wrong, "serve")


async def before_the_sandbox(record: Record, folder: Path) -> None:
    """Run the sandbox with a bridge before it; call about each of its test tokens, and by `bridge call`."""
    config = folder / "sandbox.toml"
    environ = canary_environment("http://127.0.0.1:1", folder)
    config.write_text("", encoding="utf-8")
    sandbox = bridge_command("sandbox", "--listen", "127.0.0.1:0", "--config", str(config), environ=environ)
    async with sandbox as wallet:
        url = (await wallet.until("sandbox wallet on")).split()[3].rstrip(",")
        settings = canary_environment(url, folder)
        async with bridge_command("serve", environ=settings) as command:
            address = await command.address()
            ends = await _every_row(address)
            await _calls(record, settings, folder, address)
            assert await command.stop() == 0
        await wallet.stop()
    record.take("log, before the sandbox", command.output, ends, [])
    record.say("sandbox", wallet.output.encode())


async def _every_row(address: str) -> list[End]:
    fields: dict[str, Any] = {"provider_id": IN_ENVIRONMENT, "player_id": int(CANARIES["player"])}
    async with channel_to(address) as channel:
        tokens = (row.token.replace("<ms>", "1") for row in ROWS)
        ends = [await call_over(channel, token, timeout_s=TIMEOUT_S, **fields) for token in tokens]
    return [end for end in ends if end.code != "OK"]


async def _calls(record: Record, environ: Mapping[str, str], folder: Path, address: str) -> None:
    """Call by the command: a success, failures, and what would be sent."""
    token_file = folder / "token"
    token_file.write_text(CANARIES["token"], encoding="utf-8")
    fields = ("--player-id", CANARIES["player"], "--provider-id", str(IN_ENVIRONMENT), "--site-id", "1")
    words = ("call", "terminate", *fields, "--game-id", "example", "--currency", "EUR", "--address", address)
    await _run(record, "call", environ, *words, "--token", f"@{token_file}")
    await _run(record, "call --json", environ, *words, "--token", "test-auth-rejected", "--json")
    await _run(record, "call --dry-run", environ, *words, "--token", f"@{token_file}", "--dry-run")


async def _run(record: Record, place: str, environ: Mapping[str, str], *arguments: str) -> None:
    async with bridge_command(*arguments, environ=environ) as command:
        if "call" not in arguments:  # its arguments are the caller's own, the player among them
            record.say("command lines", await command_line(command.process))
        await command.end()
    record.say(place, command.output.encode())
