"""What the doctor says of TLS: every way in which a handshake can fail, in words that name the thing to do."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from bridge.sandbox.behaviours import answer, hang
from bridge.sandbox.server import FaultServer, Welcome
from tests.support.certificates import (
    AUTHORITY,
    DNS,
    IP,
    SAN,
    WORKLOAD,
    Certificates,
    Extension,
    Identity,
    chain,
    constraints,
    days,
    names,
    usage,
)
from tests.support.command_runs import assert_tls_failed, ca_setting, examined, looked_up, unharmed


async def test_older_version(certificates: Certificates) -> None:
    """The version that is really spoken is shown."""
    context = certificates.server.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with unharmed(FaultServer(answer(), tls=context)) as wallet:
        assert (await examined(wallet.url, ca_setting(certificates.ca_file)))["tls"][0].startswith("ok TLSv1.2; ")
        # One to knock, one for all the rest, and one as stricter clients would.
        assert (wallet.connections, len(wallet.requests)) == (3, 1)


FLAWS = {
    "expired": "the wallet's certificate has expired, on 2002-01-01: it must be renewed",
    "wrong_name": (
        "the certificate is for another.example, not 127.0.0.1: check wallet.url, or the wallet's certificate"
    ),
    "untrusted": (
        "the wallet's certificate comes from an authority (other_ca) that is not in "
        "wallet.ca_file: put its certificate there, if it is the right one"
    ),
}


@pytest.mark.parametrize(("flaw", "text"), FLAWS.items(), ids=FLAWS.keys())
async def test_certificate(certificates: Certificates, flaw: str, text: str) -> None:
    """An untrusted certificate is reported with what is wrong with it, and with the setting that it concerns."""
    identity: Identity = getattr(certificates, flaw)
    async with unharmed(FaultServer(answer(), tls=identity.server_context())) as wallet:
        run = await examined(wallet.url, ca_setting(certificates.ca_file))
        assert wallet.received_bytes == 0
    assert_tls_failed(run, text)


async def test_unknown_authority_without_ca_file(certificates: Certificates) -> None:
    """Where no wallet.ca_file is set, that is what to do."""
    async with unharmed(FaultServer(answer(), tls=certificates.server.server_context())) as wallet:
        (found,) = (await examined(wallet.url))["tls"]
    assert found.endswith("known to this machine: set wallet.ca_file to its certificate, if it is the right one")


async def test_wrong_name_of_a_name(certificates: Certificates) -> None:
    """A name that the certificate lacks is reported with the names that it has."""
    async with unharmed(FaultServer(answer(), tls=certificates.server.server_context())) as wallet:
        url = f"https://wallet.example:{wallet.port}"
        run = await examined(url, ca_setting(certificates.ca_file), look_up=looked_up("127.0.0.1"))
    assert run["tls"][0].startswith("FAIL the certificate is for ")
    assert "localhost" in run["tls"][0]
    assert run["tls"][0].endswith(", not wallet.example: check wallet.url, or the wallet's certificate")


async def test_hostile_issuer(tmp_path: Path) -> None:
    """What a certificate holds cannot steer the terminal."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA(organization_name="\x1b[31mred\n\u202e").issue_cert("127.0.0.1").configure_cert(context)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with unharmed(FaultServer(answer(), tls=context)) as wallet:
        run = await examined(wallet.url, ca_setting(tmp_path / "ca.pem"))
    assert "red" in run["tls"][0]
    assert all(line.isprintable() for line in run.text.split("\n"))


UNSEEN = {
    "expired": "a certificate of the wallet is out of its time (certificate has expired): it must be renewed",
    "wrong_name": "the certificate is for another host, not 127.0.0.1: check wallet.url, or the wallet's certificate",
    "untrusted": (
        "the wallet's certificate comes from an authority that is not in wallet.ca_file: put its certificate there, "
        "if it is the right one"
    ),
}


@pytest.mark.parametrize(("flaw", "text"), UNSEEN.items(), ids=UNSEEN.keys())
async def test_certificate_that_is_not_shown_again(certificates: Certificates, flaw: str, text: str) -> None:
    """Where a second look at the certificate fails, what is wrong with it is reported without what stands in it."""
    context = getattr(certificates, flaw).server_context()
    # The first connection only knocks; the second finds the flaw, and the third looks at the certificate.
    wallet = FaultServer(answer(), tls=context, welcome=lambda number: Welcome.CLOSE if number > 2 else Welcome.SERVE)
    async with unharmed(wallet):
        assert_tls_failed(await examined(wallet.url, ca_setting(certificates.ca_file)), text)


SELF_SIGNED = (constraints(ca=True), usage("digital_signature", "key_cert_sign", "crl_sign"))
"""Of a server's certificate that is its own authority."""


async def test_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    """A certificate that OpenSSL trusts, and of which only our reading fails, is a warning and no failure."""
    made = chain([(names((IP, bytes([127, 0, 0, 1])), (IP, b"\0")), False), *SELF_SIGNED])
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        run = await examined(wallet.url, ca_setting(made.ca_file(tmp_path)))
    assert run["tls"] == ["warn TLSv1.3; the dates of the wallet's certificate cannot be read"]
    assert (run["alpn"], run.exit_code) == (["ok h2"], 0)


async def test_certificate_for_something_else(tmp_path: Path) -> None:
    """A certificate that is not for servers is reported as such, with what to do."""
    made = chain([SAN, *SELF_SIGNED, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)])
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        run = await examined(wallet.url, ca_setting(made.ca_file(tmp_path)))
    assert_tls_failed(run, "the wallet's certificate is not for servers (extended key usage): it must be issued again")


