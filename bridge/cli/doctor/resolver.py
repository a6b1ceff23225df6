"""A host's name and its addresses, asked for in time."""

import asyncio
import concurrent.futures
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

Address = tuple[Any, ...]
"""Result of `socket.getaddrinfo`: family, type, protocol, canonical name and the socket's address."""

LookUp = Callable[[str, int], Sequence[Address]]


def system_look_up(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver for TCP addresses; raise OSError, or UnicodeError for what cannot be a name."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def look_up_in_time(look_up: LookUp, host: str, port: int, timeout_s: float) -> Sequence[Address]:
    """Return what `look_up` returns and raise what it raises; raise TimeoutError when it takes longer.

    The resolver cannot be interrupted. So it gets a thread of its own, for which the end of the process does not wait,
    as it would for one of the event loop's.
    """
    found: concurrent.futures.Future[Sequence[Address]] = concurrent.futures.Future()
    found.set_running_or_notify_cancel()  # from here on it cannot be cancelled, so that the thread may always set it

    def ask() -> None:
        try:
            found.set_result(look_up(host, port))
        except Exception as error:  # noqa: BLE001 - the waiting task gets it
            found.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(found)


def is_address(host: str) -> bool:
    """Say whether a host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def problem_of(error: Exception, timeout_s: float) -> str:
    """Return in words why a name has no addresses; `timeout_s` is how long that was waited for."""
    if isinstance(error, TimeoutError):
        limit = f"wallet.connect_timeout_s = {timeout_s:g} s"
        return f"the name server does not answer within {limit}: check this machine's resolver"
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        return "there is no such name: is it spelled right, and known to this machine's resolver?"
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "the name server cannot say now: check this machine's resolver and its network"
    return f"it cannot be looked up: {getattr(error, 'strerror', None) or 'it cannot be a name'}"
