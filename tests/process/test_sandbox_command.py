"""`bridge sandbox` as a person runs it: what it prints, its page, and one line for what is wrong with a flag."""

import signal
import socket
from pathlib import Path

import httpx
import pytest

from bridge.sandbox import SAMPLE_PROVIDERS
from tests.support.processes import bridge_command
from tests.support.whole_path import PATIENCE_S

CONFIG = """
[wallet]
url = "https://wallet.example"
[wallet.providers.7]
access_key = "canary-access"
private_key = "0f0e0d0c-ca9a-4bee-8bad-c0ffee654321"
[wallet.providers.1]
access_key = "abcde12345"
private_key = "e56eb966-a55f-4087-bc7d-e66df1f377a1"
"""


async def begun(*arguments: str) -> tuple[str, list[str]]:
    """Run the command until it has named its providers; return the page's URL, and what it printed."""
    async with bridge_command("sandbox", "--listen", "127.0.0.1:0", *arguments) as command:
        assert (await command.line("provider_id 1:")).startswith("provider_id 1:")
        lines = command.output.splitlines()
        url = next((line.split()[-1] for line in lines if line.startswith("page with the last requests on ")), "")
        if url:
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
                assert "<title>Sandbox wallet</title>" in (await client.get(url)).text
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 0
    return url, lines


async def test_sample_keys_and_page() -> None:
    """It prints the published samples, ready to use, and serves its page; two of them run side by side."""
    async with bridge_command("sandbox", "--listen", "127.0.0.1:0") as other:
        page = "page with the last requests on http://127.0.0.1:"
        assert (await other.line(page)).startswith(page)
        url, lines = await begun()
    assert url.startswith("http://127.0.0.1:")
    for provider in SAMPLE_PROVIDERS:
        keys = f"access_key {provider.access_key}, private_key {provider.private_key} (published sample)"
        assert f"provider_id {provider.provider_id}: {keys}" in lines


async def test_keys_of_a_file_are_not_printed(tmp_path: Path) -> None:
    """Keys of a configuration are named by their provider alone, unless they are the samples."""
    file = tmp_path / "bridge.toml"
    file.write_text(CONFIG)
    _, lines = await begun("--config", str(file))
    assert "provider_id 7: keys of its own" in lines
    assert not [line for line in lines if "canary-access" in line or "c0ffee654321" in line]


@pytest.mark.long
async def test_no_page() -> None:
    """An empty address is no page."""
    assert (await begun("--page", ""))[0] == ""


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("here", 'bridge: --page: must be host:port, like "127.0.0.1:8081"'),
        ("0.0.0.0:8081", 'bridge: --page: 0.0.0.0 is not a loopback address, like "127.0.0.1:8081": it shows'),
        ("wallet.example:8081", "bridge: --page: wallet.example is not a loopback address"),
    ],
)
@pytest.mark.short("0.0.0.0:8081")
async def test_bad_page(page: str, line: str) -> None:
    """An address that is none, or that others could reach, is one line and exit code 2."""
    async with bridge_command("sandbox", "--listen", "127.0.0.1:0", "--page", page) as command:
        assert await command.end() == 2
    (said,) = command.output.splitlines()
    assert said.startswith(line)


async def test_a_page_address_that_is_taken() -> None:
    """An address that was asked for and is taken stops the start with one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with bridge_command("sandbox", "--listen", "127.0.0.1:0", "--page", address) as command:
            assert await command.end() == 2
    assert command.output == f"bridge: the page of the sandbox cannot listen on {address}: Address already in use\n"
