"""URL of the wallet: which are taken, in which form, and which part of another is wrong (RFC 3986)."""

import re

from bridge.address import PORT, PORT_MAX, host_problem

# One segment of a path: RFC 3986, section 3.3.
SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+"
PATH = re.compile(rf"(?:/{SEGMENT})*/?")
URL = re.compile(r"(?P<scheme>(?i:https?))://(?P<authority>[^/?#]*)(?P<path>[^?#]*)")
"""A URL without query and fragment; RFC 3986, appendix B."""
AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
DOT_SEGMENTS = frozenset({".", ".."})


def canonical_url(text: str) -> str:
    """Return a URL without a problem with scheme and host in lower case, and no slash at the end."""
    found = URL.fullmatch(text)
    if found is None:
        raise ValueError("a URL with a problem")
    host, port = _host_and_port(found["authority"])
    origin = f"{found['scheme'].lower()}://{host.lower()}"
    path = found["path"].removesuffix("/")
    return f"{origin}{path}" if port is None else f"{origin}:{int(port)}{path}"


def url_problem(text: str) -> str:
    """Return which part of a wallet's URL is wrong, without the part itself; "" where nothing is."""
    if not text:
        return "it is empty"
    if not text.isprintable() or " " in text:
        return "it has white space or other invisible characters in it"
    found = URL.fullmatch(text)
    if found is None:
        return _form_problem(text)
    return _authority_problem(found["authority"]) or _path_problem(found["path"])


def _form_problem(text: str) -> str:
    if not SCHEME.match(text):
        return "it has no scheme: put https:// before it"
    if not re.match(r"(?i:https?)://", text):
        return "its scheme is not https://"
    part = "a query (from the ? on)" if "?" in text else "a fragment (from the # on)"
    return f"it has {part}: leave it out"


def _authority_problem(authority: str) -> str:
    if "@" in authority:
        return "it has a user name or password (before the @): credentials stand in [wallet.providers.<id>]"
    host, port = _host_and_port(authority)
    if problem := host_problem(host):
        return problem
    if port is not None and not (PORT.fullmatch(port) and 1 <= int(port) <= PORT_MAX):
        return f"its port is not a number from 1 to {PORT_MAX}"
    return ""


def _host_and_port(authority: str) -> tuple[str, str | None]:
    found = AUTHORITY.fullmatch(authority)
    # More than one colon without brackets: an IPv6 address, or a port with a colon in it.
    if found is None or (found["port"] is not None and ":" in found["port"]):
        return authority, None
    return found["host"], found["port"]


def _path_problem(path: str) -> str:
    # Resolving dot segments changes the path (RFC 3986, section 5.2.4), and not every server does it.
    if not DOT_SEGMENTS.isdisjoint(path.split("/")):
        return "its path has a segment . or .."
    if "//" in path:
        return "its path has an empty segment (//)"
    if not PATH.fullmatch(path):
        return "its path has a character that must be percent-encoded"
    return ""
