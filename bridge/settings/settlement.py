"""The section [settlement]: where requests of unknown outcome are kept, and how the bridge goes on with them.

Without the section the bridge keeps nothing. Source: docs/design/settlement.md.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bridge.settings.files import read_file
from bridge.settings.types import Count, Identities, Seconds, Section, flawed, refused

REDIS_SCHEMES = frozenset({"redis", "rediss"})
SQLITE_PREFIX = "sqlite:///"
STORE_RULE = (
    'the URL of a store, like "sqlite:///var/lib/wallet-bridge/settlement.db" or "rediss://user:password@host:6379/0"'
)
REDIS_PATH = re.compile(r"(?:/[0-9]{0,5})?")


class StoreUrl(SecretStr):
    """URL of a store. Its text is shown without the password."""

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is a file of this machine."""
        return self.get_secret_value().startswith(SQLITE_PREFIX)

    @property
    def has_password(self) -> bool:
        """Whether its password stands in it."""
        return bool(urlsplit(self.get_secret_value()).password)

    def _display(self) -> str:
        if self.is_sqlite:
            return self.get_secret_value()
        url = urlsplit(self.get_secret_value())
        user, at, place = url.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        return url._replace(netloc=f"{name}{colon and ':********'}{at}{place}", query="").geturl()


def _store_url(given: object) -> StoreUrl:
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    if not isinstance(text, str):
        raise ValueError  # noqa: TRY004 - pydantic passes a TypeError on
    if problem := store_problem(text):
        raise flawed(problem)
    if not text.startswith(SQLITE_PREFIX) and find_spec("redis") is None:
        raise refused("a redis:// store is an extra that is not installed: pip install 'wallet-bridge[redis]'")
    return StoreUrl(text)


def store_problem(text: str) -> str:
    """Return which part of a store's URL is wrong, without the part itself; "" where nothing is."""
    # The path of a file may have spaces in it.
    has_space = text != text.strip() or (" " in text and not text.startswith(SQLITE_PREFIX))
    if not text.isprintable() or has_space:
        return "it has white space or other invisible characters in it"
    scheme, colon, rest = text.partition(":")
    if not colon or "/" in scheme:
        return "it has no scheme: a file is sqlite:/// and its path without the first slash"
    if scheme == "sqlite":
        return _sqlite_problem(rest)
    if scheme.lower() not in {*REDIS_SCHEMES, "unix"}:
        return "its scheme is none of sqlite, redis, rediss and unix"
    try:
        return _unix_problem(urlsplit(text)) if scheme.lower() == "unix" else _redis_problem(urlsplit(text))
    except ValueError:  # brackets that do not match
        return "its host is neither a name nor an address"


def _sqlite_problem(rest: str) -> str:
    # An absolute path: one from the working directory would be another file for every start.
    path = rest.removeprefix("///")
    if path == rest or path.startswith("/"):
        return "sqlite: must be followed by three slashes and an absolute path without its first slash"
    if not path or path.endswith("/"):
        return "its path is that of a folder, not of a file"
    return "it has options (from the ? on): a file has none" if "?" in path else ""


def _unix_problem(url: SplitResult) -> str:
    if url.netloc.rpartition("@")[2]:
        return "unix:// must be followed by a third slash and the path of the socket"
    if len(url.path) <= 1:
        return "it has no path of a socket"
    return "it has a fragment (from the # on): a # in a password is written %23" if url.fragment else ""


def _redis_problem(url: SplitResult) -> str:
    if url.fragment:
        return "it has a fragment (from the # on): a # in a password is written %23"
    if not url.hostname:
        return "it has no host"
    if not _has_port(url):
        return "its port is not a number from 1 to 65535: special characters in a password are percent-encoded"
    return "" if REDIS_PATH.fullmatch(url.path) else "its path is not the number of a database, like /0"


def _has_port(url: SplitResult) -> bool:
    try:
        return url.port != 0
    except ValueError:
        return False


def _key_file(path: Path) -> Path:
    # What it holds is checked by the one who uses it, and so is the fit to the store (bridge/settlement/sealing.py).
    _, problem = read_file(path)
    if problem:
        raise refused(f"must be a file with one base64 key of 32 bytes a line; it cannot be read: {problem}")
    return path


class Settlement(Section):
    """Where requests of unknown outcome are kept, and how the bridge goes on with them."""

    store: Annotated[StoreUrl, BeforeValidator(_store_url)] = Field(description=STORE_RULE)
    key_file: Annotated[Path, AfterValidator(_key_file)] = Field(
        description="the path of a file with one base64 key of 32 bytes a line"
    )
    allowed_identities: Identities = Field(
        default=None,
        description="a list of at least one DNS name or URI as client certificates have them",
    )
    """Identities that may list all settlements. None: every caller, where calls have no list either, else no one."""
    settle: Literal["unknown", "failed"] = Field(default="unknown", description='"unknown" or "failed"')
    durability: Literal["unknown", "before"] = Field(default="unknown", description='"unknown" or "before"')
    give_up_after_s: Seconds = Field(default=86400.0, ge=60, le=2_592_000, description="seconds, 60 to 2592000")
    settle_in_flight: Count = Field(default=10, ge=1, le=1000, description="a whole number from 1 to 1000")
    keep_s: Seconds = Field(default=604_800.0, ge=60, le=31_536_000, description="seconds, 60 to 31536000")
