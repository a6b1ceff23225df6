"""The section [settlement]: where requests of unknown outcome are kept, and how the bridge goes on with them.

Without the section the bridge keeps nothing. Source: docs/design/settlement.md.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bridge.settings.files import read_file
from bridge.settings.types import Count, Identities, Seconds, Section, refused

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
    if not isinstance(text, str) or not text.isprintable() or not (_is_sqlite(text) or _is_redis(text)):
        raise ValueError
    if not text.startswith(SQLITE_PREFIX) and find_spec("redis") is None:
        raise refused("a redis:// store is an extra that is not installed: pip install 'wallet-bridge[redis]'")
    return StoreUrl(text)


def _is_sqlite(text: str) -> bool:
    # An absolute path: one from the working directory would be another file for every start.
    path = text.removeprefix(SQLITE_PREFIX)
    return path != text and bool(path) and not path.startswith("/") and not path.endswith("/") and "?" not in path


def _is_redis(text: str) -> bool:
    try:
        url = urlsplit(text)
        if url.scheme == "unix":
            return not url.netloc.rpartition("@")[2] and len(url.path) > 1 and not url.fragment
        return (
            url.scheme in REDIS_SCHEMES
            and bool(url.hostname)
            and url.port != 0
            and REDIS_PATH.fullmatch(url.path) is not None
            and not url.fragment
        )
    except ValueError:  # a port that is none
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
    """Who may list all settlements. None: everybody, where calls have no list either, else nobody."""
    settle: Literal["unknown", "failed"] = Field(default="unknown", description='"unknown" or "failed"')
    durability: Literal["unknown", "before"] = Field(default="unknown", description='"unknown" or "before"')
    give_up_after_s: Seconds = Field(default=86400.0, ge=60, le=2_592_000, description="seconds, 60 to 2592000")
    settle_in_flight: Count = Field(default=10, ge=1, le=1000, description="a whole number from 1 to 1000")
    keep_s: Seconds = Field(default=604_800.0, ge=60, le=31_536_000, description="seconds, 60 to 31536000")
