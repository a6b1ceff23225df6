"""The suite's own rules: it runs when it is asked for, says so when it is not, and prints its matrix at the end."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509 import load_pem_x509_certificate

from tests.interop.choice import is_quick, wanted
from tests.interop.matrix import Matrix
from tests.interop.results import merge
from tests.interop.servers import SERVERS
from tests.interop.site import Tls
from tests.support.certificates import Certificates, Identity

DOCUMENT = Path(__file__).parents[2] / "docs" / "interop.md"
MATRIX = pytest.StashKey[Matrix]()
collect_ignore = [] if wanted() else ["test_servers.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty matrix."""
    config.stash[MATRIX] = Matrix()


@pytest.fixture(name="matrix")
def _matrix(request: pytest.FixtureRequest) -> Matrix:
    """Return the run's matrix."""
    if MATRIX not in request.config.stash:
        request.config.stash[MATRIX] = Matrix()
    return request.config.stash[MATRIX]


@pytest.fixture(scope="session", name="certificates")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make certificates, once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Write the server's certificate in each form that some server requires."""
    folder = tmp_path_factory.mktemp("tls")
    certificate = certificates.server.certificate_file.read_bytes()
    key = load_pem_private_key(certificates.server.key_file.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = Tls(
        certificates.ca_file,
        Identity(certificates.server.certificate_file, folder / "key.pem"),
        folder / "pair.pem",
        folder / "pair.p12",
    )
    files.identity.key_file.write_bytes(pem)
    files.pair.write_bytes(pem + certificate)
    files.keystore.write_bytes(
        serialize_key_and_certificates(
            b"wallet", key, load_pem_x509_certificate(certificate), None, BestAvailableEncryption(b"interop")
        )
    )
    return files


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the matrix; write the document, but not from the quick part."""
    found = config.stash.get(MATRIX, None)
    if not wanted():
        terminalreporter.write_line(
            "tests/interop: not run here; `make interop` runs the real servers behind the bridge"
        )
    if found is None or not found.lines:
        return
    terminalreporter.section("real servers: calls, failed, duplicated, false certainty, bodies")
    for line in found.text():
        terminalreporter.write_line(line)
    if not is_quick():
        DOCUMENT.write_text(merge(found).document(SERVERS), encoding="utf-8")
        terminalreporter.write_line(f"written: docs/{DOCUMENT.name}")
