"""What a single setting may hold, at the edges of it, and what is said of what it may not."""

import json
from pathlib import Path

import pytest
import trustme

from bridge.errors import REASONS
from bridge.outcome import GrpcCode
from bridge.settings.model import load
from tests.support.settings_files import KEYS, UINT64_MAX, URL, refused, toml, write

ID_RULE = f"must have a number from 1 to {UINT64_MAX} as its last part, without leading zeros"


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("[::1]:50051", "::1", 50051),
        ("localhost:1", "localhost", 1),
        ("bridge_1.games.example:80", "bridge_1.games.example", 80),
    ],
    ids=["port-0", "highest-port", "ipv6", "name", "underscore"],
)
def test_listen(tmp_path: Path, listen: str, host: str, port: int) -> None:
    """An address to listen on is split into host and port, IPv6 without its brackets."""
    server = load(write(tmp_path, toml(server=f'listen = "{listen}"')), {}).server
    assert (server.listen, server.host, server.port) == (listen, host, port)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://wallet.example/", "https://wallet.example"),
        ("HTTPS://Wallet.Example:8443/Prefix/v1/", "https://wallet.example:8443/Prefix/v1"),
        ("https://[::1]:443", "https://[::1]:443"),
        ("https://10.0.0.1/a%20b", "https://10.0.0.1/a%20b"),
    ],
    ids=["slash", "case-and-prefix", "ipv6", "ipv4-and-escape"],
)
def test_url_is_normalised(tmp_path: Path, given: str, url: str) -> None:
    """Scheme and host are in lower case and no slash stands at the end, so that a path can be appended."""
    assert load(write(tmp_path, toml(wallet=f'url = "{given}"')), {}).wallet.url == url


def test_ids_up_to_uint64(tmp_path: Path) -> None:
    """Providers go from 1 to 2^64-1, codes from 0 to 2^64-1."""
    success = f"[wallet.codes]\n0.success = true\n{UINT64_MAX}.success = true"
    settings = load(write(tmp_path, toml(rest=f"[wallet.providers.{UINT64_MAX}]\n{KEYS}\n{success}")), {})
    assert sorted(settings.wallet.providers) == [12345, UINT64_MAX]
    assert sorted(settings.wallet.codes) == [0, UINT64_MAX]


@pytest.mark.parametrize("name", [code.name for code in GrpcCode if code is not GrpcCode.OK])
def test_every_grpc_code_but_ok(tmp_path: Path, name: str) -> None:
    """Every gRPC code but OK can be given by name."""
    rule = f'grpc = "{name}"\nreason = "X"'
    assert load(write(tmp_path, toml(rest=f"[wallet.codes.7]\n{rule}")), {}).wallet.codes[7].grpc is GrpcCode[name]


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_own_reasons_are_refused(tmp_path: Path, reason: str) -> None:
    """A reason of the bridge's own says something else already."""
    rest = f'[wallet.codes.7]\ngrpc = "NOT_FOUND"\nreason = "{reason}"'
    line = "wallet.codes.7.reason: must be another reason: this one is the bridge's own"
    assert refused(tmp_path, rest=rest) == [line]


