"""TLS to the wallet: what is trusted and what is spoken, the same on every Python and in every environment."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from bridge.cli.main import main
from bridge.settings.model import SettingsError, Wallet, load
from bridge.upstream import from_settings
from bridge.upstream.from_settings import SYSTEM_BUNDLES, hardened_context, tls_context
from tests.support.certificates import AUTHORITY, HOST, SAN, WORKLOAD, Extension, chain, constraints, usage
from tests.support.whole_path import environment

HTTPS = "https://127.0.0.1"
SUBJECT_HASH = "815a7432.0"


def wallet(ca_file: Path | None = None, url: str = HTTPS) -> Wallet:
    """Return the settings of a wallet with this file of authorities."""
    return load(None, environment(url, {"WALLET__CA_FILE": str(ca_file)} if ca_file else {})).wallet


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str = HOST) -> ssl.SSLObject:
    """Shake hands without a network; return the client's side, or raise what it raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        done = _step(ours)
        try:
            _step(theirs)
        except ssl.SSLError:
            # Its alert is on its way; the client says what it makes of it.
            _step(ours)
        if done:
            return ours
    raise AssertionError("a handshake without end")


def _step(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def test_what_is_decided() -> None:
    """Version, verification and names are as decided, where Pythons and systems have other defaults."""
    context = hardened_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert context.verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.hostname_checks_common_name is False
    assert not context.keylog_filename
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.options & from_settings.LEGACY_SERVER_CONNECT
    assert context.cert_store_stats() == {"x509": 0, "crl": 0, "x509_ca": 0}


def test_ciphers_of_tls_1_2_are_those_that_http2_does_not_prohibit() -> None:
    """Every cipher has ephemeral keys, authenticates the server and is an AEAD (RFC 9113, section 9.2.2)."""
    ciphers = [each for each in hardened_context().get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert ciphers
    for cipher in ciphers:
        assert cipher["aead"]
        assert cipher["name"].startswith(("ECDHE-", "DHE-"))
        assert "Au=RSA" in cipher["description"] or "Au=ECDSA" in cipher["description"]


def test_sslkeylogfile_is_not_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings nor a handshake writes the secrets of TLS to the file that SSLKEYLOGFILE names."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    made = chain(WORKLOAD, AUTHORITY)
    handshake(tls_context(wallet(made.ca_file(tmp_path))), made.server_context(tmp_path))
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_authorities_of_the_environment_are_not_trusted(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ca_file the system's bundle counts, and no file or folder that a variable names."""
    made, system = chain(WORKLOAD, AUTHORITY), chain(WORKLOAD, AUTHORITY)
    (tmp_path / "system").mkdir()
    monkeypatch.setattr(from_settings, "SYSTEM_BUNDLES", (str(system.ca_file(tmp_path / "system")),))
    ca_file = made.ca_file(tmp_path)
    (tmp_path / "dir").mkdir()
    # OpenSSL's name for it in such a folder: the hash of its subject, which is the same for every `authority 1`.
    (tmp_path / "dir" / SUBJECT_HASH).write_bytes(ca_file.read_bytes())
    monkeypatch.setenv(variable, str(ca_file if variable == "SSL_CERT_FILE" else tmp_path / "dir"))
    # The variable does its work: who asks for OpenSSL's defaults trusts it.
    defaults = hardened_context()
    defaults.load_default_certs()
    handshake(defaults, made.server_context(tmp_path))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(wallet()), made.server_context(tmp_path))
    assert handshake(tls_context(wallet()), system.server_context(tmp_path / "system")).version() == "TLSv1.3"


def test_the_first_bundle_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that is missing, a folder, empty or none at all is passed over."""
    made = chain(WORKLOAD, AUTHORITY)
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text.pem").write_text("no certificate")
    bundles = (tmp_path / "missing.pem", tmp_path, tmp_path / "empty.pem", tmp_path / "text.pem")
    monkeypatch.setattr(from_settings, "SYSTEM_BUNDLES", (*map(str, bundles), str(made.ca_file(tmp_path))))
    assert handshake(tls_context(wallet()), made.server_context(tmp_path)).version() == "TLSv1.3"


def test_no_bundle_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a system has no bundle, one line names the setting, the package and every place; --check says it too."""
    monkeypatch.setattr(from_settings, "SYSTEM_BUNDLES", ("/nowhere/one.pem", "/nowhere/two.pem"))
    with pytest.raises(
        SettingsError, match=r"^wallet\.ca_file: .*ca-certificates.*/nowhere/one\.pem, /nowhere/two\.pem"
    ):
        tls_context(wallet())
    for name, value in environment(HTTPS).items():
        monkeypatch.setenv(name, value)
    assert main(["serve", "--check"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("bridge: wallet.ca_file: ")
    # A file of one's own, and plaintext, need none.
    tls_context(wallet(chain(WORKLOAD, AUTHORITY).ca_file(tmp_path)))
    assert tls_context(wallet(url="http://127.0.0.1")).cert_store_stats()["x509"] == 0


def test_bundles_of_systems_are_fixed_places() -> None:
    """Every place is an absolute path, whatever a variable says."""
    assert all(Path(bundle).is_absolute() for bundle in SYSTEM_BUNDLES)


# Private authorities as they are made with openssl, old tools and scripts: VERIFY_X509_STRICT refuses each of them.
TAKEN: dict[str, list[list[Extension]]] = {
    "no key identifiers": [[*WORKLOAD], [*AUTHORITY]],
    "constraints not critical": [[*WORKLOAD], [constraints(ca=True, critical=False), usage("key_cert_sign")]],
    "no key usage": [[*WORKLOAD], [constraints(ca=True)]],
    "intermediate without identifiers": [[*WORKLOAD], [*AUTHORITY], [*AUTHORITY]],
    "path just long enough": [[*WORKLOAD], [*AUTHORITY], [constraints(ca=True, path_length=1), usage("key_cert_sign")]],
}
REFUSED: dict[str, list[list[Extension]]] = {
    "root that is no authority": [[*WORKLOAD], [constraints(ca=False)]],
    "root that is no authority, with the usage": [[*WORKLOAD], [constraints(ca=False), usage("key_cert_sign")]],
    "root whose key signs no certificates": [[*WORKLOAD], [constraints(ca=True), usage("digital_signature")]],
    "root that does not say that it is an authority": [[*WORKLOAD], [SAN]],
    "intermediate that is no authority": [[*WORKLOAD], [constraints(ca=False)], [*AUTHORITY]],
    "intermediate whose key signs no certificates": [
        [*WORKLOAD],
        [constraints(ca=True), usage("digital_signature", "crl_sign")],
        [*AUTHORITY],
    ],
    "path too long": [[*WORKLOAD], [*AUTHORITY], [constraints(ca=True, path_length=0), usage("key_cert_sign")]],
}


@pytest.mark.parametrize("levels", TAKEN.values(), ids=TAKEN)
def test_private_authority(levels: list[list[Extension]], tmp_path: Path) -> None:
    """An authority is trusted although a stricter client would find fault with its form."""
    made = chain(*levels)
    ours = handshake(tls_context(wallet(made.ca_file(tmp_path))), made.server_context(tmp_path))
    assert ours.version() == "TLSv1.3"


@pytest.mark.parametrize("levels", REFUSED.values(), ids=REFUSED)
def test_authority_that_may_not_sign(levels: list[list[Extension]], tmp_path: Path) -> None:
    """A certificate whose own words forbid it to sign others is no authority, also as the root in ca_file."""
    made = chain(*levels)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(wallet(made.ca_file(tmp_path))), made.server_context(tmp_path))


def test_an_intermediate_alone_is_no_root(tmp_path: Path) -> None:
    """An authority in ca_file that another one has signed is not trusted without that one."""
    made = chain(WORKLOAD, AUTHORITY, AUTHORITY)
    server = made.server_context(tmp_path)
    ca_file = tmp_path / "intermediate.pem"
    ca_file.write_bytes(made[1].pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_context(wallet(ca_file)), server)


@pytest.mark.parametrize(
    ("extensions", "common_name", "is_taken"),
    [
        ((x509.SubjectAlternativeName([x509.DNSName("wallet.pay.example")]), False), "other", True),
        (None, "wallet.pay.example", False),
        ((x509.SubjectAlternativeName([x509.RFC822Name("a@wallet.pay.example")]), False), "wallet.pay.example", False),
        ((x509.SubjectAlternativeName([x509.DNSName("other.example")]), False), "wallet.pay.example", False),
        ((x509.SubjectAlternativeName([x509.DNSName("*.pay.example")]), False), "other", True),
        ((x509.SubjectAlternativeName([x509.DNSName("w*.pay.example")]), False), "other", False),
    ],
    ids=["name", "common name alone", "common name and an e-mail", "common name and another", "wildcard", "part"],
)
def test_names(extensions: Extension | None, common_name: str, is_taken: bool, tmp_path: Path) -> None:  # noqa: FBT001 -- a case's column
    """The host is looked for among the alternative names and nowhere else."""
    own = [constraints(ca=False), *([extensions] if extensions else [])]
    made = chain(own, AUTHORITY, common_name=common_name)
    context, server = tls_context(wallet(made.ca_file(tmp_path))), made.server_context(tmp_path)
    if is_taken:
        handshake(context, server, "wallet.pay.example")
        return
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, server, "wallet.pay.example")


def test_an_older_version_is_not_spoken(tmp_path: Path) -> None:
    """A server of TLS 1.1 is refused whatever the system's settings of OpenSSL allow."""
    made = chain(WORKLOAD, AUTHORITY)
    server = made.server_context(tmp_path)
    server.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        server.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        handshake(tls_context(wallet(made.ca_file(tmp_path))), server)


@pytest.mark.parametrize(
    ("ciphers", "is_taken"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-ECDSA-AES128-SHA", False),
    ],
)
def test_ciphers(ciphers: str, is_taken: bool, tmp_path: Path) -> None:  # noqa: FBT001 -- a case's column
    """With TLS 1.2 a server that knows only what HTTP/2 prohibits is refused."""
    made = chain(WORKLOAD, AUTHORITY)
    server = made.server_context(tmp_path)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers(ciphers)
    context = tls_context(wallet(made.ca_file(tmp_path)))
    if is_taken:
        assert handshake(context, server).version() == "TLSv1.2"
        return
    with pytest.raises(ssl.SSLError):
        handshake(context, server)
