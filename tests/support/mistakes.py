"""Mistakes that people make with a bridge's settings and commands, and the line that each must give."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.settings_files import ACCESS_KEY, KEYS, PRIVATE_KEY, PROVIDERS_MISSING, URL, URL_RULE, toml

GOOD = toml()


@dataclass(frozen=True)
class Mistake:
    """Settings with one mistake. In `line`, {folder} is the folder of bridge.toml and of the files that it names."""

    line: str
    content: str | bytes = GOOD
    environ: Mapping[str, str] = field(default_factory=dict)


PAIR = 'tls_certificate_file = "own.pem"\ntls_key_file = "own.key"'
WALLET = f"[wallet]\n{URL}\n"
CONFIG = "{folder}/bridge.toml"
PROVIDER = "wallet.providers.12345"
NATIVE = 'engine = "native"\nnative_trusts_callers = true'
UUID_RULE = "must be the text of a UUID, 36 characters with dashes"
ACCESS_RULE = "must be printable ASCII without white space at its ends"
LISTEN_RULE = 'must be host:port, like "127.0.0.1:50051" or "[::1]:50051", port 0 to 65535'
IDENTITIES_RULE = (
    "must be a list of at least one DNS name or URI as client certificates have them; "
    '"*" only as the last segment of a spiffe:// URI'
)
STORE_RULE = (
    'must be the URL of a store, like "sqlite:///var/lib/wallet-bridge/settlement.db" or '
    '"rediss://user:password@host:6379/0"'
)
WHITE_SPACE = "it has white space or other invisible characters in it"


def server(text: str, line: str) -> Mistake:
    """Return a mistake in [server]."""
    return Mistake(f"server.{line}", toml(server=text))


def listen(address: str, cause: str) -> Mistake:
    """Return a mistake in server.listen."""
    return server(f'listen = "{address}"', f"listen: {LISTEN_RULE}; {cause}")


def url(given: str, cause: str) -> Mistake:
    """Return a mistake in wallet.url."""
    return Mistake(f"wallet.url: {URL_RULE}; {cause}", toml(wallet=f'url = "{given}"'))


def wallet(text: str, line: str) -> Mistake:
    """Return a mistake in [wallet]."""
    return Mistake(f"wallet.{line}", toml(wallet=f"{URL}\n{text}"))


def keys(text: str, line: str) -> Mistake:
    """Return a mistake in a provider's keys."""
    return Mistake(f"{PROVIDER}.{line}", toml(keys=text))


def rest(text: str, line: str) -> Mistake:
    """Return a mistake in another table."""
    return Mistake(line, toml(rest=text))


def code(text: str, line: str) -> Mistake:
    """Return a mistake in [wallet.codes.7]."""
    return rest(f"[wallet.codes.7]\n{text}", f"wallet.codes.7{line}")


def certificate(file: str, cause: str) -> Mistake:
    """Return a mistake in the bridge's own certificate."""
    text = f'tls_certificate_file = "{file}"\ntls_key_file = "own.key"'
    return server(text, f"tls_certificate_file: {cause}")


def key(file: str, cause: str, certificate_file: str = "own.pem") -> Mistake:
    """Return a mistake in the key of the bridge's certificate."""
    return server(f'tls_certificate_file = "{certificate_file}"\ntls_key_file = "{file}"', f"tls_key_file: {cause}")


def variable(name: str, value: str, line: str) -> Mistake:
    """Return a mistake in a variable."""
    return Mistake(line, GOOD, {name: value})


def file(content: str | bytes, line: str) -> Mistake:
    """Return a mistake in the configuration file itself."""
    return Mistake(f"{CONFIG}: {line}", content)


def settlement(store: str, cause: str) -> Mistake:
    """Return a mistake in settlement.store."""
    text = f'[settlement]\nstore = "{store}"\nkey_file = "settlement.key"'
    return rest(text, f"settlement.store: {STORE_RULE}; {cause}")


def settlement_key(name: str, line: str) -> Mistake:
    """Return a mistake in settlement.key_file."""
    return rest(f'[settlement]\nstore = "sqlite:///tmp/never.db"\nkey_file = "{name}"', f"settlement.key_file: {line}")


