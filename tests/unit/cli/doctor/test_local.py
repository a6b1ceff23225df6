"""What the doctor says of settings, credentials and certificate files; nothing of it needs a network."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from bridge.cli.doctor.local import Subject, local_findings
from bridge.settings.model import load
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY, URL, toml, write

NOW = datetime.now(UTC)
PATHS = ("/api/wallet/terminate",)
OWN_KEYS = 'access_key = "own"\nprivate_key = "01234567-89ab-cdef-0123-456789abcdef"'
NOTHING: Mapping[str, str] = {}


def reported(config: Path | None, environ: Mapping[str, str] = NOTHING, *, check: str = "") -> list[str]:
    """Return what is found, each as "level text", by one check or by all."""
    subject = Subject(load(config, environ), PATHS, config, environ, NOW)
    return [f"{each.level} {each.text}" for each in local_findings(subject) if check in ("", each.check)]


def private(path: Path) -> Path:
    """Let no other user read a file."""
    path.chmod(0o600)
    return path


def test_all_is_well(tmp_path: Path) -> None:
    """Where nothing is wrong there is one line for each check."""
    assert reported(private(write(tmp_path, toml(keys=OWN_KEYS)))) == [
        "ok wallet.url = https://wallet.example",
        "ok provider 12345: the keys have the right shape",
        "ok no certificate files are set: the system's authorities are trusted",
    ]


def test_plaintext(tmp_path: Path) -> None:
    """A wallet without TLS is a warning; that it would be allowed is none."""
    allowed = 'allow_plaintext = true\nurl = "https://wallet.example"'
    assert len(reported(write(tmp_path, toml(wallet=allowed)), check="settings")) == 1
    in_use = reported(write(tmp_path, toml(wallet=allowed.replace("https", "http"))), check="settings")
    assert in_use[1:] == [
        "warn wallet.url is http://: credentials and tokens go out unencrypted; only a test may do so"
    ]


URLS = {
    "another-path": ("/staging/v2", ""),
    "an-operation": ("/api/wallet/terminate", "FAIL wallet.url ends with /api/wallet/terminate, which the bridge adds"),
    "below-a-gateway": ("/gateway/api/wallet/terminate", "FAIL wallet.url ends with /api/wallet/terminate, which"),
    "half-an-operation": ("/api/wallet", "warn calls go to /api/wallet/api/wallet/terminate: if /api/wallet is there"),
    "alike": ("/api/wall", ""),
}


@pytest.mark.parametrize(("path", "begin"), URLS.values(), ids=URLS.keys())
def test_path_of_the_url(tmp_path: Path, path: str, begin: str) -> None:
    """A URL that holds what the bridge adds by itself would lead every call astray."""
    found = reported(write(tmp_path, toml(wallet=f'url = "https://wallet.example{path}"')), check="settings")
    assert [line for line in found if not line.startswith("ok ")] == found[1:]
    assert bool(found[1:]) == bool(begin)
    assert all(line.startswith(begin) for line in found[1:])


def test_sample_keys(tmp_path: Path) -> None:
    """The keys of the wallet's page are a warning, in whatever case they were copied."""
    keys = f'access_key = "{ACCESS_KEY}"\nprivate_key = "{PRIVATE_KEY.upper()}"'
    assert reported(private(write(tmp_path, toml(keys=keys))), check="credentials") == [
        "warn provider 12345: access_key is the wallet page's published sample: put in your own",
        "warn provider 12345: private_key is the wallet page's published sample: put in your own",
    ]


def test_shared_keys(tmp_path: Path) -> None:
    """A key that several providers have is a warning that names them all, and not the key."""
    rest = f"[wallet.providers.2]\n{OWN_KEYS}\n[wallet.providers.1]\n{OWN_KEYS.replace('own', 'other')}"
    assert reported(private(write(tmp_path, toml(keys=OWN_KEYS, rest=rest))), check="credentials") == [
        "warn providers 2, 12345 have the same access_key: every provider is given keys of its own",
        "warn providers 1, 2, 12345 have the same private_key: every provider is given keys of its own",
    ]


