"""Files of certificates and keys: each fault has a line of its own, which names the file and what to do."""

from pathlib import Path

import pytest

from bridge.settings.model import load
from tests.support.pem_files import write_pem_files
from tests.support.settings_files import URL, refusal, toml, write

CERTIFICATE, KEY, CLIENT_CA, CA = (
    "server.tls_certificate_file",
    "server.tls_key_file",
    "server.tls_client_ca_file",
    "wallet.ca_file",
)
NO_BOM = "begins with a byte order mark (BOM): save it as UTF-8 without one"
LINE_ENDS = r"has \n written out where its lines should end: put line ends there"
ALONE = "is indented, or all on one line: a line -----BEGIN ...----- must stand alone, at its left end"
ENCRYPTED = "is encrypted, and the bridge has no passphrase: decrypt it with openssl pkey -in FILE -out NEW"
NOT_FOR_GRPC = "has a kind of key that gRPC cannot use: take RSA, ECDSA with P-256, P-384 or P-521, or Ed25519"

CERTIFICATES = {
    "empty.pem": "is empty",
    "blank.pem": "is empty",
    "text.pem": "is not PEM: it has no line -----BEGIN CERTIFICATE-----",
    "bom.pem": NO_BOM,
    "bom-before-two.pem": NO_BOM,
    "utf-16.pem": "is UTF-16, not PEM: save it as UTF-8 without a byte order mark",
    "der.pem": "is DER, not PEM: convert it with openssl x509 -inform der",
    "pkcs12.pem": "is PKCS#12, not PEM: convert it with openssl pkcs12 -nokeys",
    "pkcs7.pem": "holds PKCS#7: convert it with openssl pkcs7 -print_certs",
    "own.key": "holds a private key and no certificate: are the two files swapped?",
    "openssh.key": "holds a private key and no certificate: are the two files swapped?",
    "request.pem": "holds a certificate request (CSR), not the certificate that was issued for it",
    "public.pem": "holds a public key and no certificate",
    "revocations.pem": "holds a revocation list (CRL) and no certificate",
    "cut-off.pem": "is cut off: a line -----END CERTIFICATE----- is missing",
    "damaged.pem": "is damaged: certificate 1 in it cannot be read",
    "chain-damaged.pem": "is damaged: certificate 2 in it cannot be read",
    "escaped.pem": LINE_ENDS,
    "indented.pem": ALONE,
    "one-line.pem": ALONE,
    "nowhere.pem": "cannot be read: No such file or directory: {folder}/nowhere.pem",
    ".": "cannot be read: Is a directory: {folder}",
    "-----BEGIN CERTIFICATE-----": "must be the path of a file, not what the file holds",
}
"""File -> what is said of it, wherever certificates are wanted, by every command (tests/unit/cli/test_mistakes.py)."""

KEYS = {
    "empty.pem": "is empty",
    "text.pem": "is not PEM: it has no line -----BEGIN PRIVATE KEY-----",
    "bom.key": NO_BOM,
    "utf-16.pem": "is UTF-16, not PEM: save it as UTF-8 without a byte order mark",
    "der.key": "is DER, not PEM: convert it with openssl pkey -inform der",
    "pkcs12.pem": "is PKCS#12, not PEM: convert it with openssl pkcs12 -nocerts -nodes",
    "own.pem": "holds a certificate and no private key: are the two files swapped?",
    "request.pem": "holds a certificate request (CSR) and no private key",
    "public.pem": "holds a public key, not the private one",
    "openssh.key": "holds a key in OpenSSH's own form: convert it with ssh-keygen -p -m PKCS8",
    "encrypted.key": ENCRYPTED,
    "encrypted-old.key": ENCRYPTED,
    "cut-off.key": "is cut off: a line -----END PRIVATE KEY----- is missing",
    "damaged.key": "is damaged: the private key in it cannot be read",
    "escaped.key": LINE_ENDS,
    "other.key": "is not the key of the certificate in tls_certificate_file: it belongs to another certificate",
    "revocations.pem": "holds no private key",
    "nowhere.key": "cannot be read: No such file or directory: {folder}/nowhere.key",
    "-----BEGIN PRIVATE KEY-----": "must be the path of a file, not what the file holds",
}
"""File -> what every command says of it as the key of own.pem."""

PAIRS = {
    "secp256k1": (CERTIFICATE, "k1.pem", "k1.key", NOT_FOR_GRPC),
    "Ed448": (CERTIFICATE, "ed448.pem", "ed448.key", NOT_FOR_GRPC),
    "trusted": (CERTIFICATE, "trusted.pem", "own.key", "holds a certificate in a form of OpenSSL's own (TRUSTED): "),
    "no key": (KEY, "own.pem", "", "is missing: tls_certificate_file needs it"),
    "no certificate": (KEY, "", "own.key", "needs tls_certificate_file too"),
}

GOOD_PAIRS = [("own.pem", "own.key"), ("chain.pem", "own.key"), ("combined.pem", "combined.pem")]
GOOD_PAIRS += [(f"{kind}.pem", f"{kind}.key") for kind in ("rsa", "p384")]


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of certificates and keys, most of them with something wrong."""
    folder = tmp_path_factory.mktemp("pem")
    write_pem_files(folder)
    return folder


def tls(certificate: str, key: str, **more: str) -> str:
    """Return the settings of TLS towards callers; "" is a file that is not set."""
    files = {"tls_certificate_file": certificate, "tls_key_file": key, **more}
    return toml(server="\n".join(f'{name} = "{file}"' for name, file in files.items() if file))


def settings_with(place: str, file: str) -> str:
    """Return settings that name a file at one of the places of certificates."""
    if place == CA:
        return toml(wallet=f'{URL}\nca_file = "{file}"')
    return tls(file, "own.key") if place == CERTIFICATE else tls("own.pem", "own.key", tls_client_ca_file=file)


@pytest.mark.parametrize(("place", "certificate", "key", "problem"), PAIRS.values(), ids=PAIRS)
def test_a_wrong_pair(folder: Path, place: str, certificate: str, key: str, problem: str) -> None:
    """Two files that can be read and do not work together are refused, and so is half a pair."""
    (line,) = refusal(write(folder, tls(certificate, key)))
    assert line.startswith(f"{place}: {problem}")


@pytest.mark.parametrize(("certificate", "key"), GOOD_PAIRS)
def test_a_good_pair(folder: Path, certificate: str, key: str) -> None:
    """What OpenSSL and gRPC can use is taken: RSA, ECDSA, a chain, and both halves in one file."""
    assert load(write(folder, tls(certificate, key)), {}).server.tls_key_file == folder / key


def test_the_wallet_may_get_another_kind(folder: Path) -> None:
    """A kind of key that gRPC lacks is no matter towards the wallet, where OpenSSL shows the certificate."""
    pair = 'client_certificate_file = "k1.pem"\nclient_key_file = "k1.key"'
    assert load(write(folder, toml(wallet=f"{URL}\n{pair}")), {}).wallet.client_key_file == folder / "k1.key"
