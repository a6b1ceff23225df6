"""The wallet's name and its addresses, as the bridge would try them.

Whether the bridge's own addresses can be had.
"""

import errno
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from bridge.cli.doctor.listeners import listen_findings
from bridge.cli.doctor.resolver import LookUp, system_look_up
from bridge.sandbox.behaviours import answer
from bridge.sandbox.server import FaultServer, bound_socket
from bridge.settings.model import load
from tests.support.command_runs import Examined, examined, looked_up, unharmed
from tests.support.dead_addresses import unanswered
from tests.support.ports import reserved_address
from tests.support.whole_path import environment

AFTER_DNS = ["tcp", "tls", "alpn", "http2", "answer", "clock"]
WALLET_NAME = "wallet.example"
"""The one name that `resolver` is about; what the bridge itself listens on is looked up as ever."""


def resolver(of_wallet: LookUp) -> LookUp:
    """Return the system's resolver, but with another one for WALLET_NAME."""
    return lambda host, port: of_wallet(host, port) if host == WALLET_NAME else system_look_up(host, port)


def assert_skipped(run: Examined, checks: list[str], because: str) -> None:
    """Each of these checks was left out, because of this one."""
    assert [run[check] for check in checks] == [[f"skip because {because} failed"]] * len(checks)
    assert (run.exit_code, run.failed) == (1, [because])


async def test_name() -> None:
    """A name is shown with all its addresses, each once."""
    async with unharmed(FaultServer(answer())) as wallet:
        url = f"http://wallet.example:{wallet.port}"
        run = await examined(url, look_up=looked_up("127.0.0.1", "127.0.0.1"))
    assert run["dns"] == ["ok wallet.example -> 127.0.0.1"]
    assert run.exit_code == 0


async def test_real_name() -> None:
    """The system's own resolver is asked."""
    async with unharmed(FaultServer(answer())) as wallet:
        run = await examined(f"http://localhost:{wallet.port}")
    assert "127.0.0.1" in run["dns"][0]
    assert run.exit_code == 0


NO_ADDRESS = {
    "unknown": (
        socket.gaierror(socket.EAI_NONAME, "x"),
        "there is no such name: is it spelled right, and known to this machine's resolver?",
    ),
    "name-server-away": (
        socket.gaierror(socket.EAI_AGAIN, "x"),
        "the name server cannot say now: check this machine's resolver and its network",
    ),
    "other": (socket.gaierror(socket.EAI_FAIL, "No way"), "it cannot be looked up: No way"),
    "no-name": (UnicodeError("x"), "it cannot be looked up: it cannot be a name"),
}


@pytest.mark.parametrize(("error", "text"), NO_ADDRESS.values(), ids=NO_ADDRESS.keys())
async def test_no_address(error: Exception, text: str) -> None:
    """A name without an address is reported with what may be the reason, and nothing further is tried."""

    def fail(_host: str, _port: int) -> list[tuple[str, ...]]:
        raise error

    run = await examined("https://wallet.example", look_up=resolver(fail))
    assert run["dns"] == [f"FAIL wallet.example: {text}"]
    assert_skipped(run, AFTER_DNS, because="dns")


async def test_silent_name_server() -> None:
    """A resolver that does not come back costs no more than the connect time-out, and does not hold up the end."""
    may_return = threading.Event()
    threads = []

    def stall(_host: str, _port: int) -> list[tuple[str, ...]]:
        threads.append(threading.current_thread())
        may_return.wait()
        return []

    run = await examined("https://wallet.example", {"WALLET__CONNECT_TIMEOUT_S": "0.05"}, look_up=resolver(stall))
    may_return.set()
    limit = "wallet.connect_timeout_s = 0.05 s"
    assert run["dns"] == [
        f"FAIL {WALLET_NAME}: the name server does not answer within {limit}: check this machine's resolver"
    ]
    assert_skipped(run, AFTER_DNS, because="dns")
    assert [thread.daemon for thread in threads] == [True]


async def test_refused() -> None:
    """A port where no process listens fails, with the address."""
    with reserved_address() as address:
        run = await examined(f"https://{address}")
    text = "refused, nothing listens there: check the port in wallet.url, and whether the wallet is up"
    assert run["tcp"] == [f"FAIL {address}: {text}"]
    assert_skipped(run, AFTER_DNS[1:], because="tcp")


async def test_silent() -> None:
    """An address that does not say yes or no fails after the connect time-out."""
    with unanswered() as port:
        run = await examined(f"https://127.0.0.1:{port}", {"WALLET__CONNECT_TIMEOUT_S": "0.05"})
    text = "silent for wallet.connect_timeout_s = 0.05 s: a firewall, or an allow-list of the wallet?"
    assert run["tcp"] == [f"FAIL 127.0.0.1:{port}: {text}"]


async def test_no_way() -> None:
    """What the system says of a way that it does not have is passed on."""
    # A multicast address: no TCP connection to one is possible, on any machine.
    (found,) = (await examined("https://224.0.0.1:1", {"WALLET__CONNECT_TIMEOUT_S": "0.4"}))["tcp"]
    assert found.startswith("FAIL 224.0.0.1:1: cannot be reached: ")


