"""The section [settlement]: which stores can be named, and which part of another URL is wrong."""

from pathlib import Path

import pytest

from bridge.settings.model import load
from tests.support.settings_files import toml, write

STORE_RULE = (
    'must be the URL of a store, like "sqlite:///var/lib/wallet-bridge/settlement.db" or '
    '"rediss://user:password@host:6379/0"'
)
SLASHES = "sqlite: must be followed by three slashes and an absolute path without its first slash"
FOLDER = "its path is that of a folder, not of a file"
NO_SCHEME = "it has no scheme: a file is sqlite:/// and its path without the first slash"
FRAGMENT = "it has a fragment (from the # on): a # in a password is written %23"
NO_PORT = "its port is not a number from 1 to 65535: special characters in a password are percent-encoded"

GOOD = [
    "sqlite:///var/lib/wallet-bridge/settlement.db",
    "redis://host",
    "redis://host:6379/",
    "rediss://user:canary@host:6379/0",
    "redis://:canary@[::1]:6379/15?ca_file=/a",
    "unix:///run/redis.sock",
    "unix://user:canary@/run/redis.sock?db=1",
]

WRONG = {
    "path": ("/var/lib/settlement.db", NO_SCHEME),
    "name": ("settlement", NO_SCHEME),
    "one slash": ("sqlite:/var/settlement.db", SLASHES),
    "two slashes": ("sqlite://settlement.db", SLASHES),
    "four slashes": ("sqlite:////var/settlement.db", SLASHES),
    "no file": ("sqlite:///", FOLDER),
    "folder": ("sqlite:///var/lib/", FOLDER),
    "options": ("sqlite:///var/a.db?mode=ro", "it has options (from the ? on): a file has none"),
    "another database": ("postgres://host/canary", "its scheme is none of sqlite, redis, rediss and unix"),
    "upper case": ("SQLITE:///var/a.db", "its scheme is none of sqlite, redis, rediss and unix"),
    "space": ("redis://host name", "it has white space or other invisible characters in it"),
    "no host": ("redis://", "it has no host"),
    "no host but a password": ("redis://:canary@", "it has no host"),
    "port 0": ("redis://host:0", NO_PORT),
    "port too high": ("redis://host:65536", NO_PORT),
    "slash in a password": ("redis://user:can/ary@host", NO_PORT),
    "database": ("redis://host:6379/main", "its path is not the number of a database, like /0"),
    "fragment": ("redis://host/0#canary", FRAGMENT),
    "brackets": ("redis://[::1", "its host is neither a name nor an address"),
    "host in socket": ("unix://run/redis.sock", "unix:// must be followed by a third slash and the path of the socket"),
    "no socket": ("unix:///", "it has no path of a socket"),
    "fragment of a socket": ("unix:///run/redis.sock#canary", FRAGMENT),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


def settings_with(folder: Path, store: str) -> Path:
    """Write settings with this store and return their file."""
    (folder / "key").write_text("checked elsewhere")
    return write(folder, toml(rest=f'[settlement]\nstore = "{store}"\nkey_file = "key"'))


@pytest.mark.parametrize("store", GOOD)
def test_a_store(tmp_path: Path, store: str) -> None:
    """A file by its absolute path, a Redis server or its socket can be the store."""
    settlement = load(settings_with(tmp_path, store), {}).settlement
    assert settlement is not None
    assert settlement.store.get_secret_value() == store
    assert "canary" not in str(settlement.store)
