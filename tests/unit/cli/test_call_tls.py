"""`bridge call` and `bridge health` over TLS and mutual TLS: real bridges and certificates, a line for each mistake."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge import sandbox
from bridge.cli import health
from bridge.cli.call import run
from bridge.cli.main import main
from bridge.settings.model import SettingsError
from tests.support.certificates import Certificates, Identity
from tests.support.command_runs import parsed
from tests.support.fake_channel import EXAMPLE
from tests.support.processes import bridge_command
from tests.support.serving import listening_bridge, tls_settings

ANSWERED = "code: 1\n"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `bridge health` wait for as long as a busy machine may need."""
    monkeypatch.setattr(health, "PATIENCE_S", 60.0)


@asynccontextmanager
async def bridge_with(settings: dict[str, str]) -> AsyncIterator[str]:
    """Run a bridge with these settings before a sandbox; yield its address."""
    async with sandbox.serve() as wallet, listening_bridge(wallet.url, settings) as bridge:
        yield bridge.address


async def called(*arguments: str) -> tuple[int, str]:
    """Run `bridge call terminate` with the example and these flags; return the exit code and what it printed."""
    out = io.StringIO()
    code = await asyncio.to_thread(run, parsed("call", "terminate", *EXAMPLE, "--deadline-s=30", *arguments), out=out)
    return code, out.getvalue()


async def asked(*arguments: str) -> int:
    """Run `bridge health` with these flags; return the exit code."""
    return await asyncio.to_thread(main, ["health", *arguments])


def shown(identity: Identity) -> tuple[str, str]:
    """Return the flags that show a client certificate."""
    return f"--client-certificate-file={identity.certificate_file}", f"--client-key-file={identity.key_file}"


def served(made: Certificates, words: str) -> dict[str, str]:
    """Return the settings of a bridge: its certificate, "mutual" where it demands one, and who may call."""
    if not words:
        return {}
    name, *rest = words.split()
    return tls_settings(getattr(made, name), made.ca_file if rest else None, *rest[1:])


def flags_of(made: Certificates, words: str) -> tuple[str, ...]:
    """Return flags: "ca" trusts the tests' authority, another word shows that certificate, or is a flag itself."""
    return tuple(
        flag
        for word in words.split()
        for flag in (
            [f"--ca-file={made.ca_file}"] if word == "ca" else [word] if word[0] == "-" else shown(getattr(made, word))
        )
    )


ANSWERS = {
    "an authority": ("server", "ca"),
    "a client certificate": ("server mutual", "ca client"),
    "an identity that is allowed": ("server mutual client.example", "ca client"),
    "another name": ("wrong_name", "ca --server-name=another.example"),
}


