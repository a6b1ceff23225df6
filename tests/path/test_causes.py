"""Causes and details of failures: callers get the cause, the log the detail beside it, both from fixed lists."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hyperframe.frame import GoAwayFrame, SettingsFrame

from bridge.events import AttemptEnded, CallEnded
from bridge.http2.causes import TLS_REASONS
from bridge.sandbox.behaviours import answer, reset_with, terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.certificates import AUTHORITY, EVER, WORKLOAD, Extension, Period, chain, constraints, days, usage
from tests.support.reported import Reported
from tests.support.whole_path import NO_SETTINGS, End, Failure, bridge_to

UNREACHABLE = ("UNAVAILABLE", "WALLET_UNREACHABLE", "NOT_SENT")
LOST = ("UNKNOWN", "WALLET_CONNECTION_LOST", "UNKNOWN")
NOT_PROCESSED = ("UNAVAILABLE", "WALLET_NOT_PROCESSED", "NOT_PROCESSED")
HTTP_1_1_REQUIRED = 0xD


async def ends_of(url: str, settings: dict[str, str] | None = None) -> tuple[End, CallEnded, AttemptEnded]:
    """Call once; return what the caller, the call's log line and that of the first attempt say."""
    received = Reported()
    async with bridge_to(url, settings or NO_SETTINGS, emit=received) as caller:
        end = await caller.terminate(timeout_s=20.0)
        attempt = await received.next(AttemptEnded)
        return end, await received.next(CallEnded), attempt


def check(ended: tuple[End, CallEnded, AttemptEnded], failure: Failure, detail: str) -> None:
    """Compare everything that the caller gets, in which the detail is not, and the log's cause and detail."""
    end, call, attempt = ended
    failure.check(end)
    assert (call.cause, call.detail) == (failure.cause, detail)
    assert (attempt.cause, attempt.detail) == (failure.cause, detail)


ELSEWHERE: Extension = (x509.SubjectAlternativeName([x509.DNSName("another.example")]), False)
FOR_CLIENTS: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
Levels = Sequence[Sequence[Extension]]

FLAWS: dict[str, tuple[Levels, Period]] = {
    "expired": ((WORKLOAD, AUTHORITY), days(2, -1)),
    "not_yet_valid": ((WORKLOAD, AUTHORITY), days(-1, 2)),
    "wrong_name": (([ELSEWHERE], AUTHORITY), EVER),
    "wrong_purpose": (([*WORKLOAD, FOR_CLIENTS], AUTHORITY), EVER),
    "authority_may_not_sign": ((WORKLOAD, [constraints(ca=True), usage("digital_signature")]), EVER),
}


@pytest.mark.parametrize("reason", FLAWS)
async def test_certificate(reason: str, tmp_path: Path) -> None:
    """What is wrong with the wallet's certificate stands in the log; the caller learns the cause tls, at once."""
    levels, period = FLAWS[reason]
    made = chain(*levels, periods={0: period})
    trust = {"WALLET__CA_FILE": str(made.ca_file(tmp_path))}
    async with FaultServer(terminated, tls=made.server_context(tmp_path)) as wallet:
        check(await ends_of(wallet.url, trust), Failure(*UNREACHABLE, cause="tls"), reason)
        assert (wallet.connections, wallet.received_bytes) == (1, 0)


@pytest.mark.parametrize(
    ("levels", "reason"), [((WORKLOAD, AUTHORITY), "unknown_authority"), ((WORKLOAD,), "self_signed")]
)
async def test_an_unknown_authority(levels: Levels, reason: str, tmp_path: Path) -> None:
    """A certificate of an authority that is not in ca_file, and one that has signed itself, are distinguished."""
    (tmp_path / "other").mkdir()
    made, other = chain(*levels), chain(WORKLOAD, AUTHORITY, AUTHORITY)  # whose root has another name
    trust = {"WALLET__CA_FILE": str(other.ca_file(tmp_path / "other"))}
    async with FaultServer(terminated, tls=made.server_context(tmp_path)) as wallet:
        check(await ends_of(wallet.url, trust), Failure(*UNREACHABLE, cause="tls"), reason)


# RFC 8446, section 6.
ALERTS = {
    40: "handshake_failure",
    42: "client_certificate_refused",
    48: "client_certificate_refused",
    70: "protocol_version",
    71: "handshake_failure",
    80: "server_error",
    90: "other",
    112: "unknown_host",
    116: "client_certificate_wanted",
}


