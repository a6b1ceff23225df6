"""The sandbox's page: what a browser gets, who gets nothing, and what a person sees in a real Chromium."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.sandbox import ROWS, Provider, Sandbox, serve
from bridge.sandbox.page import SHOWN_MAX, serve_page
from browser import chromium, page
from tests.unit.sandbox.test_sandbox import (
    ACCESS_KEY,
    EXAMPLE_BODY,
    PATIENCE_S,
    PRIVATE_KEY,
    TOKEN,
    basic,
    body_of,
    headers_for,
    http2_client,
    post,
)


@pytest.fixture
async def url(sandbox: Sandbox) -> AsyncIterator[str]:
    """Serve the page of that wallet."""
    async with serve_page(sandbox) as url:
        yield url


@contextlib.asynccontextmanager
async def visitor(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Visit the page as a browser does."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S) as client:
        yield client


class Events:
    """The events of a page, read one by one."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        """Return the name and the value of the next event."""
        name, data, _ = [await anext(self._lines) for _ in range(3)]
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@contextlib.asynccontextmanager
async def events_of(url: str) -> AsyncIterator[Events]:
    """Listen to a page's events."""
    async with visitor(url) as client, client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        yield Events(answer)


@pytest.mark.parametrize(("path", "kind"), [("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")])
async def test_files(url: str, path: str, kind: str) -> None:
    """The page, its style and its script come from the sandbox itself, and the policy lets nothing else in."""
    async with visitor(url) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"text/{kind}; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/other", None, 404),
        ("GET", "/../pyproject.toml", None, 404),
        ("POST", "/", None, 405),
        ("GET", "/", "attacker.example", 403),
        ("GET", "/events", "attacker.example:80", 403),
        ("GET", "/", "localhost:1", 200),
        ("GET", "/", "[::1]:1", 200),
    ],
)
async def test_others_get_nothing(url: str, method: str, path: str, host: str | None, status: int) -> None:
    """Another path, method or host than the page's own gets an error: names that lead here are not enough."""
    async with visitor(url) as client:
        answer = await client.request(method, path, headers={"host": host} if host else {})
    assert answer.status_code == status


async def test_only_loopback(sandbox: Sandbox) -> None:
    """The page is for this machine alone: it shows tokens and signatures."""
    with pytest.raises(ValueError, match=r"0\.0\.0\.0 is not a loopback address"):
        async with serve_page(sandbox, "0.0.0.0"):  # noqa: S104 -- what must not be
            raise AssertionError


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"\xff" * 20_000, b"x" * 20_000])
async def test_nonsense_harms_no_other_client(url: str, sent: bytes) -> None:
    """What is no request, or too long, ends its own connection; the next visitor is served."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    writer.close()
    async with visitor(url) as client:
        assert (await client.get("/")).status_code == 200


async def test_events(sandbox: Sandbox, url: str) -> None:
    """A page gets the sandbox with all test tokens, the requests so far, and each new one as it comes."""
    async with http2_client(sandbox) as client:
        await post(client, body_of(token="test-rejected"))
        async with events_of(url) as events:
            name, about = await events.next()
            assert (name, about["url"], len(about["tokens"])) == ("sandbox", sandbox.url, len(ROWS))
            assert [each["private_key"] for each in about["samples"]] == [PRIVATE_KEY] * 2
            _, first = await events.next()
            assert (first["number"], first["test_token"], first["status"]) == (1, "test-rejected", 409)
            assert json.loads(first["answer"])["code"] == 77
            await post(client, EXAMPLE_BODY, x_request_signature="0" * 64)
            _, second = await events.next()
    assert (second["number"], second["status"], second["body"]) == (2, 403, EXAMPLE_BODY.decode())
    assert [step["passed"] for step in second["steps"]] == [True, True, False, None]
    assert second["steps"][2]["signature"]["received"] == "0" * 64


async def test_newest_requests(sandbox: Sandbox, url: str) -> None:
    """A page that comes late gets the last requests only, numbered as they came."""
    async with http2_client(sandbox) as client:
        for _ in range(SHOWN_MAX + 3):
            await post(client, EXAMPLE_BODY)
    async with events_of(url) as events:
        await events.next()
        numbers = [(await events.next())[1]["number"] for _ in range(SHOWN_MAX)]
    assert numbers == list(range(4, SHOWN_MAX + 4))


async def test_keys_of_its_own_are_not_shown() -> None:
    """Of other providers than the published samples the page shows the id, and no key, whatever they send."""
    provider = Provider(7, "canary-access", "canary-private")
    async with (
        serve(providers=[provider]) as sandbox,
        serve_page(sandbox) as url,
        http2_client(sandbox) as client,
        events_of(url) as events,
    ):
        reported = [await events.next()]
        for credentials in ("7:canary-access", "7:canary-wrong"):
            await post(client, body_of(provider_id=7), authorization=basic(credentials))
            reported.append(await events.next())
    assert (reported[0][1]["providers"], reported[0][1]["samples"]) == (["7"], [])
    said = json.dumps(reported)
    assert "canary" not in said
    assert basic("7:canary-access").removeprefix("Basic ") not in said


async def test_leaves_nothing(sandbox: Sandbox) -> None:
    """Pages that are open do not hold the end up, and no task of theirs remains."""
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as stack:
        async with serve_page(sandbox) as url:
            for _ in range(3):
                await (await stack.enter_async_context(events_of(url))).next()
        assert not [task for task in asyncio.all_tasks() - before if "visit" in repr(task.get_coro())]


@pytest.mark.long
@pytest.mark.skipif(chromium() is None, reason="there is no Chromium")
async def test_in_a_browser(sandbox: Sandbox, url: str) -> None:
    """In a real browser the page shows requests as they come, what is wrong with a signature, and runs no markup."""
    markup = body_of(token='<img src=x onerror="document.title=1">')

    def look() -> dict[str, Any]:
        with page(str(chromium()), url) as shown:
            shown.until("document.querySelectorAll('#tokens tbody tr').length > 0")
            asyncio.run_coroutine_threadsafe(send(), loop).result()
            shown.until("document.querySelectorAll('details.call').length === 3")
            return {
                "mistake": shown.value("document.querySelector('.mistake').textContent"),
                "marked": shown.value("[...document.querySelectorAll('mark')].map((each) => each.textContent)"),
                "badges": shown.value("[...document.querySelectorAll('.call .badge')].map((each) => each.textContent)"),
                "tokens": shown.value("document.querySelectorAll('#tokens tbody tr').length"),
                "open": shown.value("[...document.querySelectorAll('.call')].map((each) => each.open)"),
                "text": shown.value("document.body.textContent"),
                "images": shown.value("document.images.length"),
                "title": shown.value("document.title"),
            }

    async def send() -> None:
        async with http2_client(sandbox) as client:
            await post(client, EXAMPLE_BODY)
            await post(client, markup)
            await post(
                client, EXAMPLE_BODY, x_request_signature=headers_for(EXAMPLE_BODY + b"\n")["x-request-signature"]
            )

    loop = asyncio.get_running_loop()
    seen = await asyncio.to_thread(look)
    assert seen["mistake"].startswith("Likely mistake: a line break follows the body that is signed")
    assert len(seen["marked"]) == 2
    assert (seen["badges"], seen["open"]) == (["403", "200", "200"], [True, False, False])
    assert seen["tokens"] == len(ROWS)
    assert (seen["images"], seen["title"]) == (0, "Sandbox wallet")
    assert {TOKEN in seen["text"], "<img src=x" in seen["text"], ACCESS_KEY in seen["text"]} == {True}