async def test_one_address_refuses() -> None:
    """An address that refuses is a warning where another works: the bridge goes on to that one."""
    async with unharmed(FaultServer(answer())) as wallet:
        url = f"http://wallet.example:{wallet.port}"
        run = await examined(url, look_up=looked_up("127.0.0.2", "127.0.0.1"))
        assert run["tcp"][0].startswith(f"ok 127.0.0.1:{wallet.port} in ")
        assert run["tcp"][1].startswith(f"warn 127.0.0.2:{wallet.port}: refused")
    assert run["dns"] == ["ok wallet.example -> 127.0.0.2, 127.0.0.1"]
    assert run["http2"] == ["ok SETTINGS exchanged, PING answered"]
    assert run.exit_code == 0


@pytest.mark.parametrize("order", [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")], ids=["before", "behind"])
async def test_one_address_is_silent(order: tuple[str, ...]) -> None:
    """A silent address is a warning wherever it stands: the bridge goes on to one that works."""
    async with unharmed(FaultServer(answer())) as wallet:
        with unanswered("127.0.0.2", wallet.port):
            url = f"http://wallet.example:{wallet.port}"
            run = await examined(url, {"WALLET__CONNECT_TIMEOUT_S": "0.4"}, look_up=looked_up(*order))
        assert [line.split()[:2] for line in run["tcp"]] == [
            ["ok", f"127.0.0.1:{wallet.port}"],
            ["warn", f"127.0.0.2:{wallet.port}:"],
        ]
        assert run.exit_code == 0


async def test_addresses_that_differ() -> None:
    """Every address is visited; where they do not show the same, each is named with what it shows."""
    async with unharmed(FaultServer(answer(404))) as wallet:
        with socket.create_server(("127.0.0.2", wallet.port)):
            url = f"http://wallet.example:{wallet.port}"
            run = await examined(url, {"WALLET__CONNECT_TIMEOUT_S": "0.4"}, look_up=looked_up("127.0.0.1", "127.0.0.2"))
    assert run["tls"] == run["alpn"] == ["skip because wallet.url is http://"]
    assert [line.split()[:2] for line in run["http2"]] == [["ok", "127.0.0.1:"], ["FAIL", "127.0.0.2:"]]
    assert [line.split()[:2] for line in run["answer"]] == [["ok", "127.0.0.1:"], ["skip", "127.0.0.2:"]]
    assert run.exit_code == 1


async def test_ipv6_address_in_brackets() -> None:
    """An IPv6 address is shown with its port as a URL has it, whether this machine can reach one or not."""
    run = await examined("https://[::1]:1")
    assert run["dns"] == ["ok ::1 is an address: there is no name to look up"]
    assert run["tcp"][0].startswith("FAIL [::1]:1: ")


async def reported(look_up: LookUp = system_look_up, **settings: str) -> list[str]:
    """Return what is found for these settings."""
    configured = load(None, environment("http://127.0.0.1:1", settings))
    return [f"{each.level} {each.text}" async for each in listen_findings(configured, look_up)]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Listen on a port of 127.0.0.1."""
    with bound_socket() as taken:
        taken.listen()
        yield int(taken.getsockname()[1])


async def test_free() -> None:
    """A port that no process has is free, and stays so."""
    with reserved_address() as address:
        assert await reported(SERVER__LISTEN=address) == [f"ok server.listen = {address}: free"]
        assert await reported(SERVER__LISTEN=address) == [f"ok server.listen = {address}: free"]


async def test_every_listener(taken_port: int) -> None:
    """Each address that is set is looked at; one that is taken is a warning, for the bridge itself may have it."""
    taken = f"127.0.0.1:{taken_port}"
    found = await reported(
        SERVER__LISTEN="127.0.0.1:0", SERVER__HEALTH_LISTEN=taken, TELEMETRY__METRICS_LISTEN="localhost:0"
    )
    assert found == [
        "ok server.listen = 127.0.0.1:0: free",
        f"warn server.health_listen = {taken}: in use: by the bridge itself, if it runs; else take another port",
        "ok telemetry.metrics_listen = localhost:0: free",
    ]


async def test_not_this_machines() -> None:
    """An address of another machine can never be had."""
    assert await reported(SERVER__LISTEN="192.0.2.1:50051") == [
        "FAIL server.listen = 192.0.2.1:50051: cannot be had: it is no address of this machine"
    ]


async def test_one_address_of_a_name_is_enough() -> None:
    """A name may have an address of a kind that the machine has not."""
    assert (await reported(looked_up("192.0.2.1", "127.0.0.1"), SERVER__LISTEN="here:0"))[0].startswith("ok ")


async def test_taken_at_one_address_of_a_name(taken_port: int) -> None:
    """A name is taken where one of its addresses is."""
    found = await reported(looked_up("127.0.0.2", "127.0.0.1"), SERVER__LISTEN=f"here:{taken_port}")
    assert found[0].startswith("warn ")


async def test_unknown_kind_of_address() -> None:
    """What else the system says against an address is reported in its own words."""

    def strange(_host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, 99, 0, "", ("127.0.0.1", port))]

    (found,) = await reported(strange, SERVER__LISTEN="here:0")
    assert found.startswith("FAIL server.listen = here:0: cannot be had: ")
    assert found.removeprefix("FAIL server.listen = here:0: cannot be had: ") in map(os.strerror, errno.errorcode)


async def test_no_such_name() -> None:
    """A name that has no address is reported as with the wallet's."""

    def unknown(_host: str, _port: int) -> list[tuple[str, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    (found,) = await reported(unknown, SERVER__LISTEN="nowhere.example:0")
    assert found.startswith("FAIL server.listen = nowhere.example:0: there is no such name")
