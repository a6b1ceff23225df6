"""Whether the addresses that the bridge is to listen on can be had."""

import errno
import socket
from collections.abc import AsyncIterator

from bridge.address import bind_problem, split_listen
from bridge.cli.doctor.finding import Finding, Level
from bridge.cli.doctor.resolver import Address, LookUp, look_up_in_time, problem_of
from bridge.settings.model import Settings


async def listen_findings(settings: Settings, look_up: LookUp) -> AsyncIterator[Finding]:
    """Yield a finding for each address to listen on."""
    listens = {
        "server.listen": settings.server.listen,
        "server.health_listen": settings.server.health_listen,
        "telemetry.metrics_listen": settings.telemetry.metrics_listen,
    }
    for key, listen in listens.items():
        if listen:
            level, text = await _rated(listen, look_up, settings.wallet.connect_timeout_s)
            yield Finding(level, "listen", f"{key} = {listen}: {text}")


async def _rated(listen: str, look_up: LookUp, timeout_s: float) -> tuple[Level, str]:
    host, port = split_listen(listen)
    try:
        addresses = await look_up_in_time(look_up, host, port, timeout_s)
    except (OSError, UnicodeError) as error:
        return Level.FAIL, problem_of(error, timeout_s)
    numbers = [_bind(address) for address in addresses]
    if errno.EADDRINUSE in numbers:
        return Level.WARN, "in use: by the bridge itself, if it runs; else take another port"
    # A name may have an address of a kind that this machine has not: one that can be had is enough.
    if 0 in numbers:
        return Level.OK, "free"
    return Level.FAIL, f"cannot be had: {bind_problem(OSError(numbers[0], ''))}"


def _bind(address: Address) -> int:
    """Return the errno of an attempt to listen at an address; 0 if it is free."""
    family, kind, protocol, _, place = address
    try:
        with socket.socket(family, kind, protocol) as probe:
            # As gRPC does: connections in TIME_WAIT must not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