MISTAKES: dict[str, Mistake] = {
    # --- the file
    "BOM": file(
        b"\xef\xbb\xbf" + GOOD.encode(), "begins with a byte order mark of UTF-8: save it as UTF-8 without one"
    ),
    "UTF-16": file(GOOD.encode("utf-16"), "begins with a byte order mark of UTF-16: save it as UTF-8 without one"),
    "UTF-16 without BOM": file(GOOD.encode("utf-16-le"), "is no text in UTF-8 (it has NUL bytes): save it as UTF-8"),
    "Latin-1": file(f"# gr\u00f6\u00dfe\n{GOOD}".encode("latin-1"), "line 1 is not TOML: it is not UTF-8"),
    "JSON": file(
        '{"wallet": {}}', 'line 1 is not TOML: Invalid statement, at column 1 (each line is [table] or key = "value")'
    ),
    "no quotes": file(
        "[wallet]\nurl = wallet", "line 2 is not TOML: Invalid value, at column 7 (a text stands in quotes)"
    ),
    "key twice": file(
        "[server]\nworkers = 1\nworkers = 2\n",
        "line 3 is not TOML: Cannot overwrite a value, at column 12 (the key stands there twice)",
    ),
    # --- names
    "misspelt key": server('lisen = "x"', "lisen: is not a setting; did you mean server.listen?"),
    "misspelt table": rest("[telemtry]", "telemtry: is not a setting; did you mean telemetry?"),
    "key in the wrong table": server('url = "x"', "url: is not a setting; did you mean wallet.url?"),
    "unknown key": server('colour = "x"', "colour: is not a setting"),
    "key of a provider in [wallet]": wallet(
        f'access_key = "{ACCESS_KEY}"', "access_key: is not a setting; did you mean wallet.providers.<id>.access_key?"
    ),
    "flat provider": Mistake(
        f"{PROVIDER}: must be a table, [{PROVIDER}], with access_key, private_key",
        f'{WALLET}[wallet.providers]\n12345 = "{ACCESS_KEY}"',
    ),
    "provider without an id": Mistake(
        "wallet.providers.access_key: must stand in a table with an id, [wallet.providers.<id>]",
        f'{WALLET}[wallet.providers]\naccess_key = "{ACCESS_KEY}"',
    ),
    "array of providers": Mistake(
        "wallet.providers: must hold tables, [wallet.providers.<id>]", f"{WALLET}[[wallet.providers]]\nid = 5\n"
    ),
    "name for an id": rest(
        f"[wallet.providers.casino]\n{KEYS}",
        f"wallet.providers.casino: must have a number from 1 to {2**64 - 1} as its last part, without leading zeros",
    ),
    "no provider": Mistake(PROVIDERS_MISSING, WALLET),
    "no wallet": Mistake(f"wallet.url: is missing; {URL_RULE}", f"[{PROVIDER}]\n{KEYS}"),
    "value for a table": Mistake("telemetry: must be a table, [telemetry]", f"telemetry = 1\n{GOOD}"),
    # --- variables
    "misspelt variable": variable(
        "BRIDGE_SERVER__LISEN", "x", "BRIDGE_SERVER__LISEN: is not a setting; did you mean BRIDGE_SERVER__LISTEN?"
    ),
    "one underscore": variable(
        "BRIDGE_SERVER_LISTEN", "x", "BRIDGE_SERVER_LISTEN: is not a setting; did you mean BRIDGE_SERVER__LISTEN?"
    ),
    "variable without an id": variable(
        "BRIDGE_WALLET__CODES__GRPC",
        "x",
        "BRIDGE_WALLET__CODES__GRPC: is not a setting; did you mean BRIDGE_WALLET__CODES__<ID>__GRPC?",
    ),
    "empty variable": variable(
        "BRIDGE_SERVER__WORKERS",
        "",
        "server.workers: must be a whole number from 1 to 64 (BRIDGE_SERVER__WORKERS is set)",
    ),
    "key in file and variable": variable(
        "BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY_FILE",
        "x",
        f"{PROVIDER}.access_key: set exactly one of access_key and access_key_file, not both "
        "(BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY_FILE is set)",
    ),
    # --- addresses
    "no port": listen("127.0.0.1", "it has no port"),
    "port alone": listen("50051", "it is a port alone: put a host before it"),
    "no host": listen(":50051", "it has no host: 0.0.0.0 or [::] stands for every address of this machine"),
    "port too high": listen("127.0.0.1:500510", "its port is not a number from 0 to 65535"),
    "IPv6 without brackets": listen("::1:50051", "its host is not an IPv6 address in brackets, like [::1]"),
    "URL to listen on": listen("http://127.0.0.1:50051", "it is a URL: leave the part up to :// out"),
    "placeholder for a host": listen("${POD_IP}:50051", "its host is a placeholder that nothing has filled in"),
    "space in an address": listen("127.0.0.1: 50051", WHITE_SPACE),
    "health on the port of calls": server(
        'health_listen = "127.0.0.1:50051"', "health_listen: must be another port than that of server.listen"
    ),
    "metrics on the port of calls": rest(
        '[telemetry]\nmetrics_listen = "127.0.0.1:50051"',
        "telemetry.metrics_listen: must be another port than that of server.listen",
    ),
    "metrics on the port of calls, everywhere": rest(
        '[telemetry]\nmetrics_listen = "0.0.0.0:50051"',
        "telemetry.metrics_listen: must be another port than that of server.listen",
    ),
    "health on the port of metrics": Mistake(
        "telemetry.metrics_listen: must be another port than that of server.health_listen",
        toml(server='health_listen = "0.0.0.0:9464"'),
    ),
    # --- the wallet's URL
    "no scheme": url("wallet.example", "it has no scheme: put https:// before it"),
    "wrong scheme": url("grpc://wallet.example", "its scheme is not https://"),
    "password in the URL": url(
        "https://a:b@wallet.example",
        "it has a user name or password (before the @): credentials stand in [wallet.providers.<id>]",
    ),
    "no host in the URL": url("https://", "it has no host"),
    "port of the URL": url("https://wallet.example:https", "its port is not a number from 1 to 65535"),
    "query": url("https://wallet.example?key=1", "it has a query (from the ? on): leave it out"),
    "fragment": url("https://wallet.example#key", "it has a fragment (from the # on): leave it out"),
    "dots in the path": url("https://wallet.example/a/../b", "its path has a segment . or .."),
    "plaintext": Mistake(
        "wallet.url: must be https:// unless wallet.allow_plaintext = true",
        toml(wallet='url = "http://wallet.example"'),
    ),
    # --- secrets
    "no key": keys(
        f'access_key = "{ACCESS_KEY}"', "private_key: is missing; set exactly one of private_key and private_key_file"
    ),
    "no key file": keys(
        f'access_key_file = "nowhere"\nprivate_key = "{PRIVATE_KEY}"',
        "access_key: access_key_file cannot be read: No such file or directory in {folder}",
    ),
    "path for a key": keys(
        f'access_key = "{ACCESS_KEY}"\nprivate_key = "/run/secrets/private_key"',
        f"private_key: {UUID_RULE}; it looks like a path: is it for private_key_file?",
    ),
    "key for a path": keys(
        f'access_key = "{ACCESS_KEY}"\nprivate_key_file = "{PRIVATE_KEY}"',
        "private_key: private_key_file is given a key, not the path of a file: is it for private_key?",
    ),
    "empty key": keys(f'access_key = ""\nprivate_key = "{PRIVATE_KEY}"', f"access_key: {ACCESS_RULE}; it is empty"),
    "empty key file": keys(
        f'access_key_file = "empty.pem"\nprivate_key = "{PRIVATE_KEY}"',
        f"access_key: {ACCESS_RULE} in access_key_file; it is empty",
    ),
    "space behind a key": keys(
        f'access_key = "{ACCESS_KEY} "\nprivate_key = "{PRIVATE_KEY}"',
        f"access_key: {ACCESS_RULE}; it has white space at an end",
    ),
    "quotes around a key": keys(
        f'access_key = "{ACCESS_KEY}"\nprivate_key = "\'{PRIVATE_KEY}\'"',
        f"private_key: {UUID_RULE}; it stands in quotes",
    ),
    "placeholder for a key": keys(
        f'access_key = "{ACCESS_KEY}"\nprivate_key = "${{PRIVATE_KEY}}"',
        f"private_key: {UUID_RULE}; it is a placeholder that nothing has filled in",
    ),
    "short fingerprint key": rest(
        '[telemetry]\nfingerprint_key = "short"',
        "telemetry.fingerprint_key: must be at least 16 printable ASCII characters without white space at their ends",
    ),
    # --- certificates
    "empty certificate": certificate("empty.pem", "is empty"),
    "no PEM": certificate("text.pem", "is not PEM: it has no line -----BEGIN CERTIFICATE-----"),
    "DER": certificate("der.pem", "is DER, not PEM: convert it with openssl x509 -inform der"),
    "PKCS#12": certificate("pkcs12.pem", "is PKCS#12, not PEM: convert it with openssl pkcs12 -nokeys"),
    "key for a certificate": certificate(
        "own.key", "holds a private key and no certificate: are the two files swapped?"
    ),
    "request for a certificate": certificate(
        "request.pem", "holds a certificate request (CSR), not the certificate that was issued for it"
    ),
    "certificate cut off": certificate("cut-off.pem", "is cut off: a line -----END CERTIFICATE----- is missing"),
    "damaged chain": certificate("chain-damaged.pem", "is damaged: certificate 2 in it cannot be read"),
    "written line ends": certificate(
        "escaped.pem", r"has \n written out where its lines should end: put line ends there"
    ),
    "kind of key": certificate(
        "ed448.pem", "has a kind of key that gRPC cannot use: take RSA, ECDSA with P-256, P-384 or P-521, or Ed25519"
    ),
    "certificate nowhere": certificate(
        "nowhere.pem", "cannot be read: No such file or directory: {folder}/nowhere.pem"
    ),
    "certificate pasted": certificate(
        "-----BEGIN CERTIFICATE-----", "must be the path of a file, not what the file holds"
    ),
    "encrypted key": key(
        "encrypted.key",
        "is encrypted, and the bridge has no passphrase: decrypt it with openssl pkey -in FILE -out NEW",
    ),
    "another's key": key(
        "other.key", "is not the key of the certificate in tls_certificate_file: it belongs to another certificate"
    ),
    "certificate for a key": key("own.pem", "holds a certificate and no private key: are the two files swapped?"),
    "chain in the wrong order": key(
        "own.key",
        "is the key of certificate 2 in tls_certificate_file, where it must be that of the first: put the bridge's own "
        "certificate first, then those above it",
        "chain-reversed.pem",
    ),
    "short RSA key": key(
        "short.key",
        "cannot be used with tls_certificate_file: the certificate's key is too short to be safe: RSA must have 2048 "
        "bits or more",
        "short.pem",
    ),
    "no key of a certificate": server(
        'tls_certificate_file = "own.pem"', "tls_key_file: is missing: tls_certificate_file needs it"
    ),
    "no certificate of a key": server('tls_key_file = "own.key"', "tls_key_file: needs tls_certificate_file too"),
    "authority in DER": wallet(
        'ca_file = "der.pem"', "ca_file: is DER, not PEM: convert it with openssl x509 -inform der"
    ),
    "clients' authority without TLS": server(
        'tls_client_ca_file = "ca.pem"',
        "tls_client_ca_file: needs tls_certificate_file and tls_key_file too: only TLS asks clients for certificates",
    ),
    "identities without an authority": server(
        f'{PAIR}\nallowed_identities = ["a.example"]',
        "allowed_identities: needs tls_client_ca_file too: it says whose certificates prove an identity",
    ),
    "one identity without a list": server(
        f'{PAIR}\ntls_client_ca_file = "ca.pem"\nallowed_identities = "a.example"',
        f'allowed_identities: {IDENTITIES_RULE}; it is a text: write ["..."]',
    ),
    "wildcard in a name": server(
        f'{PAIR}\ntls_client_ca_file = "ca.pem"\nallowed_identities = ["a.example", "*.example"]',
        f"allowed_identities: {IDENTITIES_RULE}; item 2 is a pattern of another kind",
    ),
    # --- engines
    "unknown engine": server('engine = "rust"', 'engine: must be "grpcio" or "native"'),
    "TLS with the native engine": server(
        f"{NATIVE}\n{PAIR}",
        'tls_certificate_file: cannot be set with engine = "native", which has no TLS; leave it out, or use "grpcio"',
    ),
    "age with the native engine": server(
        f"{NATIVE}\nconnection_age_s = 300",
        'connection_age_s: must be 0 or left out with engine = "native", which cannot close connections by age',
    ),
    # --- numbers and names
    "number too large": server("workers = 65", "workers: must be a whole number from 1 to 64"),
    "text for seconds": server('drain_s = "5s"', "drain_s: must be seconds, 0 to 600"),
    "share above the whole": server(
        "max_in_flight = 10\nmax_in_flight_per_provider = 11",
        "max_in_flight_per_provider: must be a whole number from 1 to server.max_in_flight",
    ),
    "deadlines": wallet(
        "deadline_default_s = 9\ndeadline_max_s = 8", "deadline_max_s: must be at least wallet.deadline_default_s"
    ),
    "log level": rest(
        '[telemetry]\nlog_level = "loud"', 'telemetry.log_level: must be "debug", "info", "warning" or "error"'
    ),
    "gRPC code": code(
        'grpc = "NotFound"\nreason = "A"', '.grpc: must be the name of a gRPC code, like "NOT_FOUND", but not OK'
    ),
    "half a code": code('grpc = "NOT_FOUND"', ": must have either success = true alone, or both grpc and reason"),
    "code 1": rest(
        "[wallet.codes.1]\nsuccess = true", "wallet.codes.1: cannot be mapped: code 1 is the wallet's success"
    ),
    "reason of the bridge": code(
        'grpc = "NOT_FOUND"\nreason = "WALLET_REJECTED"',
        ".reason: must be another reason: this one is the bridge's own",
    ),
    # --- settlement
    "path for a store": settlement(
        "/var/lib/settlement.db", "it has no scheme: a file is sqlite:/// and its path without the first slash"
    ),
    "another database": settlement("postgres://db/x", "its scheme is none of sqlite, redis, rediss and unix"),
    "slash in a password": settlement(
        "redis://user:a/b@host",
        "its port is not a number from 1 to 65535: special characters in a password are percent-encoded",
    ),
    "no settlement key": settlement_key(
        "nowhere", "must be a file with one base64 key of 32 bytes a line; it cannot be read: No such file or directory"
    ),
}
"""Name -> mistake that is found when the settings are read. Each gives this one line."""
