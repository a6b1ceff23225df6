"""Surroundings of a server in one run: folder, ports, TLS, and which settings are asked for."""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from string import Template

from tests.support.certificates import Identity

CONFIGURATIONS = Path(__file__).parent / "configurations"
IDLE_DEFAULT_S = 60
"""The idle time-out of a server in every row but the one that is about it."""
IDLE_SHORT_S = 1
SLOW_S = 5.0
"""The time that the wallet takes for a token with `slow` in it."""


@dataclass(frozen=True)
class Tls:
    """One certificate in each form that some server requires."""

    ca_file: Path
    """The authority that the bridges trust."""
    identity: Identity
    """Certificate and key, PEM; the key as PKCS #8."""
    pair: Path
    """Both in one PEM file."""
    keystore: Path
    """Both as PKCS #12, with the password `interop`."""


@dataclass(frozen=True)
class Site:
    """All that a server's configuration depends on. Files go into `folder`, TCP ports are on 127.0.0.1."""

    folder: Path
    port: int
    upstream: int
    """The port of the application behind a proxy."""
    between: int
    """A further port, for a proxy that is two programs."""
    ledger: Path
    tls: Tls | None = None
    """None: HTTP/2 with prior knowledge, in plaintext."""
    idle_s: int = IDLE_DEFAULT_S
    is_odd: bool = False
    """True: the smallest and oddest SETTINGS that the server can be asked to send."""

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def file(self, name: str, **words: object) -> Path:
        """Fill a template of configurations/ and write it into the folder; return the file."""
        common = {
            "folder": self.folder,
            "port": self.port,
            "upstream": self.upstream,
            "idle": self.idle_s,
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "group": grp.getgrgid(os.getgid()).gr_name,
        }
        text = Template((CONFIGURATIONS / name).read_text(encoding="utf-8"))
        written = self.folder / name
        written.write_text(text.substitute(common | words), encoding="utf-8")
        return written

    def pem(self, form: str) -> str:
        """Return `form` with {certificate}, {key} and {pair} filled in; "" without TLS."""
        if self.tls is None:
            return ""
        files = self.tls.identity
        return form.format(certificate=files.certificate_file, key=files.key_file, pair=self.tls.pair)

    def odd(self, words: str) -> str:
        """Return these words of a configuration where odd SETTINGS are asked for, else ""."""
        return words if self.is_odd else ""
