"""The addresses of one name, in the order in which they are tried. RFC 8305, sections 3, 4 and 8.

lookup    IPv6 and IPv4 are looked up separately, so that a name server that answers only one of the two is enough
order     the families alternate, IPv6 first; the address that worked last comes before all, those that failed behind
kept      an answer serves every connect of the next ANSWER_KEPT_S, also one that came too late for its own connect
"""

import asyncio
import ipaddress
import itertools
import math
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

RESOLUTION_DELAY_S = 0.05
"""Time for which IPv4 addresses wait for IPv6 ones. RFC 8305, section 3, "Resolution Delay"."""
ANSWER_KEPT_S = 5.0
"""Longer than a retry takes, so that a name server slower than one connect is no outage; shorter than any usual TTL."""

FAMILIES = (socket.AF_INET6, socket.AF_INET)
"""In the order of RFC 8305, section 4."""


class Address(NamedTuple):
    """An address to connect to, as `socket.getaddrinfo` gives it."""

    family: int
    protocol: int
    where: tuple[Any, ...]


class _Answer(NamedTuple):
    addresses: tuple[Address, ...]
    error: Exception | None
    at: float


class Addresses:
    """The addresses of one origin, and what connecting to them has shown. One connect uses it at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = host
        self._port = port
        self._families = _families(host)
        self._answers: dict[int, _Answer] = {}
        self._lookups: dict[int, asyncio.Task[None]] = {}
        self._changed: Callable[[], None] = _ignore
        self._worked: Address | None = None
        self._failed: dict[Address, None] = {}

    def look_up(self, changed: Callable[[], None]) -> None:
        """Look up what is not known. `changed` is called at each answer."""
        self._changed = changed
        oldest = self._loop.time() - ANSWER_KEPT_S
        self._answers = {
            family: answer for family, answer in self._answers.items() if answer.addresses and answer.at >= oldest
        }
        for family in self._families:
            # A lookup cannot be stopped: it has a thread of its own. One that still runs is joined.
            if family not in self._answers and family not in self._lookups:
                self._lookups[family] = self._loop.create_task(self._look_up(family))

    @property
    def usable_from(self) -> float:
        """When the first address may be tried, on the loop's clock, in seconds; infinite while none is known."""
        known = self._known()
        if not self._lookups or self._worked in known or any(each.family == socket.AF_INET6 for each in known):
            return 0.0
        answered_at = (answer.at for answer in self._answers.values() if answer.addresses)
        return min(answered_at, default=math.inf) + RESOLUTION_DELAY_S

    @property
    def is_complete(self) -> bool:
        """Whether no answer is awaited any more."""
        return not self._lookups

    @property
    def error(self) -> Exception:
        """Why there is no address."""
        errors = (answer.error for answer in self._answers.values() if answer.error is not None)
        return next(errors, socket.gaierror(socket.EAI_NONAME, "no address"))

    def in_order(self) -> list[Address]:
        """Return the addresses that are known by now, the next one to try first."""
        known = self._known()
        by_family = ([each for each in known if each.family == family] for family in FAMILIES)
        mixed = [each for pair in itertools.zip_longest(*by_family) for each in pair if each is not None]
        failures = {address: place for place, address in enumerate(self._failed)}
        return sorted(mixed, key=lambda each: (each != self._worked, failures.get(each, -1)))

    def worked(self, address: Address) -> None:
        """Try this address first next time."""
        self._worked = address
        self._failed.pop(address, None)

    def failed(self, address: Address) -> None:
        """Try this address last next time."""
        if self._worked == address:
            self._worked = None
        known = self._known()
        # Only of addresses that the name still has, or else it would grow for ever.
        self._failed = {each: None for each in self._failed if each in known and each != address}
        self._failed[address] = None

    async def aclose(self) -> None:
        """Wait for no answer any more."""
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _known(self) -> list[Address]:
        addresses = (each for answer in self._answers.values() for each in answer.addresses)
        return list(dict.fromkeys(addresses))

    async def _look_up(self, family: int) -> None:
        addresses: tuple[Address, ...] = ()
        problem = None
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, family=family, type=socket.SOCK_STREAM)
            addresses = tuple(Address(family, protocol, where) for family, _, protocol, _, where in found)
        except Exception as error:  # noqa: BLE001 - whatever it was, the connect that waits for it fails with it
            problem = error
        finally:
            del self._lookups[family]
        self._answers[family] = _Answer(addresses, problem, self._loop.time())
        self._changed()


def _families(host: str) -> tuple[int, ...]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return FAMILIES
    return (socket.AF_INET6 if version == 6 else socket.AF_INET,)  # noqa: PLR2004 - IPv6


def _ignore() -> None:
    pass