@asynccontextmanager
async def saying(words: bytes) -> AsyncIterator[str]:
    """Answer whatever comes first with these bytes, and hang up; give the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(words)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("number", "reason"), ALERTS.items())
async def test_alert(number: int, reason: str) -> None:
    """The alert with which the wallet ends the handshake stands in the log by its kind."""
    async with saying(bytes([21, 3, 3, 0, 2, 2, number])) as url:
        check(await ends_of(url), Failure(*UNREACHABLE, cause="tls"), reason)


async def test_no_application_protocol() -> None:
    """The alert of a server that has none of our protocols is cause http2_required (RFC 7301, section 3.2)."""
    async with saying(bytes([21, 3, 3, 0, 2, 2, 120])) as url:
        check(await ends_of(url), Failure(*UNREACHABLE, cause="http2_required"), "")


async def test_no_tls() -> None:
    """A server that answers the handshake in plain text is distinguished from a bad certificate."""
    async with saying(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as url:
        check(await ends_of(url), Failure(*UNREACHABLE, cause="tls"), "no_tls")


def test_reasons_are_words() -> None:
    """Every reason of a TLS failure is one lower-case word of ours."""
    assert all(reason.replace("_", "").isalpha() and reason.islower() for reason in TLS_REASONS)
    assert {*FLAWS, *ALERTS.values(), "unknown_authority", "self_signed", "no_tls"} <= TLS_REASONS


async def _begin_then_reset(stream: Stream) -> None:
    stream.send_headers(200, (("content-type", "application/json"),))
    stream.reset(HTTP_1_1_REQUIRED)


RESETS: dict[str, tuple[Behaviour, str, str]] = {
    "HTTP_1_1_REQUIRED": (reset_with(HTTP_1_1_REQUIRED), "http2_required", "RST_STREAM HTTP_1_1_REQUIRED"),
    "HTTP_1_1_REQUIRED in an answer": (_begin_then_reset, "http2_required", "RST_STREAM HTTP_1_1_REQUIRED"),
    "INTERNAL_ERROR": (reset_with(0x2), "", "RST_STREAM INTERNAL_ERROR"),
    "ENHANCE_YOUR_CALM": (reset_with(0xB), "", "RST_STREAM ENHANCE_YOUR_CALM"),
    "a number of no meaning": (reset_with(0xFEED), "", "RST_STREAM other"),
    "length": (answer(200, b"{}", (("content-length", "9"),)), "", "the body is not as long as its content-length"),
}


@pytest.mark.parametrize(("behaviour", "cause", "detail"), RESETS.values(), ids=RESETS)
async def test_reset(behaviour: Behaviour, cause: str, detail: str) -> None:
    """A reset after the first byte proves nothing, whatever its code; the code stands in the log."""
    async with FaultServer(behaviour) as wallet:
        check(await ends_of(wallet.url), Failure(*LOST, cause=cause), detail)
        assert len(wallet.requests) == 1


@pytest.mark.parametrize(
    ("error_code", "cause", "name"),
    [(HTTP_1_1_REQUIRED, "http2_required", "HTTP_1_1_REQUIRED"), (0x0, "", "NO_ERROR"), (0xB, "", "ENHANCE_YOUR_CALM")],
)
async def test_goaway_that_denies_the_request(error_code: int, cause: str, name: str) -> None:
    """A request above GOAWAY's last id is not processed, whatever the code; HTTP_1_1_REQUIRED is the cause."""

    async def deny(stream: Stream) -> None:
        stream.connection.goaway(0, error_code)
        await stream.connection.finish()

    async with FaultServer(deny) as wallet:
        check(await ends_of(wallet.url), Failure(*NOT_PROCESSED, cause=cause, attempts=3), f"GOAWAY {name}")


async def test_goaway_and_then_the_end() -> None:
    """A request that GOAWAY does not deny is of unknown outcome when the connection ends; its code is remembered."""

    async def leave(stream: Stream) -> None:
        stream.connection.goaway(None, HTTP_1_1_REQUIRED)
        stream.connection.abort()

    async with FaultServer(leave) as wallet:
        ended = await ends_of(wallet.url)
    end, call, _ = ended
    Failure(*LOST, cause="http2_required").check(end)
    assert call.detail.endswith(" after GOAWAY HTTP_1_1_REQUIRED")


async def test_goaway_at_once() -> None:
    """A server that says HTTP_1_1_REQUIRED as soon as the connection stands gets no request and no second attempt."""

    async def leave(connection: Connection) -> None:
        connection.raw(SettingsFrame(0).serialize() + GoAwayFrame(0, error_code=HTTP_1_1_REQUIRED).serialize())

    async with FaultServer(terminated, settings=None, opening=leave) as wallet:
        check(await ends_of(wallet.url), Failure(*UNREACHABLE, cause="http2_required"), "")
        assert wallet.requests == []
