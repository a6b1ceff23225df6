"""Stores by their URL. A store's library is imported only when that kind of store is asked for."""

import importlib.util
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bridge.settlement.store import Problem, Store, StoreError


def store_at(url: str, *, creates: bool = True) -> Store:
    """Return the store of a URL that the settings have checked; raise StoreError where its library is missing.

    sqlite:///var/lib/wallet-bridge/settlement.db, redis://user:password@host:6379/0, rediss://..., or
    unix:///run/redis.sock?db=0. Nothing is opened yet. A password in the URL is never shown.
    `creates`: make a store that is not there yet, and bring an older layout up to date; else both are StoreErrors.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        from bridge.settlement.sqlite import SqliteStore  # noqa: PLC0415 - only where it is asked for, here and below

        return SqliteStore(Path(unquote(parts.path)), creates=creates)
    if importlib.util.find_spec("redis") is None:
        raise StoreError(f"{parts.scheme}://", Problem.NOT_INSTALLED)
    from bridge.settlement.redis import RedisStore  # noqa: PLC0415

    return RedisStore(url, creates=creates)
