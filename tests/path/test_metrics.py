"""Metrics over the whole path: real calls to a real wallet, counted and scraped from the real endpoint."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from prometheus_client import CollectorRegistry

from bridge import sandbox
from bridge.events import AttemptEnded, StateSampled
from bridge.sandbox.answers import JSON
from bridge.sandbox.behaviours import after, refuse, success_body, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from bridge.telemetry.fan_out import fan_out
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.metrics_server import serve_metrics
from tests.support.engines import on_both_engines
from tests.support.metrics_page import METHOD, Page, scrape
from tests.support.reported import Reported
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from tests.support.whole_path import TOKEN, Caller, bridge_to

pytestmark = on_both_engines


class Watched:
    """A bridge whose events are counted, and remembered."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.caller: Caller
        self.reported = Reported()

    async def page(self) -> Page:
        """Scrape it."""
        return await asyncio.to_thread(scrape, self.address)


@asynccontextmanager
async def watched_bridge(wallet_url: str) -> AsyncIterator[Watched]:
    """Run a bridge before this wallet, with an endpoint for metrics."""
    registry = CollectorRegistry()
    with closing(serve_metrics("127.0.0.1:0", registry=registry)) as endpoint:
        watched = Watched(endpoint.address)
        emit = fan_out(Metrics([METHOD], registry), watched.reported)
        async with bridge_to(wallet_url, emit=emit) as watched.caller:
            yield watched


# The sandbox's test tokens: how a call about them ends.
ENDS = {
    TOKEN: ("OK", "OK", "OK"),
    "test-missing-fields": ("OK", "OK", "OK"),
    "test-extra-fields": ("OK", "OK", "OK"),
    "test-unknown-error": ("UNKNOWN", "UNKNOWN", "WALLET_UNKNOWN_ERROR"),
    "test-gateway-502": ("UNKNOWN", "UNKNOWN", "WALLET_GATEWAY_ERROR"),
    "test-echo-player": ("DATA_LOSS", "UNKNOWN", "WALLET_ECHO_MISMATCH"),
    "test-throttled": ("RESOURCE_EXHAUSTED", "REJECTED", "WALLET_THROTTLED"),
    "test-ip-rejected": ("INTERNAL", "REJECTED", "WALLET_AUTH_REJECTED"),
    "test-rejected": ("ABORTED", "REJECTED", "WALLET_REJECTED"),
    "": ("INVALID_ARGUMENT", "NOT_SENT", "INVALID_REQUEST"),
}


async def test_what_comes_of_calls_is_counted_once() -> None:
    """Ends by gRPC status and by outcome; attempts, none for what was refused here; the wallet's codes and drift."""
    async with sandbox.serve() as wallet, watched_bridge(wallet.url) as bridge:
        for token in ENDS:
            await bridge.caller.terminate(token)
        page = await bridge.page()
    statuses = [status for status, _, _ in ENDS.values()]
    assert page.by("grpc_server_call_duration_seconds_count", "grpc_status") == {
        status: statuses.count(status) for status in statuses
    }
    assert page.value("grpc_server_call_started_total", grpc_method=METHOD) == len(ENDS)
    ends = {
        (sample.labels["outcome"], sample.labels["reason"]): sample.value
        for sample in page.samples
        if sample.name == "wallet_bridge_calls_total" and sample.value
    }
    assert ends == {end[1:]: 3 if end[0] == "OK" else 1 for end in ENDS.values()}
    answered = page.by("http_client_request_duration_seconds_count", "http_response_status_code")
    attempts = [event for event in bridge.reported.events if isinstance(event, AttemptEnded)]
    assert sum(answered.values()) == len(attempts) == len(ENDS) - 1
    assert {status: answered[status] for status in ("200", "429", "502")} == {"200": 4, "429": 1, "502": 1}
    codes = page.by("wallet_bridge_wallet_codes_total", "code")
    assert {code: codes[code] for code in ("1", "2", "77")} == {"1": 4, "2": 1, "77": 1}
    assert page.by("wallet_bridge_missing_fields_total", "field") == {"request_id": 1, "message": 1, "balance": 1}
    assert page.value("wallet_bridge_unknown_members_total", grpc_method=METHOD) >= 1


