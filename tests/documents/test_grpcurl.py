"""The lines of docs/grpcurl.md do what the page shows, executed as they stand, with the grpcurl that is pinned."""

import asyncio
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

import toolchain
from bridge import sandbox
from bridge.server.app import running
from bridge.settings.model import load
from tests.support.whole_path import environment

PAGE = (Path(__file__).parents[2] / "docs" / "grpcurl.md").read_text(encoding="utf-8")
PAGE_ADDRESS = "127.0.0.1:50051"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# A command and what is shown below it, up to the next command or the end of the block.
SESSIONS: Mapping[str, str] = {
    match[1]: match[2].strip() for match in re.finditer(r"^\$ (grpcurl .*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
}

needs_grpcurl = pytest.mark.skipif(
    bool(toolchain.absent("grpcurl")), reason=toolchain.absent("grpcurl") or "grpcurl is installed"
)


def test_readme_shows_what_people_do() -> None:
    """The page lists, describes, calls, and shows an error."""
    kinds = [re.search(r" (list|describe)\b|/(Terminate)$", command) for command in SESSIONS]
    assert [next(filter(None, kind.groups())) for kind in kinds if kind] == ["list", "describe", *["Terminate"] * 2]
    assert [command for command, shown in SESSIONS.items() if shown.startswith("ERROR:")] == list(SESSIONS)[-1:]


@needs_grpcurl
@pytest.mark.parametrize(("command", "shown"), SESSIONS.items(), ids=["list", "describe", "call", "error"])
async def test_readme_line(command: str, shown: str) -> None:
    """A line of the page prints what the page shows; only the port and the random identifiers are others."""
    async with sandbox.serve() as wallet, running(load(None, environment(wallet.url))) as bridge:
        printed = await execute(command.replace(PAGE_ADDRESS, bridge.address))
    assert without_chance(printed) == without_chance(shown)


async def execute(command: str) -> str:
    """Run a line of the page with the pinned grpcurl; return all that it prints."""
    program, *arguments = shlex.split(command)
    process = await asyncio.create_subprocess_exec(
        toolchain.programs()[program].path, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode().strip()


def without_chance(text: str) -> str:
    """Return the text with every request_id of the sandbox made the same; the token of the example stays."""
    tokens = set(re.findall(r'"token": "([^"]*)"', PAGE))
    return UUID.sub(lambda match: match[0] if match[0] in tokens else "<request_id>", text)
