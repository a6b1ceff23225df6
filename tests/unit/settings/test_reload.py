"""Settings made again while the bridge runs: the same checks, and the same settings where no file has changed."""

from pathlib import Path

import pytest

from bridge.settings.file_watch import ReloadError
from bridge.settings.model import Settings, load
from bridge.settings.reload import files_of, read_again
from tests.support.certificates import Certificates
from tests.support.rotating_wallet import FILES, OLD
from tests.support.settings_files import toml, write

CODES = """
[wallet.codes.7]
grpc = "NOT_FOUND"
reason = "TOKEN_NOT_FOUND"
[wallet.codes.8]
success = true
"""
SERVER = """
tls_certificate_file = "server.pem"
tls_key_file = "server_key.pem"
tls_client_ca_file = "ca.pem"
allowed_identities = ["spiffe://example/one", "two.example"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Load settings that name files wherever they can, next to bridge.toml."""
    Certificates(tmp_path)
    OLD.write(tmp_path)
    keys = "\n".join(f'{name}_file = "{name}"' for name in FILES)
    return load(write(tmp_path, toml(server=SERVER, keys=keys, rest=CODES)), {})


def test_the_files_of_a_section_are_those_it_names_itself(settings: Settings, tmp_path: Path) -> None:
    """Every file has its setting's whole name and its own path; a setting that is not given has none."""
    assert files_of(("wallet",), settings.wallet) == {}
    assert files_of(("wallet", "providers", "12345"), settings.wallet.providers[12345]) == {
        "wallet.providers.12345.access_key_file": tmp_path / "access_key",
        "wallet.providers.12345.private_key_file": tmp_path / "private_key",
    }


def test_what_has_not_changed_is_the_same_again(settings: Settings) -> None:
    """A section with tables, lists and files passes its checks again and is equal, but another."""
    for section in (settings.server, settings.wallet, settings.wallet.providers[12345], settings.telemetry):
        again = read_again(section)
        assert again == section
        assert again is not section


def test_what_is_wrong_is_said_as_at_the_start(settings: Settings, tmp_path: Path) -> None:
    """The error has a line's words for each wrong setting, and hides what the files hold."""
    for name in FILES:
        (tmp_path / name).write_text("the secret\n\n")
    with pytest.raises(ReloadError) as raised:
        read_again(settings.wallet.providers[12345])
    at_an_end = "it has white space at an end"
    assert str(raised.value) == (
        f"access_key: must be printable ASCII without white space at its ends in access_key_file; {at_an_end}; "
        f"private_key: must be the text of a UUID, 36 characters with dashes in private_key_file; {at_an_end}"
    )
    assert raised.value.__context__ is None
