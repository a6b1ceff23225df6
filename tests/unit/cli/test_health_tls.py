"""`bridge health` over TLS and mutual TLS, by the flags of `bridge call`: real bridges, real certificates."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge import sandbox
from bridge.cli import health
from bridge.cli.main import main
from tests.support.certificates import Certificates, write_certificates
from tests.support.secure_callers import listening_bridge, tls_settings

Served = Callable[[Certificates], dict[str, str]]
Flags = Callable[[Certificates], tuple[str, ...]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command wait for as long as a busy machine may need."""
    monkeypatch.setattr(health, "PATIENCE_S", 60.0)


@pytest.fixture(name="certificates", scope="module")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the certificates of these tests; no test changes them."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


async def asked(settings: dict[str, str], *flags: str) -> int:
    """Ask a bridge with these settings; return the command's exit code."""
    async with sandbox.serve() as wallet, listening_bridge(wallet.url, settings) as bridge:
        return await asyncio.to_thread(main, ["health", f"--address={bridge.address}", *flags])


def trusting(made: Certificates) -> tuple[str, ...]:
    """Return the flag that trusts the tests' authority."""
    return (f"--ca-file={made.ca_file}",)


def shown(made: Certificates) -> tuple[str, ...]:
    """Return the flags of mutual TLS."""
    return (
        *trusting(made),
        f"--client-certificate-file={made.client.certificate_file}",
        f"--client-key-file={made.client.key_file}",
    )


SERVING: dict[str, tuple[Served, Flags]] = {
    "TLS": (lambda made: tls_settings(made.server), trusting),
    "mutual TLS": (lambda made: tls_settings(made.server, made.ca_file), shown),
    "another name": (
        lambda made: tls_settings(made.wrong_name),
        lambda made: (*trusting(made), "--server-name=another.example"),
    ),
}


@pytest.mark.parametrize(("served", "flags"), SERVING.values(), ids=SERVING)
async def test_serving(
    certificates: Certificates, served: Served, flags: Flags, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bridge with TLS says SERVING to who verifies it, and shows a certificate where it requires one."""
    assert await asked(served(certificates), *flags(certificates)) == 0
    assert capsys.readouterr().out == "SERVING\n"


NO_CONNECTION: dict[str, tuple[Served, Flags, str]] = {
    "plaintext to TLS": (
        lambda made: tls_settings(made.server),
        lambda _: (),
        "does it want TLS? then --ca-file FILE, or --tls",
    ),
    "TLS to plaintext": (lambda _: {}, trusting, "it does not speak TLS: leave the TLS flags out"),
    "no client certificate": (
        lambda made: tls_settings(made.server, made.ca_file),
        trusting,
        "does it want a client certificate, or another? see --client-certificate-file",
    ),
}


@pytest.mark.parametrize(("served", "flags", "hint"), NO_CONNECTION.values(), ids=NO_CONNECTION)
async def test_no_connection(
    certificates: Certificates, served: Served, flags: Flags, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A connection that TLS refuses is no health: one line says what to do."""
    assert await asked(served(certificates), *flags(certificates)) == 1
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    assert line.endswith(f": no connection; {hint}\n")


def test_a_wrong_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is missing is named, and no bridge is asked."""
    assert main(["health", f"--ca-file={tmp_path / 'none.pem'}"]) == 2
    assert capsys.readouterr().err.startswith("bridge: --ca-file: cannot be read: No such file or directory")