async def test_a_retry_is_counted_by_its_end() -> None:
    """The stream that was refused is a failed attempt, the one after it a retry that was answered."""
    async with FaultServer(refuse(1)) as wallet, watched_bridge(wallet.url) as bridge:
        assert (await bridge.caller.terminate()).code == "OK"
        page = await bridge.page()
    assert page.by("wallet_bridge_retries_total", "reason") == {"ANSWERED": 1}
    assert page.by("http_client_request_duration_seconds_count", "error_type") == {"WALLET_NOT_PROCESSED": 1, "": 1}


async def test_a_wallet_that_is_not_there_is_counted_by_cause() -> None:
    """Three attempts, one call."""
    async with FaultServer(terminated) as wallet, watched_bridge(wallet.url) as bridge, wallet.offline():
        await bridge.caller.terminate()
        page = await bridge.page()
    assert page.by("wallet_bridge_unreachable_attempts_total", "cause") == {"refused": 3}
    assert page.by("wallet_bridge_retries_total", "reason") == {"WALLET_UNREACHABLE": 2}
    assert page.by("wallet_bridge_calls_total", "reason") == {"WALLET_UNREACHABLE": 1}


async def test_the_end_of_a_call_whose_caller_has_left_is_counted() -> None:
    """While it goes on, its start is counted and gauges show it; then its end is, with the status that was sent."""
    answers = asyncio.Event()
    async with FaultServer(after(answers)) as wallet, watched_bridge(wallet.url) as bridge:
        leaving = asyncio.ensure_future(bridge.caller.terminate())
        await wallet.until(lambda: bool(wallet.requests))
        leaving.cancel()
        await asyncio.wait([leaving])
        # Only now is it certain that the bridge knows.
        while (await bridge.reported.next(StateSampled)).detached != 1:
            pass
        before = await bridge.page()
        answers.set()
        await bridge.reported.number(1)
        page = await bridge.page()
    assert before.value("grpc_server_call_started_total", grpc_method=METHOD) == 1
    assert before.by("grpc_server_call_duration_seconds_count", "grpc_status") == {}
    gauges = ("calls_in_flight", "calls_detached", "connections", "streams", "calls_queued")
    assert [before.value(f"wallet_bridge_{name}") for name in gauges] == [1, 1, 1, 1, 0]
    assert page.by("wallet_bridge_detached_ends_total", "outcome") == {"OK": 1}
    assert page.by("wallet_bridge_calls_total", "outcome") == {"OK": 1}
    assert page.by("grpc_server_call_duration_seconds_count", "grpc_status") == {"CANCELLED": 1}


CANARY = "canary-7f3a"
PLAYER_ID = 987_654_321_012_345


async def leak(stream: Stream) -> None:
    """Answer with the canary wherever an answer has room for one."""
    body = json.loads(success_body(stream.request))
    texts = {"message": CANARY, "request_id": CANARY, CANARY: CANARY}
    status, changes = {
        f"{CANARY}-ok": (200, texts),
        f"{CANARY}-echo": (200, {**texts, "token": CANARY}),
        f"{CANARY}-wrong": (200, {**texts, "player_id": {CANARY: CANARY}}),
        f"{CANARY}-no": (409, {**texts, "status": False, "code": 77}),
        f"{CANARY}-page": (502, {CANARY: CANARY}),
    }[stream.request.token]
    await stream.respond(status, json.dumps(body | changes).encode(), (*JSON, (CANARY, CANARY)))


async def test_no_secret_and_no_text_of_others_is_on_the_page() -> None:
    """No token, player, key, signature, message, request_id, header or member's name, whatever the wallet answers."""
    async with FaultServer(leak) as wallet, watched_bridge(wallet.url) as bridge:
        for end in ("ok", "echo", "wrong", "no", "page"):
            await bridge.caller.terminate(f"{CANARY}-{end}", player_id=PLAYER_ID, metadata=((CANARY, CANARY),))
        page = await bridge.page()
        signatures = [dict(request.headers)["x-request-signature"] for request in wallet.requests]
    assert len(bridge.reported.calls) == len(signatures)
    for secret in (CANARY, str(PLAYER_ID), ACCESS_KEY, PRIVATE_KEY, *signatures):
        assert secret not in page.text