async def test_many_names(tmp_path: Path) -> None:
    """Of many names some are shown; what cannot be printed in one is not."""
    made = chain([(names(*((DNS, b"%c.example" % letter) for letter in b"abcdefgh")), False)], AUTHORITY)
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        (found,) = (await examined(wallet.url, ca_setting(made.ca_file(tmp_path))))["tls"]
    assert "for a.example, b.example, c.example, d.example, e.example and others, not 127.0.0.1:" in found


TIMES = {
    "soon": (5.5, 400, "warn", "expires on {end:%Y-%m-%d}, in 5 days: it must be renewed"),
    "later": (14.5, 400, "ok", "is valid until {end:%Y-%m-%d}"),
    "not-yet": (90, -1, "FAIL", "is valid only from {begin:%Y-%m-%d %H:%M} UTC: is this machine's clock right?"),
}


@pytest.mark.parametrize(("left", "begun_days", "level", "text"), TIMES.values(), ids=TIMES.keys())
async def test_time(tmp_path: Path, left: float, begun_days: float, level: str, text: str) -> None:
    """The wallet's certificate's end is reported 14 days ahead; one that is not valid yet casts doubt on the clock."""
    now = datetime.now(UTC)
    made = chain(WORKLOAD, AUTHORITY, periods={0: days(begun_days, left)})
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        run = await examined(wallet.url, ca_setting(made.ca_file(tmp_path)))
    assert run["tls"][0].startswith(f"{level} ")
    reported = text.format(begin=now - timedelta(days=begun_days), end=now + timedelta(days=left))
    assert run["tls"][0].endswith(f"the wallet's certificate {reported}")
    assert run.exit_code == (level == "FAIL")


async def test_expired_in_the_middle(tmp_path: Path) -> None:
    """A certificate above the wallet's own that is over is not blamed on its own, which is good."""
    made = chain(WORKLOAD, AUTHORITY, AUTHORITY, periods={1: days(2, -1)})
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        run = await examined(wallet.url, ca_setting(made.ca_file(tmp_path)))
    text = "a certificate above the wallet's own is out of its time (certificate has expired): it must be renewed"
    assert_tls_failed(run, text)


PROTOCOLS = {"http1": (["http/1.1"], "it agrees to http/1.1"), "none": ([], "it agrees to no protocol at all (ALPN)")}


