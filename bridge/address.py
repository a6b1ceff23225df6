"""Addresses "host:port": how they are written, and what is said where the bridge cannot listen on one."""

import ipaddress
import re

from bridge.start_error import StartError

PORT_MAX = 65535

# A name, an IPv4 address, or an IPv6 address in brackets (RFC 3986, section 3.2.2). Underscores are no part of a host's
# name by RFC 1123, but container networks have them.
HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+"
HOST_CHARACTERS_MAX = 253
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
LISTEN = re.compile(rf"(?P<host>{HOST}):(?P<port>[0-9]{{1,5}})")


class ListenError(StartError):
    """The bridge cannot listen where it should. The text names the setting, the address and what to do."""


def cannot_listen(setting: str, address: str, *, uses_tls: bool = False) -> ListenError:
    """Return the error for an address, "host:port", that the system or the server's TLS refused."""
    # gRPC says nothing more. It takes fewer kinds of keys than OpenSSL, which has checked the pair before.
    tls = ", or the TLS certificate neither RSA nor ECDSA P-256" if uses_tls else ""
    return ListenError(
        f"{setting}: cannot listen on {address}; is the port taken, or the address not this machine's{tls}?"
    )


def split_listen(text: str) -> tuple[str, int]:
    """Return host (IPv6 without brackets) and port (0 to 65535) of "host:port"; raise ValueError."""
    found = LISTEN.fullmatch(text)
    if found is None or not is_host(found["host"]) or int(found["port"]) > PORT_MAX:
        raise ValueError
    return found["host"].strip("[]"), int(found["port"])


def is_host(host: str) -> bool:
    """Say whether this is a host's name, an IPv4 address, or an IPv6 address in brackets."""
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
