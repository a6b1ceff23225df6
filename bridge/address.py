"""Addresses "host:port": how they are written, and what is said where the bridge cannot listen on one."""

import errno
import ipaddress
import os
import re
import socket
from types import MappingProxyType

from bridge.start_error import StartError

PORT_MAX = 65535

LISTEN, METRICS_LISTEN = "127.0.0.1:50051", "127.0.0.1:9464"
"""Default addresses: server.listen, and telemetry.metrics_listen."""

# A name, an IPv4 address, or an IPv6 address in brackets (RFC 3986, section 3.2.2). Underscores are no part of a host's
# name by RFC 1123, but container networks have them.
HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+")
HOST_CHARACTERS_MAX = 253
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
PORT = re.compile(r"[0-9]{1,5}")
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound here
PLACEHOLDER = frozenset("${}<>")
"""Characters of what templates leave behind: ${HOST}, {{ host }}, <host>."""


class ListenError(StartError):
    """The bridge cannot listen where it should. The text names the setting, the address and what to do."""


BIND_PROBLEMS = MappingProxyType(
    {
        errno.EADDRINUSE: "the port is taken: stop what has it, or set another port",
        errno.EADDRNOTAVAIL: "it is no address of this machine",
        errno.EACCES: "permission denied: use a port above 1023",
    }
)
"""Why an address cannot be bound, as errno -> words; for any other the system's own."""


def cannot_listen(setting: str, address: str, error: OSError | None = None) -> ListenError:
    """Return the error for an address, "host:port", that cannot be bound. `error` is the reason, where it is known."""
    reason = "no reason is known" if error is None else bind_problem(error)
    return ListenError(f"{setting}: cannot listen on {address}; {reason}")


def bind_problem(error: OSError) -> str:
    """Return why an address cannot be bound, in words."""
    if isinstance(error, socket.gaierror):
        return "its host has no address: check the name, and this machine's resolver"
    return BIND_PROBLEMS.get(error.errno or 0) or (os.strerror(error.errno) if error.errno else "no reason is known")


def bind_error(address: str) -> OSError | None:
    """Return why "host:port" cannot be bound now; None where it can. It is bound for a moment."""
    host, port = split_listen(address)
    found: OSError | None = None
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        found = error
    return found


class AddressError(ValueError):
    """An address that cannot be used. The text says which part is wrong, and does not hold it."""


def split_listen(text: str) -> tuple[str, int]:
    """Return host (IPv6 without brackets) and port (0 to 65535) of "host:port"; raise AddressError."""
    if problem := _listen_problem(text):
        raise AddressError(problem)
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _listen_problem(text: str) -> str:
    """Return what is wrong with "host:port"; "" where nothing is."""
    host, colon, port = text.rpartition(":")
    is_number = PORT.fullmatch(port) is not None
    problems = (
        (not text.isprintable() or " " in text, "it has white space or other invisible characters in it"),
        ("://" in text, "it is a URL: leave the part up to :// out"),
        (not colon and is_number, "it is a port alone: put a host before it"),
        (not colon or text.endswith("]"), "it has no port"),
        (host in {"", "*"}, "it has no host: 0.0.0.0 or [::] stands for every address of this machine"),
        (not is_number or int(port) > PORT_MAX, f"its port is not a number from 0 to {PORT_MAX}"),
    )
    return next((problem for is_so, problem in problems if is_so), "") or host_problem(host)


def share_a_port(one: str, other: str) -> bool:
    """Say whether two "host:port", of which either may be "", are one port on some address of this machine."""
    if not one or not other:
        return False
    (host, port), (other_host, other_port) = split_listen(one), split_listen(other)
    if port != other_port or port == 0:
        return False
    hosts = {host, other_host}
    # Which addresses a name has is not known here: two names are taken for different hosts.
    return len(hosts) == 1 or not hosts.isdisjoint(EVERY_ADDRESS)


def host_problem(host: str) -> str:
    """Return why this is no host; "" where it is one (see `is_host`)."""
    if is_host(host):
        return ""
    if not host:
        return "it has no host"
    if not PLACEHOLDER.isdisjoint(host):
        return "its host is a placeholder that nothing has filled in"
    if not host.isascii():
        return "its host has characters that are not ASCII: write it with xn-- (RFC 5891)"
    if ":" in host.strip("[]"):
        return "its host is not an IPv6 address in brackets, like [::1]"
    return "its host is neither a name nor an address"


def is_host(host: str) -> bool:
    """Say whether this is a host's name, an IPv4 address, or an IPv6 address in brackets."""
    if HOST.fullmatch(host) is None:
        return False
    if host.startswith("["):
        return _is_address(ipaddress.IPv6Address, host[1:-1])
    labels = host.split(".")
    if labels[-1].isdigit():
        return _is_address(ipaddress.IPv4Address, host)
    return len(host) <= HOST_CHARACTERS_MAX and all(LABEL.fullmatch(label) for label in labels)


def _is_address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
