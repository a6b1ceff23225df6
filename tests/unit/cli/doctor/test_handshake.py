"""Handshakes that the wallet breaks off, and client certificates: what the doctor makes of each."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trustme

from bridge.cli.doctor.handshake import CLIENT_CERTIFICATE_REFUSED, CLIENT_CERTIFICATE_WANTED, HANDSHAKES, HUNG_UP
from bridge.sandbox.behaviours import answer
from bridge.sandbox.server import FaultServer
from tests.support.certificates import Certificates
from tests.support.command_runs import assert_tls_failed, ca_setting, examined, unharmed
from tests.support.dead_addresses import closing_server, silent_server


async def test_stalled_handshake() -> None:
    """A handshake that does not come to its end is reported with the setting that limits it."""
    async with silent_server() as wallet:
        run = await examined(f"https://127.0.0.1:{wallet.port}", {"WALLET__CONNECT_TIMEOUT_S": "0.1"})
    assert_tls_failed(run, "no TLS handshake within wallet.connect_timeout_s = 0.1 s")


async def test_hung_up() -> None:
    """A server that hangs up has perhaps not been given this machine's address."""
    async with closing_server() as wallet:
        run = await examined(f"https://127.0.0.1:{wallet.port}")
    assert_tls_failed(run, HUNG_UP)


async def test_plaintext_server() -> None:
    """A server without TLS is reported as such."""
    async with FaultServer(answer()) as wallet:
        run = await examined(f"https://127.0.0.1:{wallet.port}")
    assert_tls_failed(
        run, "what answers there does not speak TLS: check the port in wallet.url; http:// is for tests alone"
    )


# RFC 8446, section 6.
ALERT_NUMBERS = {
    "handshake_failure": (40, HANDSHAKES["handshake_failure"]),
    "bad_certificate": (42, CLIENT_CERTIFICATE_REFUSED),
    "unsupported_certificate": (43, CLIENT_CERTIFICATE_REFUSED),
    "certificate_revoked": (44, CLIENT_CERTIFICATE_REFUSED),
    "certificate_expired": (45, CLIENT_CERTIFICATE_REFUSED),
    "certificate_unknown": (46, CLIENT_CERTIFICATE_REFUSED),
    "unknown_ca": (48, CLIENT_CERTIFICATE_REFUSED),
    "access_denied": (49, CLIENT_CERTIFICATE_REFUSED),
    "protocol_version": (70, HANDSHAKES["protocol_version"]),
    "insufficient_security": (71, HANDSHAKES["handshake_failure"]),
    "internal_error": (80, HANDSHAKES["server_error"]),
    "unrecognized_name": (112, HANDSHAKES["unknown_host"]),
    "certificate_required": (116, CLIENT_CERTIFICATE_WANTED),
}


@asynccontextmanager
async def alerting_server(number: int) -> AsyncIterator[str]:
    """Answer every ClientHello with this fatal alert; give the URL."""

    async def alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(bytes([21, 3, 3, 0, 2, 2, number]))
        writer.close()

    async with await asyncio.start_server(alert, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("number", "text"), ALERT_NUMBERS.values(), ids=ALERT_NUMBERS.keys())
async def test_alert(number: int, text: str) -> None:
    """A server that refuses the handshake says why, and the doctor says what that means."""
    async with alerting_server(number) as url:
        assert_tls_failed(await examined(url), text)


@pytest.mark.parametrize("number", [0, 90, 255])
async def test_other_alert(number: int) -> None:
    """An alert that has no words here is passed on in OpenSSL's."""
    async with alerting_server(number) as url:
        (found,) = (await examined(url))["tls"]
    assert found.startswith("FAIL the handshake fails: [SSL")


@contextmanager
def openssl_server(context: ssl.SSLContext) -> Iterator[int]:
    """Do TLS handshakes on a thread, by OpenSSL alone: asyncio's servers keep the alert of a refusal to themselves."""

    def serve() -> None:
        while not ended.is_set():
            accepted, _ = listener.accept()
            with context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as secure:
                with contextlib.suppress(OSError):
                    secure.do_handshake()
                # Until the client hangs up, below TLS: closing with its bytes unread might destroy the alert.
                while socket.socket.recv(secure, 65536):
                    pass

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            ended.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
async def test_client_certificate_is_missing(certificates: Certificates, version: ssl.TLSVersion) -> None:
    """A wallet that requires a client certificate is reported, also with TLS 1.3, after the handshake."""
    context = certificates.server.server_context(client_ca_file=certificates.ca_file)
    context.maximum_version = version
    with openssl_server(context) as port:
        run = await examined(f"https://127.0.0.1:{port}", ca_setting(certificates.ca_file))
    assert run.failed == ["tls"]
    assert "client certificate" in run["tls"][0]
    assert "wallet.client_certificate_file" in run["tls"][0]


async def test_client_certificate_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    """A client certificate that the wallet does not accept is reported as such."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = certificates.server.server_context(client_ca_file=tmp_path / "other.pem")
    with openssl_server(context) as port:
        run = await examined(f"https://127.0.0.1:{port}", client_settings(certificates))
    assert_tls_failed(run, CLIENT_CERTIFICATE_REFUSED)


async def test_client_certificate_is_accepted(certificates: Certificates) -> None:
    """The configured client certificate is shown, as the bridge shows it."""
    tls = certificates.server.server_context(client_ca_file=certificates.ca_file)
    async with unharmed(FaultServer(answer(), tls=tls)) as wallet:
        assert (await examined(wallet.url, client_settings(certificates))).exit_code == 0


async def test_refused_without_a_word(certificates: Certificates) -> None:
    """Where a wallet hangs up without an alert, a client certificate is one of the things to look at."""
    tls = certificates.server.server_context(client_ca_file=certificates.ca_file)
    async with unharmed(FaultServer(answer(), tls=tls)) as wallet:
        run = await examined(wallet.url, ca_setting(certificates.ca_file))
    assert run["http2"] == [f"FAIL {HUNG_UP}"]


def client_settings(certificates: Certificates) -> dict[str, str]:
    """Return the settings that show the client's certificate."""
    return {
        **ca_setting(certificates.ca_file),
        "WALLET__CLIENT_CERTIFICATE_FILE": str(certificates.client.certificate_file),
        "WALLET__CLIENT_KEY_FILE": str(certificates.client.key_file),
    }
