"""`bridge call` over TLS and mutual TLS: real bridges, real certificates, and a line for each mistake."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge import sandbox
from bridge.cli.call import run
from bridge.settings.model import SettingsError
from tests.support.certificates import Certificates, Identity, write_certificates
from tests.support.fake_channel import EXAMPLE, parsed
from tests.support.processes import bridge_command
from tests.support.secure_callers import listening_bridge, tls_settings

ANSWERED = "code: 1\n"


@pytest.fixture(name="certificates", scope="module")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the certificates of these tests; no test changes them."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def bridge_with(settings: dict[str, str]) -> AsyncIterator[str]:
    """Run a bridge with these settings before a sandbox; yield its address."""
    async with sandbox.serve() as wallet, listening_bridge(wallet.url, settings) as bridge:
        yield bridge.address


async def called(*arguments: str) -> tuple[int, str]:
    """Run `bridge call terminate` with the example and these flags; return the exit code and what it printed."""
    out = io.StringIO()
    code = await asyncio.to_thread(run, parsed(*EXAMPLE, "--deadline-s=30", *arguments), out=out)
    return code, out.getvalue()


def shown(identity: Identity) -> tuple[str, str]:
    """Return the flags that show a client certificate."""
    return f"--client-certificate-file={identity.certificate_file}", f"--client-key-file={identity.key_file}"


def trusting(certificates: Certificates) -> str:
    """Return the flag that trusts the tests' authority."""
    return f"--ca-file={certificates.ca_file}"


Flags = Callable[[Certificates], tuple[str, ...]]
Served = Callable[[Certificates], dict[str, str]]

ANSWERS: dict[str, tuple[Served, Flags]] = {
    "an authority": (lambda made: tls_settings(made.server), lambda made: (trusting(made),)),
    "a client certificate": (
        lambda made: tls_settings(made.server, made.ca_file),
        lambda made: (trusting(made), *shown(made.client)),
    ),
    "an identity that is allowed": (
        lambda made: tls_settings(made.server, made.ca_file, "client.example"),
        lambda made: (trusting(made), *shown(made.client)),
    ),
    "another name": (
        lambda made: tls_settings(made.wrong_name),
        lambda made: (trusting(made), "--server-name=another.example"),
    ),
}


@pytest.mark.parametrize(("served", "flags"), ANSWERS.values(), ids=ANSWERS)
async def test_a_call_over_tls(certificates: Certificates, served: Served, flags: Flags) -> None:
    """With the right flags the typed answer comes over TLS, verified, and over mutual TLS."""
    async with bridge_with(served(certificates)) as address:
        code, text = await called(f"--address={address}", *flags(certificates))
    assert (code, text[: len(ANSWERED)]) == (0, ANSWERED)


HINTS: dict[str, tuple[Served, Flags, str]] = {
    "plaintext to TLS": (
        lambda made: tls_settings(made.server),
        lambda _: (),
        "does it want TLS? then --ca-file FILE, or --tls",
    ),
    "TLS to plaintext": (
        lambda _: {},
        lambda made: (trusting(made),),
        "it does not speak TLS: leave the TLS flags out",
    ),
    "the public authorities": (
        lambda made: tls_settings(made.server),
        lambda _: ("--tls",),
        "its certificate is of no authority that is trusted here: see --ca-file",
    ),
    "a name alone": (
        lambda made: tls_settings(made.server),
        lambda _: ("--server-name=127.0.0.1",),
        "its certificate is of no authority that is trusted here: see --ca-file",
    ),
    "another authority's certificate": (
        lambda made: tls_settings(made.untrusted),
        lambda made: (trusting(made),),
        "its certificate is of no authority that is trusted here: see --ca-file",
    ),
    "another name": (
        lambda made: tls_settings(made.wrong_name),
        lambda made: (trusting(made),),
        "its certificate is for another name: see --server-name",
    ),
    "not the name that is wanted": (
        lambda made: tls_settings(made.server),
        lambda made: (trusting(made), "--server-name=another.example"),
        "its certificate is for another name: see --server-name",
    ),
    "an expired certificate": (
        lambda made: tls_settings(made.expired),
        lambda made: (trusting(made),),
        "its certificate has expired",
    ),
    "no client certificate": (
        lambda made: tls_settings(made.server, made.ca_file),
        lambda made: (trusting(made),),
        "does it want a client certificate, or another? see --client-certificate-file",
    ),
    "a client certificate of another authority": (
        lambda made: tls_settings(made.server, made.ca_file),
        lambda made: (trusting(made), *shown(made.untrusted)),
        "does it want a client certificate, or another? see --client-certificate-file",
    ),
}


@pytest.mark.parametrize(("served", "flags", "hint"), HINTS.values(), ids=HINTS)
async def test_no_connection_says_what_to_do(
    certificates: Certificates, served: Served, flags: Flags, hint: str
) -> None:
    """A connection that TLS refuses ends the call with one line: the address, gRPC's cause, and what to do."""
    async with bridge_with(served(certificates)) as address:
        code, text = await called(f"--address={address}", *flags(certificates))
    assert code == 1
    assert text.startswith(f"{address}: no answer from a bridge (")
    assert text.endswith(f"; {hint}\n")


OTHER_KEY = "is not the key of the certificate in --client-certificate-file: it belongs to another certificate"
REFUSED: dict[str, tuple[Flags, str]] = {
    "no CA file": (lambda _: ("--ca-file=no-such",), "--ca-file: cannot be read: No such file or directory: no-such"),
    "a key as CA file": (
        lambda made: (f"--ca-file={made.server.key_file}",),
        "--ca-file: holds a private key and no certificate: are the two files swapped?",
    ),
    "a certificate without its key": (
        lambda made: (f"--client-certificate-file={made.client.certificate_file}",),
        "--client-certificate-file and --client-key-file: set both or neither",
    ),
    "a key without its certificate": (
        lambda made: (f"--client-key-file={made.client.key_file}",),
        "--client-certificate-file and --client-key-file: set both or neither",
    ),
    "no certificate file": (
        lambda made: shown(Identity(Path("no-such"), made.client.key_file)),
        "--client-certificate-file: cannot be read: No such file or directory: no-such",
    ),
    "no key file": (
        lambda made: shown(Identity(made.client.certificate_file, Path("no-such"))),
        "--client-key-file: cannot be read: No such file or directory: no-such",
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
        run(parsed(*EXAMPLE, *flags(certificates)))
    assert str(refused.value) == line


async def test_the_command_prints_one_line(certificates: Certificates) -> None:
    """Of a refused handshake the command prints that one line alone: gRPC's own log stays out."""
    async with bridge_with(tls_settings(certificates.wrong_name)) as address:
        flags = (f"--address={address}", "--deadline-s=30", trusting(certificates), "--server-name=third.example")
        async with bridge_command("call", "terminate", *EXAMPLE, *flags) as command:
            assert await command.end() == 1
    assert len(command.output.splitlines()) == 1, command.output


async def test_the_command_over_tls(certificates: Certificates) -> None:
    """The command itself prints the answer and nothing else: no line of gRPC's own log."""
    async with bridge_with(tls_settings(certificates.server, certificates.ca_file)) as address:
        flags = (f"--address={address}", "--deadline-s=30", trusting(certificates), *shown(certificates.client))
        async with bridge_command("call", "terminate", *EXAMPLE, *flags) as command:
            assert await command.end() == 0
    assert [line.partition(": ")[0] for line in command.output.splitlines()] == [
        *("code", "request_id", "token", "player_id", "game_id", "site_id", "provider_id", "balance", "wallet-call-id")
    ]