NO_PORT = "its port is not a number from 0 to 65535"
NO_HOST = "its host is neither a name nor an address"
NO_IPV6 = "its host is not an IPv6 address in brackets, like [::1]"
EVERY_ADDRESS = "it has no host: 0.0.0.0 or [::] stands for every address of this machine"
WHITE_SPACE = "it has white space or other invisible characters in it"
NOT_ASCII = "its host has characters that are not ASCII: write it with xn-- (RFC 5891)"
WRONG_LISTENS = {
    "no-port": ("127.0.0.1", "it has no port"),
    "ipv6-without-port": ("[::1]", "it has no port"),
    "port-alone": ("50051", "it is a port alone: put a host before it"),
    "no-host": (":50051", EVERY_ADDRESS),
    "star": ("*:50051", EVERY_ADDRESS),
    "port-too-high": ("127.0.0.1:65536", NO_PORT),
    "port-empty": ("127.0.0.1:", NO_PORT),
    "port-signed": ("127.0.0.1:+1", NO_PORT),
    "port-of-two": ("127.0.0.1:50051,50052", NO_PORT),
    "other-digits": ("127.0.0.1:\u0665", NO_PORT),
    "ipv6-bare": ("::1:50051", NO_IPV6),
    "ipv6-malformed": ("[1]:50051", NO_HOST),
    "ipv6-open": ("[::1:50051", NO_IPV6),
    "ipv6-with-zone": ("[fe80::1%eth0]:50051", NO_IPV6),
    "ipv4-malformed": ("127.0.0.256:50051", NO_HOST),
    "name-with-empty-label": ("a..example:50051", NO_HOST),
    "name-too-long": (f"{'a.' * 127}a:50051", NO_HOST),
    "not-ascii": ("brücke.example:50051", NOT_ASCII),
    "placeholder": ("${POD_IP}:50051", "its host is a placeholder that nothing has filled in"),
    "line-end": ("127.0.0.1:50051\\n", WHITE_SPACE),
    "space": ("127.0.0.1: 50051", WHITE_SPACE),
    "url": ("http://127.0.0.1:50051", "it is a URL: leave the part up to :// out"),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


NOT_A_PORT = "its port is not a number from 1 to 65535"
CREDENTIALS = "it has a user name or password (before the @): credentials stand in [wallet.providers.<id>]"
NO_SCHEME = "it has no scheme: put https:// before it"
WRONG_URLS = {
    "empty": ("", "it is empty"),
    "no-scheme": ("wallet.example", NO_SCHEME),
    "no-scheme-but-port": ("wallet.example:443", NO_SCHEME),
    "two-slashes-alone": ("//wallet.example", NO_SCHEME),
    "other-scheme": ("ftp://wallet.example", "its scheme is not https://"),
    "grpc": ("grpcs://wallet.example", "its scheme is not https://"),
    "one-slash": ("https:/wallet.example", "its scheme is not https://"),
    "no-host": ("https://", "it has no host"),
    "no-host-but-port": ("https://:443", "it has no host"),
    "userinfo": ("https://user:password@wallet.example", CREDENTIALS),
    "query": ("https://wallet.example/?a=1", "it has a query (from the ? on): leave it out"),
    "empty-query": ("https://wallet.example?", "it has a query (from the ? on): leave it out"),
    "fragment": ("https://wallet.example/#a", "it has a fragment (from the # on): leave it out"),
    "port-0": ("https://wallet.example:0", NOT_A_PORT),
    "port-too-high": ("https://wallet.example:65536", NOT_A_PORT),
    "port-empty": ("https://wallet.example:", NOT_A_PORT),
    "port-word": ("https://wallet.example:https", NOT_A_PORT),
    "ipv6-malformed": ("https://[::g]", NO_IPV6),
    "ipv6-bare": ("https://fe80::1", NO_IPV6),
    "ipv4-malformed": ("https://10.0.0", NO_HOST),
    "label-ends-in-dash": ("https://wallet-.example", NO_HOST),
    "placeholder": ("https://${WALLET_HOST}", "its host is a placeholder that nothing has filled in"),
    "space": ("https://wallet.example/a b", WHITE_SPACE),
    "space-around": (" https://wallet.example", WHITE_SPACE),
    "line-end": ("https://wallet.example\\n", WHITE_SPACE),
    "backslash": ("https://wallet.example\\\\a", NO_HOST),
    "not-ascii": ("https://wället.example", NOT_ASCII),
    "escape-malformed": ("https://wallet.example/%2", "its path has a character that must be percent-encoded"),
    "two-slashes": ("https://wallet.example/a//b", "its path has an empty segment (//)"),
    "dot-segment": ("https://wallet.example/a/../b", "its path has a segment . or .."),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


@pytest.mark.parametrize("id_", ["0", "-1", "007", "1.5", "x", " 1", "1_000", "\u0665", str(UINT64_MAX + 1)])
def test_wrong_provider_id(tmp_path: Path, id_: str) -> None:
    """A provider's id is a number from 1 to 2^64-1, spelt in the one usual way."""
    name = id_ if id_.isascii() and "." not in id_ and " " not in id_ else json.dumps(id_)
    rest = f'[wallet.providers."{id_}"]\n{KEYS}'
    assert refused(tmp_path, rest=rest) == [f"wallet.providers.{name}: {ID_RULE}"]


def test_longest_reason(tmp_path: Path) -> None:
    """A reason may have 63 characters, ErrorInfo's limit."""
    rule = f'grpc = "INTERNAL"\nreason = "{"X" * 63}"'
    assert load(write(tmp_path, toml(rest=f"[wallet.codes.7]\n{rule}")), {}).wallet.codes[7].reason == "X" * 63


def client_pair(folder: Path, name: str) -> str:
    """Write a client's certificate and key into the folder; return the two settings that name them."""
    issued = trustme.CA().issue_cert("client.example")
    issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    issued.private_key_pem.write_to_path(folder / f"{name}_key.pem")
    return f'client_certificate_file = "{name}.pem"\nclient_key_file = "{name}_key.pem"'


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('client_certificate_file = "client.pem"', "is missing: client_certificate_file needs it"),
        ('client_key_file = "client_key.pem"', "needs client_certificate_file too"),
        (
            'client_certificate_file = "client.pem"\nclient_key_file = "other_key.pem"',
            "is not the key of the certificate in client_certificate_file: it belongs to another certificate",
        ),
        (
            'client_certificate_file = "client.pem"\nclient_key_file = "nowhere.pem"',
            "cannot be read: No such file or directory: {folder}/nowhere.pem",
        ),
    ],
    ids=["key missing", "certificate missing", "another's key", "no such file"],
)
def test_wrong_client_certificate(tmp_path: Path, settings: str, problem: str) -> None:
    """Half a pair, or two halves that do not fit, is refused at the start."""
    client_pair(tmp_path, "client")
    client_pair(tmp_path, "other")
    line = f"wallet.client_key_file: {problem.format(folder=tmp_path)}"
    assert refused(tmp_path, wallet=f"{URL}\n{settings}") == [line]
