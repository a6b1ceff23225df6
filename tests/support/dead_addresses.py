"""Addresses and servers that do not work, on loopback, and a resolver that gives such addresses."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from bridge.sandbox.behaviours import hang
from bridge.sandbox.server import FaultServer, Welcome


def _listener(host: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


@contextlib.contextmanager
def unanswered(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Hold a port where connecting is neither refused nor accepted: its queue of waiting clients is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(_listener(host, port, 0))
        while not _is_full(listener):
            client = held.enter_context(socket.socket(listener.family))
            client.settimeout(0)
            # BlockingIOError: what becomes of it shows in the queue. It is given time before there is another one.
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
            time.sleep(0.001)
        yield int(listener.getsockname()[1])


def _is_full(listener: socket.socket) -> bool:
    """Say whether a listener's queue takes no further client: struct tcp_info of tcp(7), tcpi_unacked, tcpi_sacked."""
    waiting, most = struct.unpack_from("II", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)
    return bool(waiting > most)


def mute(host: str, port: int) -> socket.socket:
    """Hold a port where the kernel accepts every connection and no one ever says a word, until it is closed."""
    return _listener(host, port, 128)


def silent_server() -> FaultServer:
    """Return a server that accepts connections and never sends a byte: a TLS handshake with it stalls."""
    return FaultServer(hang, welcome=lambda _number: Welcome.STALL)


def closing_server() -> FaultServer:
    """Return a server that ends every connection with FIN as soon as it is accepted."""
    return FaultServer(hang, welcome=lambda _number: Welcome.CLOSE)


Answers = Callable[[int], Awaitable[list[str]]]


def resolve(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> list[int]:
    """Let the running loop resolve every name by `answers`, called with the family; return the families asked for."""
    asked: list[int] = []
    really = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host: str, port: int, *, family: int = 0, **options: Any) -> list[tuple[Any, ...]]:
        if host.replace(".", "").isdigit() or ":" in host:  # uvloop looks up addresses too, when it connects to them
            return await really(host, port, family=family, **options)
        asked.append(family)
        addresses = await answers(family)
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)) for host in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


def given(*hosts: str) -> Answers:
    """Answer at once with these, each in its own family; with none, that the name has no address in it."""

    async def answers(family: int) -> list[str]:
        found = [host for host in hosts if (":" in host) == (family == socket.AF_INET6)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address of this family")
        return found

    return answers
