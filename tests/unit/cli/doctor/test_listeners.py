"""Whether the bridge's own addresses can be had."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from bridge.cli.doctor.listeners import listen_findings
from bridge.cli.doctor.resolver import LookUp, system_look_up
from bridge.sandbox.server import bound_socket
from bridge.settings.model import load
from tests.support.doctor_runs import looked_up
from tests.support.ports import reserved_address
from tests.support.whole_path import environment


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
