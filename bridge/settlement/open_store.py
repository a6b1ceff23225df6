"""Stores by their URL. A store's library is imported only when that kind of store is asked for."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from bridge.settlement.store import Store


def store_at(url: str) -> Store:
    """Return the store of a URL that the settings have checked: sqlite:///var/lib/wallet-bridge/settlement.db.

    Nothing is opened yet.
    """
    from bridge.settlement.sqlite import SqliteStore  # noqa: PLC0415 - only where it is asked for

    return SqliteStore(Path(unquote(urlsplit(url).path)))