def key_files(folder: Path) -> tuple[Path, Path]:
    """Write both keys into files that no other user can read."""
    access, secret = folder / "access", folder / "secret"
    access.write_text("own")
    secret.write_text("01234567-89ab-cdef-0123-456789abcdef")
    return private(access), private(secret)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o440], ids=oct)
def test_closed_key_files(tmp_path: Path, mode: int) -> None:
    """Files that only owner and group can read are fine, and the configuration may be open: no key is in it."""
    for file in key_files(tmp_path):
        file.chmod(mode)
    config = write(tmp_path, toml(keys='access_key_file = "access"\nprivate_key_file = "secret"'))
    config.chmod(0o644)
    assert reported(config, check="credentials") == ["ok provider 12345: the keys have the right shape"]


def test_open_key_file(tmp_path: Path) -> None:
    """A key's file that everybody can read is a warning that says which and what to do."""
    _, secret = key_files(tmp_path)
    secret.chmod(0o644)
    config = write(tmp_path, toml(keys='access_key_file = "access"\nprivate_key_file = "secret"'))
    assert reported(config, check="credentials") == [
        f"warn wallet.providers.12345.private_key_file: everybody here can read {secret} (mode 644): chmod o-r"
    ]


def test_open_key_behind_a_link(tmp_path: Path) -> None:
    """What counts is the file at a link's end, as with Kubernetes' secrets."""
    access, secret = key_files(tmp_path)
    secret.chmod(0o604)
    link = tmp_path / "link"
    link.symlink_to(secret)
    keys = f'access_key_file = "{access}"\nprivate_key_file = "{link}"'
    assert [line.split()[0] for line in reported(write(tmp_path, toml(keys=keys)), check="credentials")] == ["warn"]


def test_open_configuration(tmp_path: Path) -> None:
    """A configuration with keys in it must be as closed as a key's file."""
    config = write(tmp_path, toml(keys=OWN_KEYS))
    config.chmod(0o644)
    assert reported(config, check="credentials") == [
        f"warn the configuration has keys in it: everybody here can read {config} (mode 644): chmod o-r"
    ]


def test_keys_of_the_environment(tmp_path: Path) -> None:
    """Keys from the environment are in no file, also where the configuration is open."""
    config = tmp_path / "bridge.toml"
    config.write_text(f"[wallet]\n{URL}\n")
    config.chmod(0o644)
    prefix = "BRIDGE_WALLET__PROVIDERS__12345__"
    environ = {f"{prefix}ACCESS_KEY": "own", f"{prefix}PRIVATE_KEY": "01234567-89ab-cdef-0123-456789abcdef"}
    assert [line.split()[0] for line in reported(config, environ, check="credentials")] == ["ok"]
    assert [line.split()[0] for line in reported(None, environ | {"BRIDGE_WALLET__URL": "https://w.example"})] == [
        "ok"
    ] * 3


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Make an authority whose certificate is in ca.pem."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def issue(folder: Path, authority: trustme.CA, days: float, begun_days: float = 400) -> str:
    """Write a certificate that is good for so many days, with its key; return the lines that set them."""
    leaf = authority.issue_cert(
        "bridge.example", not_before=NOW - timedelta(days=begun_days), not_after=NOW + timedelta(days=days)
    )
    leaf.private_key_pem.write_to_path(str(folder / "own.key"))
    for number, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(str(folder / "own.pem"), append=number > 0)
    private(folder / "own.key")
    return 'client_certificate_file = "own.pem"\nclient_key_file = "own.key"'


OWN = {
    "good": (31, 400, "ok wallet.client_certificate_file is valid until "),
    "soon": (29.5, 400, "warn wallet.client_certificate_file expires on "),
    "over": (-1, 400, "FAIL wallet.client_certificate_file has expired, on "),
    "not-yet": (90, -1, "FAIL wallet.client_certificate_file is valid only from "),
}


@pytest.mark.parametrize(("days", "begun_days", "begin"), OWN.values(), ids=OWN.keys())
def test_own_certificate(tmp_path: Path, authority: trustme.CA, days: float, begun_days: float, begin: str) -> None:
    """Our own certificate's end is reported 30 days ahead, and is a failure when it has come."""
    lines = issue(tmp_path, authority, days, begun_days)
    (found,) = reported(write(tmp_path, toml(wallet=f"{URL}\n{lines}")), check="files")
    assert found.startswith(begin)


