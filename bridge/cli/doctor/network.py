"""The way to the wallet: its name, its addresses, and a visit to each of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from bridge.cli.doctor.finding import Finding, Level, skipped
from bridge.cli.doctor.probe import VISIT_CHECKS, visit
from bridge.cli.doctor.resolver import LookUp, is_address, look_up_in_time, problem_of
from bridge.cli.doctor.target import Place, knock

CHECKS = ("dns", "tcp", *VISIT_CHECKS)
"""In the order in which they are made. Each needs the one before it."""


async def network_findings(place: Place, look_up: LookUp) -> AsyncIterator[Finding]:
    """Yield what every check finds, or that it was not made."""
    found = []
    async for finding in _found(place, look_up):
        found.append(finding)
        yield finding
    for finding in skipped(CHECKS, found):
        yield finding


async def _found(place: Place, look_up: LookUp) -> AsyncIterator[Finding]:
    addresses, dns = await _dns(place, look_up)
    yield dns
    knocks = await asyncio.gather(*(_tcp(place, address) for address in addresses))
    for finding in _tcp_findings(place, knocks):
        yield finding
    reached = [each.address for each in knocks if each.error is None]
    visits = await asyncio.gather(*(visit(place, address) for address in reached))
    for finding in _merged(dict(zip(reached, visits, strict=True))):
        yield finding


# --- name -------------------------------------------------------------------------------------------------------


async def _dns(place: Place, look_up: LookUp) -> tuple[list[str], Finding]:
    # No longer than the bridge itself waits: for name, TCP, TLS and HTTP/2 together it has no more.
    limit_s = place.wallet.connect_timeout_s
    try:
        found = await look_up_in_time(look_up, place.host, place.port, limit_s)
    except (OSError, UnicodeError) as error:
        return [], Finding(Level.FAIL, "dns", f"{place.host}: {problem_of(error, limit_s)}")
    addresses = list(dict.fromkeys(str(where[0]) for *_, where in found))
    if is_address(place.host):
        return addresses, Finding(Level.OK, "dns", f"{place.host} is an address: there is no name to look up")
    return addresses, Finding(Level.OK, "dns", f"{place.host} -> {', '.join(addresses)}")


# --- addresses --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Knock:
    """One address, and what came of connecting to it."""

    address: str
    took_ms: float
    error: OSError | None


async def _tcp(place: Place, address: str) -> Knock:
    began_at = monotonic()
    error = None
    try:
        await knock(place, address)
    except OSError as problem:
        error = problem
    return Knock(address, (monotonic() - began_at) * 1000, error)


def _tcp_findings(place: Place, knocks: Sequence[Knock]) -> Iterator[Finding]:
    reached = [each for each in knocks if each.error is None]
    if reached:
        times = (f"{_joined(each.address, place.port)} in {each.took_ms:.0f} ms" for each in reached)
        yield Finding(Level.OK, "tcp", ", ".join(times))
    # The bridge tries them as RFC 8305 says: one that works serves it, wherever the dead ones stand.
    level = Level.WARN if reached else Level.FAIL
    for each in knocks:
        if each.error is not None:
            yield Finding(level, "tcp", f"{_joined(each.address, place.port)}: {_tcp_problem(place, each.error)}")


def _tcp_problem(place: Place, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        limit_s = place.wallet.connect_timeout_s
        return f"silent for wallet.connect_timeout_s = {limit_s:g} s: a firewall, or an allow-list of the wallet?"
    if isinstance(error, ConnectionRefusedError):
        return "refused, nothing listens there: check the port in wallet.url, and whether the wallet is up"
    return f"cannot be reached: {os.strerror(error.errno) if error.errno else 'the network does not say why'}"


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# --- visits -----------------------------------------------------------------------------------------------------


def _merged(visits: Mapping[str, Sequence[Finding]]) -> Iterator[Finding]:
    """Yield one line for each check of which all addresses show the same, else one for each thing that they show."""
    for check in VISIT_CHECKS:
        addresses: dict[Finding, list[str]] = {}
        for address, findings in visits.items():
            for finding in findings:
                if finding.check == check:
                    addresses.setdefault(finding, []).append(address)
        for finding, where in addresses.items():
            yield finding if len(addresses) == 1 else replace(finding, text=f"{', '.join(where)}: {finding.text}")