@pytest.mark.parametrize(("certificate", "words"), ANSWERS.values(), ids=ANSWERS)
async def test_over_tls(
    certificates: Certificates, certificate: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the right flags the typed answer and SERVING come over TLS, verified, and over mutual TLS."""
    flags = flags_of(certificates, words)
    async with bridge_with(served(certificates, certificate)) as address:
        code, text = await called(f"--address={address}", *flags)
        assert await asked(f"--address={address}", *flags) == 0
    assert (code, text[: len(ANSWERED)]) == (0, ANSWERED)
    assert capsys.readouterr().out == "SERVING\n"


OFFER_TLS, NO_TLS = "does it want TLS? then --ca-file FILE, or --tls", "it does not speak TLS: leave the TLS flags out"
NO_AUTHORITY = "its certificate is of no authority that is trusted here: see --ca-file"
OTHER_NAME = "its certificate is for another name: see --server-name"
OFFER_CERTIFICATE = "does it want a client certificate, or another? see --client-certificate-file"
HINTS = {
    "plaintext to TLS": ("server", "", OFFER_TLS),
    "TLS to plaintext": ("", "ca", NO_TLS),
    "the public authorities": ("server", "--tls", NO_AUTHORITY),
    "a name alone": ("server", "--server-name=127.0.0.1", NO_AUTHORITY),
    "another authority's certificate": ("untrusted", "ca", NO_AUTHORITY),
    "another name": ("wrong_name", "ca", OTHER_NAME),
    "not the name that is wanted": ("server", "ca --server-name=another.example", OTHER_NAME),
    "an expired certificate": ("expired", "ca", "its certificate has expired"),
    "no client certificate": ("server mutual", "ca", OFFER_CERTIFICATE),
    "a client certificate of another authority": ("server mutual", "ca untrusted", OFFER_CERTIFICATE),
}


@pytest.mark.parametrize(("certificate", "words", "hint"), HINTS.values(), ids=HINTS)
async def test_no_connection_says_what_to_do(
    certificates: Certificates, certificate: str, words: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A connection that TLS refuses is no answer and no health, with one line: the address, the cause, what to do."""
    flags = flags_of(certificates, words)
    async with bridge_with(served(certificates, certificate)) as address:
        code, text = await called(f"--address={address}", *flags)
        assert await asked(f"--address={address}", *flags) == 1
    assert code == 1
    assert text.startswith(f"{address}: no answer from a bridge (")
    assert text.endswith(f"; {hint}\n")
    assert capsys.readouterr() == ("", f"bridge: {address}: no connection; {hint}\n")


OTHER_KEY = "is not the key of the certificate in --client-certificate-file: it belongs to another certificate"
MISSING = "cannot be read: No such file or directory: no-such"
BOTH = "--client-certificate-file and --client-key-file: set both or neither"
Flags = Callable[[Certificates], tuple[str, ...]]
REFUSED: dict[str, tuple[Flags, str]] = {
    "no CA file": (lambda _: ("--ca-file=no-such",), f"--ca-file: {MISSING}"),
    "a key as CA file": (
        lambda made: (f"--ca-file={made.server.key_file}",),
        "--ca-file: holds a private key and no certificate: are the two files swapped?",
    ),
    "a certificate without its key": (lambda made: shown(made.client)[:1], BOTH),
    "a key without its certificate": (lambda made: shown(made.client)[1:], BOTH),
    "no certificate file": (
        lambda made: shown(Identity(Path("no-such"), made.client.key_file)),
        f"--client-certificate-file: {MISSING}",
    ),
    "no key file": (
        lambda made: shown(Identity(made.client.certificate_file, Path("no-such"))),
        f"--client-key-file: {MISSING}",
    ),
    "another's key": (
        lambda made: shown(Identity(made.client.certificate_file, made.server.key_file)),
        f"--client-key-file: {OTHER_KEY}",
    ),
}


@pytest.mark.parametrize(("flags", "line"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_file_is_one_line(certificates: Certificates, flags: Flags, line: str) -> None:
    """A file that cannot be used is refused before anything is sent, in one line that names its flag."""
    with pytest.raises(SettingsError) as refused:
        run(parsed("call", "terminate", *EXAMPLE, *flags(certificates)))
    assert str(refused.value) == line


def test_a_wrong_file_is_named_by_health_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is missing is named, and no bridge is asked."""
    assert main(["health", "--ca-file=no-such"]) == 2
    assert capsys.readouterr().err == f"bridge: --ca-file: {MISSING}\n"


ECHOED = ("player_id", "game_id", "site_id", "provider_id")
OUTPUTS = {
    "an answer": (
        *("server mutual", "ca client", 0),
        [
            *(
                "code",
                "request_id",
                "token",
                "player_id",
                "game_id",
                "site_id",
                "provider_id",
                "balance",
                "wallet-call-id",
            )
        ],
    ),
    "a refused handshake": ("wrong_name", "ca --server-name=third.example", 1, ["127.0.0.1"]),
}


@pytest.mark.parametrize(("certificate", "words", "code", "begins"), OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.long
async def test_the_command_itself(
    certificates: Certificates, certificate: str, words: str, code: int, begins: list[str]
) -> None:
    """The command prints the answer, or one line, and nothing else: no line of gRPC's own log."""
    async with bridge_with(served(certificates, certificate)) as address:
        flags = (f"--address={address}", "--deadline-s=30", *flags_of(certificates, words))
        async with bridge_command("call", "terminate", *EXAMPLE, *flags) as command:
            assert await command.end() == code
    assert [line.partition(":")[0] for line in command.output.splitlines()] == begins