def test_chain(tmp_path: Path, authority: trustme.CA) -> None:
    """Of a chain, every certificate is needed: also one that stands behind the bridge's own is watched."""
    lines = issue(tmp_path, authority, days=3)
    short = (tmp_path / "own.pem").read_bytes()
    lines = issue(tmp_path, authority, days=300)
    (tmp_path / "own.pem").write_bytes((tmp_path / "own.pem").read_bytes() + short)
    own, order, above = reported(write(tmp_path, toml(wallet=f"{URL}\n{lines}")), check="files")
    assert own.startswith("ok wallet.client_certificate_file is valid until ")
    assert order.startswith(
        "warn wallet.client_certificate_file: certificate 2 in it is not of the authority that signed "
    )
    assert above.startswith("warn wallet.client_certificate_file: certificate 2 in it expires on ")


def test_authorities(tmp_path: Path, authority: trustme.CA) -> None:
    """Of several authorities in a file one is enough: while the wallet changes its own, both are there."""
    issue(tmp_path, authority, days=-1)
    ending = (tmp_path / "own.pem").read_bytes()
    config = write(tmp_path, toml(wallet=f'{URL}\nca_file = "ca.pem"'))
    (tmp_path / "ca.pem").write_bytes(ending + (tmp_path / "ca.pem").read_bytes())
    assert [line.split()[0] for line in reported(config, check="files")] == ["ok"]
    (tmp_path / "ca.pem").write_bytes(ending)
    (found,) = reported(config, check="files")
    assert found.startswith("FAIL wallet.ca_file has expired, on ")


LATER = {"two that are valid": (20, 300), "beside one that has expired": (20, -1), "both expired": (-1, -3)}


@pytest.mark.parametrize("days", LATER.values(), ids=LATER)
@pytest.mark.parametrize("is_turned", [False, True], ids=["first", "last"])
def test_which_authority_counts(
    tmp_path: Path, authority: trustme.CA, days: tuple[int, int], *, is_turned: bool
) -> None:
    """The first of the valid authorities to end is reported, else the last that ended, wherever it stands."""
    contents = []
    for each in days:
        issue(tmp_path, authority, days=each)
        contents.append((tmp_path / "own.pem").read_bytes())
    config = write(tmp_path, toml(wallet=f'{URL}\nca_file = "ca.pem"'))
    (tmp_path / "ca.pem").write_bytes(b"".join(reversed(contents) if is_turned else contents))
    (found,) = reported(config, check="files")
    assert f"{NOW + timedelta(days=days[0]):%Y-%m-%d}" in found


def test_servers_own_files(tmp_path: Path, authority: trustme.CA) -> None:
    """The files of the bridge's own TLS are checked too, and its key's permissions."""
    issue(tmp_path, authority, days=300)
    server = 'tls_certificate_file = "own.pem"\ntls_key_file = "own.key"\ntls_client_ca_file = "ca.pem"'
    config = private(write(tmp_path, toml(keys=OWN_KEYS, server=server)))
    found = reported(config, check="files")
    assert [line.split()[:2] for line in found] == [
        ["ok", "server.tls_certificate_file"],
        ["ok", "server.tls_client_ca_file"],
    ]
    (tmp_path / "own.key").chmod(0o644)
    (found_open,) = reported(config, check="credentials")
    assert found_open.startswith("warn server.tls_key_file: everybody here can read ")


def test_certificate_that_went_wrong(tmp_path: Path, authority: trustme.CA) -> None:
    """A file whose dates cannot be read is a warning that says why: others may check it."""
    lines = issue(tmp_path, authority, days=300)
    config = write(tmp_path, toml(wallet=f"{URL}\n{lines}"))
    settings = load(config, NOTHING)
    for content in (b"", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"):
        (tmp_path / "own.pem").write_bytes(content)
        subject = Subject(settings, PATHS, config, NOTHING, NOW)
        (found,) = [each for each in local_findings(subject) if each.check == "files"]
        assert f"{found.level} {found.text}".startswith(
            "warn wallet.client_certificate_file: its dates cannot be read: "
        )
