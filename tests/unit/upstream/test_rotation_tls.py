"""What new TLS files mean: other certificates for new connections to the wallet, or nothing but a report."""

import shutil
from pathlib import Path

import pytest

from bridge.events import Event, Reloaded, ReloadFailed
from bridge.settings.model import Wallet, load
from bridge.upstream.from_settings import keyring_of
from bridge.upstream.key_rotation import Rotation
from tests.support.certificates import Certificates
from tests.support.whole_path import environment

CA_FILE, CERTIFICATE_FILE, KEY_FILE = KEYS = tuple(
    f"wallet.{name}" for name in ("ca_file", "client_certificate_file", "client_key_file")
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificates, Certificates]:
    """Make certificates of two authorities."""
    return Certificates(tmp_path_factory.mktemp("old")), Certificates(tmp_path_factory.mktemp("new"))


class RotatingTls:
    """A rotation by TLS files in a folder, which have been looked at once, and what came of it."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.files = {key: folder / key for key in KEYS}
        self.put(certificates)
        variables = {f"BRIDGE_{key.upper().replace('.', '__')}": str(path) for key, path in self.files.items()}
        self.wallet = load(None, environment("https://wallet.example") | variables).wallet
        self.used: list[Wallet] = []
        self.events: list[Event] = []
        self.rotation = Rotation(self.wallet, keyring_of(self.wallet), self.used.append, self.events.append)
        self.rotation.check()
        self.used.clear()

    def put(self, certificates: Certificates, *keys: str) -> None:
        """Replace these files, or all of them."""
        client = certificates.client
        paths = (certificates.ca_file, client.certificate_file, client.key_file)
        for key, path in zip(self.files, paths, strict=True):
            if not keys or key in keys:
                shutil.copy(path, self.files[key])

    def look(self) -> list[Event]:
        """Look until a change counts; return what was emitted meanwhile."""
        before = len(self.events)
        for _ in range(2):
            self.rotation.check()
        return self.events[before:]


@pytest.fixture
def rotating_tls(tmp_path: Path, certificates: tuple[Certificates, Certificates]) -> RotatingTls:
    """Watch a CA and a client certificate of the old authority."""
    return RotatingTls(tmp_path, certificates[0])


def test_all_tls_files_are_one_change(
    rotating_tls: RotatingTls, certificates: tuple[Certificates, Certificates]
) -> None:
    """CA, certificate and key replaced are one change: TLS is set up again once."""
    rotating_tls.put(certificates[1])
    assert rotating_tls.look() == [Reloaded(CA_FILE), Reloaded(CERTIFICATE_FILE), Reloaded(KEY_FILE)]
    assert rotating_tls.used == [rotating_tls.wallet]


OTHER_KEY = (
    "client_key_file: is not the key of the certificate in client_certificate_file: it belongs to another certificate"
)
CUT_OFF = "is cut off: a line -----END CERTIFICATE----- is missing"


@pytest.mark.parametrize("key", [CERTIFICATE_FILE, KEY_FILE])
def test_half_a_pair_is_not_used(
    rotating_tls: RotatingTls, certificates: tuple[Certificates, Certificates], key: str
) -> None:
    """A certificate without its key, or a key without its certificate, is reported; the whole pair is taken up."""
    rotating_tls.put(certificates[1], key)
    assert rotating_tls.look() == [ReloadFailed(key, OTHER_KEY)]
    assert rotating_tls.used == []
    rotating_tls.put(certificates[1], CERTIFICATE_FILE, KEY_FILE)
    assert rotating_tls.look() == [Reloaded(CERTIFICATE_FILE), Reloaded(KEY_FILE)]
    assert rotating_tls.used == [rotating_tls.wallet]


BAD_TLS = {
    "CA emptied": (CA_FILE, 0, "ca_file: is empty"),
    "CA cut short": (CA_FILE, 300, f"ca_file: {CUT_OFF}"),
    "certificate emptied": (CERTIFICATE_FILE, 0, "client_certificate_file: is empty"),
    "certificate cut short": (CERTIFICATE_FILE, 300, f"client_certificate_file: {CUT_OFF}"),
    "key cut short": (KEY_FILE, 100, f"client_key_file: {CUT_OFF.replace('CERTIFICATE', 'PRIVATE KEY')}"),
}


@pytest.mark.parametrize(("key", "size_bytes", "problem"), BAD_TLS.values(), ids=BAD_TLS)
def test_a_bad_tls_file_is_not_used(
    rotating_tls: RotatingTls, certificates: tuple[Certificates, Certificates], key: str, size_bytes: int, problem: str
) -> None:
    """A file that the settings would refuse is reported in their words, and TLS stays as it is until it is fixed."""
    path = rotating_tls.files[key]
    path.write_bytes(path.read_bytes()[:size_bytes])
    assert rotating_tls.look() == [ReloadFailed(key, problem)]
    assert rotating_tls.used == []
    rotating_tls.put(certificates[0])
    assert rotating_tls.look() == [Reloaded(key)]
    assert rotating_tls.used == [rotating_tls.wallet]
