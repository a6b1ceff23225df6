"""Configuration files that are right but for what a test is about."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.settings.model import SettingsError, load

ACCESS_KEY = "abcde12345"
PRIVATE_KEY = "e56eb966-a55f-4087-bc7d-e66df1f377a1"
PROVIDER = "wallet.providers.12345"
UINT64_MAX = 18446744073709551615

URL = 'url = "https://wallet.example"'
KEYS = f'access_key = "{ACCESS_KEY}"\nprivate_key = "{PRIVATE_KEY}"'

# What errors say.
PROVIDERS_MISSING = (
    "wallet.providers: is missing; must be credentials of at least one provider, [wallet.providers.<id>]"
)
ACCESS_KEY_EITHER = "set exactly one of access_key and access_key_file"
PRIVATE_KEY_EITHER = "set exactly one of private_key and private_key_file"
WHOLE_RULE = "must have either success = true alone, or both grpc and reason"
URL_RULE = "must be the wallet's address, like https://wallet.example"
BOOL_RULE = "must be true or false"
LISTEN_RULE = 'must be host:port, like "127.0.0.1:50051" or "[::1]:50051", port 0 to 65535'


def toml(*, server: str = "", wallet: str = URL, keys: str = KEYS, rest: str = "") -> str:
    """Return a file that is right but for what is asked for: the lines of each section."""
    return f"[server]\n{server}\n[wallet]\n{wallet}\n[wallet.providers.12345]\n{keys}\n{rest}\n"


def write(folder: Path, text: str) -> Path:
    """Write bridge.toml into a folder."""
    path = folder / "bridge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, environ: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the lines with which settings are refused."""
    with pytest.raises(SettingsError) as refused:
        load(path, environ)
    return str(refused.value).split("\n")


def refused(folder: Path, **sections: str) -> list[str]:
    """Return the lines with which a file is refused that is right but for these lines of its sections."""
    return refusal(write(folder, toml(**sections)))
