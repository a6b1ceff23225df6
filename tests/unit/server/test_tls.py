"""The server's certificate files by themselves: when what they hold is used, and that it is checked as one."""

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationInfo, field_validator

from bridge.address import ListenError
from bridge.server.tls import KEY, ServerTls
from bridge.settings.file_watch import ReloadError
from bridge.settings.model import load
from bridge.settings.server import Server
from tests.support.certificates import Authority, Identity
from tests.support.serving import tls_settings
from tests.support.whole_path import environment


@pytest.fixture(name="identities")
def _identities(tmp_path: Path) -> tuple[Identity, Identity]:
    """Make two certificates for the server, both with keys."""
    authority = Authority(tmp_path, "ca")
    return authority.server("server"), authority.server("next_server")


def settings_for(identity: Identity) -> Server:
    """Return settings with these files."""
    return load(None, environment("http://127.0.0.1:1", tls_settings(identity))).server


def replace(old: Identity, new: Identity) -> None:
    """Put new files in the place of old ones."""
    shutil.copyfile(new.certificate_file, old.certificate_file)
    shutil.copyfile(new.key_file, old.key_file)


def test_what_is_new_is_handed_over_once(identities: tuple[Identity, Identity]) -> None:
    """At a handshake gRPC gets what is new, once: it keeps it, and with it the sessions that clients resume."""
    old, new = identities
    tls = ServerTls(settings_for(old))
    # No one but gRPC's threads calls this, at a handshake.
    fetch = tls._fetch
    assert fetch() is None
    tls.reload(KEY)
    assert fetch() is None
    replace(old, new)
    tls.reload(KEY)
    assert fetch() is not None
    assert fetch() is None


def test_bad_files_change_nothing(identities: tuple[Identity, Identity]) -> None:
    """Files that cannot be used are refused in words that hold nothing of them, and nothing is handed over."""
    old, new = identities
    tls = ServerTls(settings_for(old))
    shutil.copyfile(new.key_file, old.key_file)
    with pytest.raises(ReloadError, match=r"^tls_key_file: is not the key of the certificate in") as refused:
        tls.reload(KEY)
    assert refused.value.__context__ is None
    old.key_file.unlink()
    with pytest.raises(ReloadError, match=r"^tls_key_file: cannot be read: No such file or directory$"):
        tls.reload(KEY)
    assert tls._fetch() is None  # as above


def test_files_that_were_right_when_settings_were_read(identities: tuple[Identity, Identity]) -> None:
    """Files that have become bad since then stop the start with one line."""
    settings = settings_for(identities[0])
    shutil.copyfile(identities[1].key_file, identities[0].key_file)
    with pytest.raises(ListenError, match=r"^\[server\] tls_key_file: is not the key of the certificate in"):
        ServerTls(settings)


class Restless(Server):
    """Settings whose key file changes, and stays right, whenever it is checked."""

    @field_validator("tls_key_file")
    @classmethod
    def _change(cls, key_file: Path, _info: ValidationInfo) -> Path:
        key_file.write_bytes(key_file.read_bytes() + b"\n")
        return key_file


def test_files_that_change_during_the_check(identities: tuple[Identity, Identity]) -> None:
    """What was checked is what is used: a file that changes in between is not taken, for it may be half of one."""
    files = identities[0]
    settings = Restless(tls_certificate_file=files.certificate_file, tls_key_file=files.key_file)
    with pytest.raises(ListenError, match="has changed again while it was read"):
        ServerTls(settings)
