"""Mistakes in a bridge's settings that only a test of what they name can find, and what is only a warning."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.settings_files import ACCESS_KEY, KEYS, PROVIDER, toml


@dataclass(frozen=True)
class Mistake:
    """Settings with one mistake. In `line`, {folder} is the folder of bridge.toml and of the files that it names."""

    line: str
    content: str | bytes = toml()
    environ: Mapping[str, str] = field(default_factory=dict)


LOOPBACK = 'url = "http://127.0.0.1:1"\nallow_plaintext = true'
FREE = 'listen = "127.0.0.1:0"'
STORE = 'store = "sqlite:///{folder}/settlement.db"'
ELSEWHERE = "192.0.2.1:0: cannot be had: it is no address of this machine"
OWN = "server.tls_certificate_file"


def pair(certificate: str) -> str:
    """Return the settings of TLS with this certificate for own.key."""
    return f'{FREE}\ntls_certificate_file = "{certificate}"\ntls_key_file = "own.key"'


def late(line: str, *, server: str = FREE, keys: str = KEYS, settlement: str = "", telemetry: str = "") -> Mistake:
    """Return a mistake in settings that can be read: nothing of what they name is far away."""
    tables = {"settlement": settlement, "telemetry": f'metrics_listen = ""\n{telemetry}'}
    rest = "\n".join(f"[{name}]\n{text}" for name, text in tables.items() if text)
    return Mistake(line, toml(server=server, wallet=LOOPBACK, keys=keys, rest=rest))


LATE_MISTAKES: dict[str, Mistake] = {
    "address elsewhere": late(f"server.listen = {ELSEWHERE}", server='listen = "192.0.2.1:0"'),
    "health elsewhere": late(f"server.health_listen = {ELSEWHERE}", server=f'{FREE}\nhealth_listen = "192.0.2.1:0"'),
    "wrong settlement key": late(
        "settlement.key_file: line 1: must be 32 bytes in base64, as openssl rand -base64 32 prints them",
        settlement=f'{STORE}\nkey_file = "text.pem"',
    ),
    "store nowhere": late(
        "settlement store sqlite:///no-such-folder/settlement.db cannot be reached; check its address and that it runs "
        "(/no-such-folder is no folder)",
        settlement='store = "sqlite:///no-such-folder/settlement.db"\nkey_file = "settlement.key"',
    ),
    "exporter of traces": Mistake(
        "telemetry.tracing: OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL asks for an exporter ",
        late("", telemetry="tracing = true").content,
        {"OTEL_TRACES_EXPORTER": "no-such-exporter"},
    ),
}
"""Name -> mistake that only a test of what the settings name can find. A line begins with this one."""

WARNINGS: dict[str, Mistake] = {
    "path for an access key": late(
        f"{PROVIDER}.access_key: is a path: is it for access_key_file?",
        keys=KEYS.replace(ACCESS_KEY, "/run/secrets/key"),
    ),
    "placeholder for an access key": late(
        f"{PROVIDER}.access_key: is a placeholder that nothing has filled in",
        keys=KEYS.replace(ACCESS_KEY, "${ACCESS_KEY}"),
    ),
    "file that holds a path": late(
        f"{PROVIDER}.access_key: access_key_file holds a path, which is not followed",
        keys=KEYS.replace(f'key = "{ACCESS_KEY}"', 'key_file = "path"'),
    ),
    "path for a fingerprint key": late(
        "telemetry.fingerprint_key: is a path: is it for fingerprint_key_file?",
        telemetry='fingerprint_key = "/run/secrets/fingerprint"',
    ),
    "no fingerprint key": late("telemetry.fingerprint_key is not set: ", server='listen = "0.0.0.0:0"'),
    "no code of success": late(
        "settlement: no [wallet.codes.<code>] has success = true.", settlement=f'{STORE}\nkey_file = "settlement.key"'
    ),
    "certificate that has expired": late(f"{OWN} has expired, on ", server=pair("expired.pem")),
    "certificate that is not valid yet": late(f"{OWN} is valid only from ", server=pair("future.pem")),
    "certificate that ends soon": late(f"{OWN} expires on ", server=pair("soon.pem")),
    "authority that has expired": late(
        "server.tls_client_ca_file has expired, on ", server=pair("own.pem") + '\ntls_client_ca_file = "expired.pem"'
    ),
    "chain that has expired": late(f"{OWN}: certificate 2 in it has expired, on ", server=pair("expired-behind.pem")),
    "chain that is none": late(
        f"{OWN}: certificate 2 in it is not of the authority that signed certificate 1: ",
        server=pair("soon-behind.pem"),
    ),
}
"""Name -> what works, and gives a warning that begins with this line."""

NO_WARNINGS: dict[str, Mistake] = {
    "good chain": late("", server=pair("chain.pem")),
    "root that has expired behind a chain": late("", server=pair("expired-root-behind.pem")),
    "an authority that has expired beside a good one": late(
        "", server=pair("own.pem") + '\ntls_client_ca_file = "authorities.pem"'
    ),
    "key with slashes": late("", keys=KEYS.replace(ACCESS_KEY, "/abc+d/e=")),
}
"""Name -> settings that are right, though they look like one of those."""
