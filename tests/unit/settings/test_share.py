"""A provider's share of the places, as the settings give it: by number of providers, where it is not set."""

import tomllib
from pathlib import Path

import pytest

from bridge.settings.model import describe, load
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY, URL, write


def provider(number: int) -> str:
    """Return a provider's section."""
    return f'[wallet.providers.{number}]\naccess_key = "{ACCESS_KEY}"\nprivate_key = "{PRIVATE_KEY}"\n'


@pytest.mark.parametrize(
    ("server", "providers", "share"),
    [
        pytest.param("", 1, 1000, id="one provider has all"),
        pytest.param("", 2, 500, id="two have half each"),
        pytest.param("", 9, 500, id="many have half each"),
        pytest.param("max_in_flight = 7", 2, 3, id="half, rounded down"),
        pytest.param("max_in_flight = 1", 2, 1, id="never nothing"),
        pytest.param("max_in_flight = 7\nmax_in_flight_per_provider = 7", 2, 7, id="all, as it was set"),
        pytest.param("max_in_flight_per_provider = 5", 1, 5, id="less, as it was set for one"),
    ],
)
def test_share(tmp_path: Path, server: str, providers: int, share: int) -> None:
    """It is in force, and is shown, whether it was set or not."""
    text = f"[server]\n{server}\n[wallet]\n{URL}\n{''.join(provider(number + 1) for number in range(providers))}"
    settings = load(write(tmp_path, text), {})
    assert settings.server.max_in_flight_per_provider == share
    assert tomllib.loads(describe(settings))["server"]["max_in_flight_per_provider"] == share
