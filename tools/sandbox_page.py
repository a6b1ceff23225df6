"""Screenshot of the sandbox's page for docs/sandbox.md: `python tools/sandbox_page.py FILE`. Needs Chromium."""

import asyncio
import hashlib
import hmac
import json
import ssl
import sys
from base64 import b64encode
from pathlib import Path

import httpx

import browser
from bridge.sandbox import SAMPLE_PROVIDERS, Sandbox, serve
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.sandbox.page import serve_page

PATH = "/api/wallet/terminate"
SIZE = {"width": 1280, "height": 940}
PROVIDER = SAMPLE_PROVIDERS[1]


async def send(client: httpx.AsyncClient, fields: dict[str, object], *, is_signed_as_sent: bool = True) -> None:
    """Send a Terminate; not signed as sent is signed with spaces in its JSON, as a client's first try often is."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    signed = body if is_signed_as_sent else json.dumps(fields).encode()
    credentials = b64encode(f"{PROVIDER.provider_id}:{PROVIDER.access_key}".encode()).decode()
    headers = {
        "authorization": f"Basic {credentials}",
        "x-request-signature": hmac.new(PROVIDER.private_key.encode(), signed, hashlib.sha256).hexdigest(),
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "my-first-client/0.1",
    }
    await client.post(PATH, content=body, headers=headers)


async def send_all(sandbox: Sandbox) -> None:
    """Send a success, a test token and a wrong signature."""
    no_trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(
        base_url=sandbox.url, http1=False, http2=True, verify=no_trust, trust_env=False
    ) as client:
        await send(client, TERMINATE_REQUEST)
        await send(client, {**TERMINATE_REQUEST, "token": "test-echo-player"})
        await send(client, TERMINATE_REQUEST, is_signed_as_sent=False)


def screenshot(program: str, url: str) -> bytes:
    """Return what Chromium shows of the page once all three requests are there."""
    with browser.page(program, url, **SIZE) as page:
        page.until("document.querySelectorAll('details.call').length === 3")
        return page.screenshot()


async def picture(program: str) -> bytes:
    """Run a sandbox and its page on the ports of their defaults, and return the screenshot."""
    async with serve(port=8080) as sandbox, serve_page(sandbox, port=8081) as url:
        await send_all(sandbox)
        return await asyncio.to_thread(screenshot, program, url)


def main(file: Path) -> int:
    """Write the screenshot."""
    program = browser.chromium()
    if program is None:
        print("sandbox_page: there is no Chromium: install it, for example with apt-get install chromium")
        return 1
    file.write_bytes(asyncio.run(picture(program)))
    print(f"sandbox_page: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
