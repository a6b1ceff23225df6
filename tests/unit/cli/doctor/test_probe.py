"""What the doctor sees of a wallet on its one address: HTTP/2, an answer, a clock. TLS is in test_tls.py.

How the date of an answer is checked: as far as the way of the answer leaves no doubt, and no further.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.doctor.clock import clock_finding
from bridge.cli.doctor.finding import Level
from bridge.cli.doctor.probe import visit
from bridge.cli.doctor.target import Place
from bridge.sandbox.behaviours import answer, drip, endless, hang, refuse, reset_with
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour
from bridge.settings.model import load
from tests.support.command_runs import examined, unharmed
from tests.support.dead_addresses import closing_server, silent_server
from tests.support.ports import reserved_address
from tests.support.whole_path import environment

IMPATIENT = {"WALLET__DEADLINE_DEFAULT_S": "0.3"}
"""For what must wait: long enough for a busy machine to do the rest."""
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00"
"""How a PING frame begins."""


async def going_away(connection: Connection) -> None:
    """Say SETTINGS and GOAWAY in one breath."""
    connection.raw(SettingsFrame(0).serialize() + GoAwayFrame(0).serialize())


async def no_http2(connection: Connection) -> None:
    """Speak HTTP/1.1."""
    connection.raw(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


async def frozen(connection: Connection) -> None:
    """Say SETTINGS and no more."""
    connection.raw(SettingsFrame(0).serialize())
    connection.freeze()


Opening = Callable[[Connection], Awaitable[None]]

OPENINGS: dict[str, tuple[Opening, str]] = {
    "goaway": (going_away, "the wallet ends the connection with GOAWAY as soon as it has begun"),
    "http1": (
        no_http2,
        "what answers there does not speak plaintext HTTP/2: it may be TLS (https://), or HTTP/1.1 alone",
    ),
    "frozen": (frozen, "SETTINGS exchanged, but PING is not answered within 0.3 s"),
}


@pytest.mark.parametrize(("opening", "text"), OPENINGS.values(), ids=OPENINGS.keys())
async def test_http2_that_does_not_begin(opening: Opening, text: str) -> None:
    """Each way in which HTTP/2 does not come about has words of its own; nothing is asked for then."""
    async with unharmed(FaultServer(answer(), opening=opening, settings=None)) as wallet:
        run = await examined(wallet.url, IMPATIENT)
        assert wallet.requests == []
    assert run["http2"] == [f"FAIL {text}"]
    assert run["answer"] == run["clock"] == ["skip because http2 failed"]
    assert run.exit_code == 1


async def test_closed_at_ping() -> None:
    """A wallet that hangs up instead of answering PING is reported."""

    async def serve_until_ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SettingsFrame(0).serialize())
        with contextlib.suppress(asyncio.IncompleteReadError):  # who only knocks
            await reader.readuntil(PING)
        writer.close()

    async with await asyncio.start_server(serve_until_ping, "127.0.0.1", 0) as server:
        run = await examined(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert run["http2"] == ["FAIL SETTINGS exchanged, but the wallet closes the connection instead of answering PING"]


async def test_no_settings() -> None:
    """A server that accepts and stays silent is reported, with the setting that limits the wait."""
    async with silent_server() as wallet:
        run = await examined(wallet.url, {"WALLET__CONNECT_TIMEOUT_S": "0.1"})
    assert run["http2"] == [
        "FAIL the wallet's SETTINGS do not come within wallet.connect_timeout_s = 0.1 s from connecting"
    ]


async def test_gone_since_the_knock() -> None:
    """A server that is gone when it is visited is reported like one that hangs up."""
    with reserved_address() as address:
        wallet = load(None, environment(f"http://{address}")).wallet
        found = await visit(Place(wallet, "/", datetime.now(UTC)), "127.0.0.1")
    assert [each.level for each in found] == [Level.SKIP, Level.SKIP, Level.FAIL, Level.SKIP, Level.SKIP]
    assert found[2].text.startswith("the wallet closes the connection before HTTP/2 stands: ")


async def test_closed_at_once() -> None:
    """A server that hangs up is reported, with what may be behind it."""
    async with closing_server() as wallet:
        (found,) = (await examined(wallet.url))["http2"]
    assert found.startswith("FAIL the wallet closes the connection before HTTP/2 stands: ")


async def test_no_stream_allowed() -> None:
    """A wallet that allows no stream could serve no call."""
    async with unharmed(FaultServer(answer(), settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0})) as wallet:
        (found,) = (await examined(wallet.url))["http2"]
    assert found.startswith("FAIL the wallet allows no request at all on a connection ")


GOOD = dict.fromkeys((200, 301, 401, 403, 404, 405, 429, 500), "ok GET / without credentials -> HTTP {};")
GATEWAYS = dict.fromkeys((502, 503, 504), "warn GET / without credentials -> HTTP {}: a gateway answers")


@pytest.mark.parametrize(("status", "text"), (GOOD | GATEWAYS).items())
async def test_any_answer_is_good(status: int, text: str) -> None:
    """Whatever a wallet says to a client without credentials, the way is open; a gateway without it is a warning."""
    async with unharmed(FaultServer(answer(status))) as wallet:
        run = await examined(wallet.url)
        assert wallet.pings == 1
    assert run["answer"][0].startswith(text.format(status))
    assert run.exit_code == 0


BREAKS: dict[str, tuple[Behaviour, str]] = {
    "reset": (reset_with(2), "is not answered: the wallet breaks it off"),
    "refused": (refuse(9), "is not answered: the wallet breaks it off"),
    "silence": (hang, "is not answered within 0.3 s"),
    "drip": (drip(b"some", interval_s=9), "is not answered within 0.3 s"),
}


@pytest.mark.parametrize(("behaviour", "text"), BREAKS.values(), ids=BREAKS.keys())
async def test_no_answer(behaviour: Behaviour, text: str) -> None:
    """A request without an answer fails, whichever way it ends."""
    async with FaultServer(behaviour) as wallet:
        run = await examined(wallet.url, IMPATIENT)
    assert run["answer"] == [f"FAIL GET / {text}"]
    assert run["clock"] == ["skip because answer failed"]


async def test_endless_page() -> None:
    """A page that never ends is cut off; its date goes with it, and no more is read."""
    async with FaultServer(endless(b"x" * 16384)) as wallet:
        run = await examined(wallet.url)
    assert run["clock"] == ["skip because the wallet's answer has no date"]
    assert run.exit_code == 0


PATHS = {
    "none": ("", "/"),
    "base": ("/staging/v2", "/staging/v2"),
    "slash": ("/staging/", "/staging"),
    "operation": ("/api/wallet/terminate", "/"),
    "operation-below": ("/gateway/api/wallet/terminate", "/"),
}


@pytest.mark.parametrize(("given", "asked"), PATHS.values(), ids=PATHS.keys())
async def test_what_is_asked_for(given: str, asked: str) -> None:
    """The one request goes to wallet.url's own path, but never to an operation's, whatever stands in wallet.url."""
    async with unharmed(FaultServer(answer(404))) as wallet:
        run = await examined(f"{wallet.url}{given}")
        (request,) = wallet.requests
    assert dict(request.headers)[":path"] == asked
    assert run.exit_code == ("/terminate" in given)


CLOCKS = {"right": (0, "ok"), "behind": (-20, "warn"), "far-behind": (-4000, "FAIL"), "far-ahead": (4000, "FAIL")}


@pytest.mark.parametrize(("wallet_ahead_s", "level"), CLOCKS.values(), ids=CLOCKS.keys())
async def test_clock(wallet_ahead_s: int, level: str) -> None:
    """The date of the answer is held against the clock here; a server error has one too."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=wallet_ahead_s), usegmt=True)
    async with unharmed(FaultServer(answer(403, b"no", [("date", date)]))) as wallet:
        run = await examined(wallet.url)
    assert run["clock"][0].split()[0] == level
    assert run.exit_code == (level == "FAIL")


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def found(ahead_s: float, *, took_s: float = 0.0) -> str:
    """Return the finding for a date by a clock to which ours is so far ahead, in an answer that took this long."""
    date = (NOW - timedelta(seconds=ahead_s)).replace(microsecond=0)
    headers = [(b"date", format_datetime(date, usegmt=True).encode())]
    finding = clock_finding(headers, NOW, NOW + timedelta(seconds=took_s))
    return f"{finding.level} {finding.text}"


