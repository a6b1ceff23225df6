"""Rows of the matrix: what is done to a server while calls run. Each returns every call that it made, with its end."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from tests.interop.calls import SHORT_S, Ended, Terminate, make
from tests.interop.site import Site
from tests.support.http2 import frames as raw
from tests.support.raw_caller import RawCaller, raw_caller
from tests.support.whole_path import bridge_to

LOAD_CALLS, LOAD_CALLERS = 300, 20
RELOADS = 3
BETWEEN_RELOADS = 100
"""Calls that end before, between and after reloads, at least."""
EXPIRING_EACH_S = 0.01
HEALTHY_EACH_S = 0.05
ODD_CALLS, ODD_CALLERS = 60, 10
IDLE_BRIDGES = 8
IDLE_PROBES = 3
IDLE_MARGIN_S = 0.03
"""How long before the earliest and after the latest close that was seen the calls are spread."""
IDLE_WAIT_S = 8.0


async def one(terminate: Terminate, prefix: str) -> Sequence[Ended]:
    """One call."""
    return [await make(terminate, f"{prefix}-0")]


async def many(
    terminate: Terminate, prefix: str, calls: int = LOAD_CALLS, callers: int = LOAD_CALLERS
) -> Sequence[Ended]:
    """So many calls by so many callers, each caller's one after the other."""
    numbers = iter(range(calls))

    async def caller() -> list[Ended]:
        return [await make(terminate, f"{prefix}-{number}") for number in numbers]

    return list(itertools.chain(*await asyncio.gather(*(caller() for _ in range(callers)))))


async def reloading(terminate: Terminate, prefix: str, reload: Callable[[], Awaitable[None]]) -> Sequence[Ended]:
    """Make calls by 20 callers without a pause, while the server reloads three times."""
    ended: list[Ended] = []
    moved, stopped = asyncio.Condition(), False

    async def caller(number: int) -> None:
        for call in itertools.count():
            if stopped:
                return
            ended.append(await make(terminate, f"{prefix}-{number}-{call}"))
            async with moved:
                moved.notify_all()

    async def so_many_more() -> None:
        wanted = len(ended) + BETWEEN_RELOADS
        async with moved:
            await moved.wait_for(lambda: len(ended) >= wanted)

    async with asyncio.TaskGroup() as callers:
        for number in range(LOAD_CALLERS):
            callers.create_task(caller(number))
        await so_many_more()
        for _ in range(RELOADS):
            await reload()
            await so_many_more()
        stopped = True
    return ended


async def expiring(terminate: Terminate, prefix: str, seconds: float) -> Sequence[Ended]:
    """Make 100 calls a second that expire after 0.5 s, and beside them 20 a second that are answered at once."""
    ended: list[Ended] = []

    async def slow(number: int) -> None:
        end = await make(terminate, f"{prefix}-slow-{number}", timeout_s=SHORT_S)
        ended.append(Ended(end.token, end.code, end.outcome, end.reason, is_healthy=False))

    async def healthy(number: int) -> None:
        ended.append(await make(terminate, f"{prefix}-{number}"))

    async with asyncio.TaskGroup() as calls:
        begun = asyncio.get_running_loop().time()
        for kind, each_s in ((slow, EXPIRING_EACH_S), (healthy, HEALTHY_EACH_S)):
            calls.create_task(_paced(calls, kind, begun, each_s, seconds))
    return ended


async def _paced(
    tasks: asyncio.TaskGroup, call: Callable[[int], Awaitable[None]], begun: float, each_s: float, seconds: float
) -> None:
    """Begin a call at each interval, late ones at once."""
    loop = asyncio.get_running_loop()
    for number in range(round(seconds / each_s)):
        await asyncio.sleep(max(0.0, begun + number * each_s - loop.time()))
        tasks.create_task(call(number))  # type: ignore[arg-type]  # a coroutine function, as a plain callable


async def close_times(site: Site) -> Sequence[float]:
    """Return how long after an answer the server announced or made the end of idle connections; [] if it did not."""
    tls = None
    if site.tls:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_alpn_protocols(["h2"])

    authority = f"127.0.0.1:{site.port}"
    # A request that needs no body, under the connection's own scheme.
    request = (":method", "GET"), (":scheme", "https" if tls else "http"), (":authority", authority), (":path", "/")

    async def probe() -> float | None:
        with suppress(ConnectionError):
            async with raw_caller(authority, tls) as client:
                client.send(raw.headers(1, end=True, fields=request))
                if (await client.answer()).is_over:
                    return await measured(client)
        return None

    async def measured(client: RawCaller) -> float | None:
        loop = asyncio.get_running_loop()
        answered = loop.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_WAIT_S):
                while client.goaway is None and not client.is_closed:
                    await client.read()
                return loop.time() - answered
        return None

    # A first connection may be slow, so slow that it counts as idle before its first answer.
    await probe()
    return [found for found in await asyncio.gather(*(probe() for _ in range(IDLE_PROBES))) if found is not None]


async def idling(site: Site, settings: dict[str, str], prefix: str, rounds: int) -> Sequence[Ended]:
    """Make calls at the very instant at which the server closes the connection, by eight bridges with one each.

    The instant is measured first; the calls are spread from just before to just after it.
    """
    closes = await close_times(site)
    assert closes, "the server has closed no idle connection"
    first, last = min(closes) - IDLE_MARGIN_S, max(closes) + IDLE_MARGIN_S
    count = IDLE_BRIDGES * rounds
    waits = [max(0.0, first) + (last - first) * number / (count - 1) for number in range(count)]

    async def caller(bridge: Terminate, number: int) -> list[Ended]:
        ended = [await make(bridge, f"{prefix}-{number}-first")]
        for call in range(rounds):
            # The pause is what is tested.
            await asyncio.sleep(waits[call * IDLE_BRIDGES + number])
            ended.append(await make(bridge, f"{prefix}-{number}-{call}"))
        return ended

    async with _bridges(site, settings) as bridges:
        each = await asyncio.gather(*(caller(bridge, number) for number, bridge in enumerate(bridges)))
    return list(itertools.chain(*each))


@asynccontextmanager
async def _bridges(site: Site, settings: dict[str, str]) -> AsyncIterator[Sequence[Terminate]]:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(bridge_to(site.url, settings)) for _ in range(IDLE_BRIDGES)]
        yield [caller.terminate for caller in opened]


async def odd(site: Site, settings: dict[str, str], prefix: str) -> Sequence[Ended]:
    """60 calls by 10 callers before a server with the smallest and oddest SETTINGS that it knows."""
    async with bridge_to(site.url, settings) as caller:
        return await many(caller.terminate, prefix, ODD_CALLS, ODD_CALLERS)