@pytest.mark.parametrize(("alpn", "instead"), PROTOCOLS.values(), ids=PROTOCOLS.keys())
async def test_no_http2(certificates: Certificates, alpn: list[str], instead: str) -> None:
    """A wallet without HTTP/2 is reported with what it has, and nothing is sent to it."""
    async with unharmed(FaultServer(answer(), tls=certificates.server.server_context(alpn))) as wallet:
        run = await examined(wallet.url, ca_setting(certificates.ca_file))
        assert wallet.received_bytes == 0
    assert run["tls"] == ["ok TLSv1.3; the wallet's certificate is valid until 3000-01-01"]
    assert run["alpn"][0].startswith(f"FAIL the wallet does not agree to HTTP/2, {instead}: ")
    assert (run.failed, run["http2"]) == (["alpn"], ["skip because alpn failed"])


@asynccontextmanager
async def picky(port: int) -> AsyncIterator[str]:
    """Refuse every ClientHello that offers h2, as RFC 7301 requires of a server without; let others through to a port.

    Gives the URL.
    """

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        if b"\x02h2" in hello or not hello:
            writer.write(bytes([21, 3, 3, 0, 2, 2, 120]) if hello else b"")
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        server_writer.write(hello)
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_no_http2_by_alert(certificates: Certificates) -> None:
    """A wallet that breaks the handshake off for want of a common protocol has all the same its certificate checked."""
    async with (
        FaultServer(hang, tls=certificates.server.server_context(["http/1.1"])) as wallet,
        picky(wallet.port) as url,
    ):
        run = await examined(url, ca_setting(certificates.ca_file))
        untrusting = await examined(url)
    assert run["tls"][0].startswith("ok TLSv1.3; ")
    assert run["alpn"][0].startswith("FAIL the wallet does not agree to HTTP/2, it agrees to http/1.1: ")
    assert untrusting.failed == ["tls"]
    assert "wallet.ca_file" in untrusting["tls"][0]


async def test_http2_that_is_none(certificates: Certificates) -> None:
    """A wallet that agrees to HTTP/2 and speaks something else is reported."""
    wallet = FaultServer(
        answer(),
        tls=certificates.server.server_context(),
        settings=None,
        opening=lambda connection: _say(connection.raw, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    )
    async with unharmed(wallet):
        run = await examined(wallet.url, ca_setting(certificates.ca_file))
    assert run["http2"] == ["FAIL the wallet agrees to HTTP/2 and then does not speak it"]


async def _say(raw: object, words: bytes) -> None:
    assert callable(raw)
    raw(words)


REFUSED = {
    "root that is no authority": (
        (WORKLOAD, [constraints(ca=False)]),
        "an authority above the wallet's certificate may not sign certificates",
    ),
    "root whose key signs no certificates": (
        (WORKLOAD, [constraints(ca=True), usage("digital_signature")]),
        "an authority above the wallet's certificate may not sign certificates",
    ),
    "intermediate that is no authority": (
        (WORKLOAD, [constraints(ca=False)], AUTHORITY),
        "an authority above the wallet's certificate may not sign certificates",
    ),
    "common name alone": (([constraints(ca=False)], AUTHORITY), "the certificate is for another host, not 127.0.0.1"),
}


@pytest.mark.parametrize(("levels", "text"), REFUSED.values(), ids=REFUSED)
async def test_refusal(levels: Sequence[Sequence[Extension]], text: str, tmp_path: Path) -> None:
    """What the bridge refuses is named, with whose certificate is at fault."""
    made = chain(*levels, common_name="127.0.0.1")
    trust = ca_setting(made.ca_file(tmp_path))
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        run = await examined(wallet.url, trust)
    assert run["tls"][0].startswith(f"FAIL {text}")
    assert run.failed == ["tls"]


async def test_what_stricter_clients_refuse(tmp_path: Path) -> None:
    """A certificate that the bridge takes and VERIFY_X509_STRICT would not is a warning, and all else is looked at."""
    made = chain(WORKLOAD, AUTHORITY, periods={0: days(1, 60)})
    trust = ca_setting(made.ca_file(tmp_path))
    async with unharmed(FaultServer(answer(), tls=made.server_context(tmp_path))) as wallet:
        run = await examined(wallet.url, trust)
    assert [line.partition(": ")[2] for line in run["tls"] if "warn" in line] == [
        (
            "stricter clients (VERIFY_X509_STRICT) refuse the wallet's certificates: Missing Authority Key Identifier; "
            "the bridge takes them"
        )
    ]
    assert (run["alpn"], run.exit_code) == (["ok h2"], 0)