DIFFERENCES = {
    "equal": (0, "ok this machine's clock and the wallet's"),
    "ahead-a-little": (6, "ok "),
    "ahead": (7, "warn this machine's clock is 6 s ahead of the wallet's"),
    "ahead-at-limit": (61, "warn this machine's clock is 60 s ahead of"),
    "ahead-far": (3600, "FAIL this machine's clock is 3599 s ahead of"),
    "behind-a-little": (-5, "ok "),
    "behind": (-6, "warn this machine's clock is 6 s behind the wallet's: check its time service (NTP)"),
    "behind-at-limit": (-60, "warn "),
    "behind-far": (-61, "FAIL this machine's clock is 61 s behind"),
}


@pytest.mark.parametrize(("ahead_s", "begin"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_difference(ahead_s: float, begin: str) -> None:
    """More than 5 s is a warning and more than 60 s a failure; the second that a date leaves open is not counted."""
    assert found(ahead_s).startswith(begin)


def test_slow_answer_is_no_wrong_clock() -> None:
    """A date from any moment between request and answer fits, however long that was."""
    assert found(-90, took_s=90).startswith("ok ")
    assert found(0, took_s=90).startswith("ok ")
    assert found(-100, took_s=90).startswith("warn this machine's clock is 10 s behind")


SKIPPED = {
    "no-date": [],
    "empty": [(b"date", b"")],
    "no-date-at-all": [(b"date", b"yesterday")],
    "not-text": [(b"date", b"\xff\x00")],
    "no-such-day": [(b"date", b"Sun, 31 Feb 2026 12:00:00 GMT")],
    "without-zone": [(b"date", b"Sun, 01 Mar 2026 12:00:00 -0000")],
    "from-a-cache": [(b"date", b"Sun, 01 Mar 2026 11:00:00 GMT"), (b"age", b"3600")],
}


@pytest.mark.parametrize("headers", SKIPPED.values(), ids=SKIPPED.keys())
def test_no_usable_date(headers: list[tuple[bytes, bytes]]) -> None:
    """Without a date that is the answer's own and can be read, nothing is said about the clock."""
    assert clock_finding(headers, NOW, NOW).level is Level.SKIP


@given(date=st.binary())
def test_no_date_breaks_it(date: bytes) -> None:
    """Whatever a server sends as its date, there is a finding of one printable line."""
    assert clock_finding([(b"date", date)], NOW, NOW).text.isprintable()
