"""URLs of Redis: the client's arguments, and the form that is shown.

redis://host:6379/0                                        plaintext, database 0
rediss://user:password@host:6379/0?ca_file=/etc/ca.pem     TLS; without ca_file: the system's authorities
rediss://user@host/0?password_file=/run/secrets/redis      the password stands in a file
unix:///run/redis.sock                                     a socket of this machine
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 6379
OPTIONS = frozenset({"ca_file", "password_file"})
"""Options behind the question mark. Nothing there can switch TLS's checks off."""


class RedisUrlError(ValueError):
    """A URL that names no Redis. The text does not hold it."""


def connection_arguments(url: str) -> Mapping[str, Any]:
    """Return the arguments of redis.asyncio.Redis for a URL; raise RedisUrlError."""
    parts, options = urlsplit(url), _options(url)
    arguments: dict[str, Any] = {}
    if parts.username:
        arguments["username"] = unquote(parts.username)
    if parts.password:
        arguments["password"] = unquote(parts.password)
    elif "password_file" in options:
        arguments["password"] = _password(Path(options["password_file"]))
    if parts.scheme == "unix":
        return arguments | {"unix_socket_path": unquote(parts.path)}
    if parts.scheme == "rediss":
        arguments |= {"ssl": True, "ssl_ca_certs": options.get("ca_file")}
    database = parts.path.strip("/")
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or not (database or "0").isdecimal():
        raise RedisUrlError("must be redis://host:port/database, or rediss:// for TLS")
    return arguments | {"host": parts.hostname, "port": parts.port or PORT, "db": int(database or "0")}


def shown(url: str) -> str:
    """Return a URL without user, password and options."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _options(url: str) -> Mapping[str, str]:
    options = dict(parse_qsl(urlsplit(url).query))
    if not options.keys() <= OPTIONS:
        raise RedisUrlError(f"must have no options but {' and '.join(sorted(OPTIONS))}")
    return options


def _password(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        raise RedisUrlError("its password_file cannot be read as text") from None
