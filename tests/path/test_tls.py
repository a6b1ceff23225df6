"""Callers over TLS and mutual TLS, through a whole bridge: who is let in, and certificates that change meanwhile."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from bridge.events import Reloaded, ReloadFailed
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.certificates import Authority, Identity
from tests.support.reported import Reported
from tests.support.serving import call_once, channel_to, listening_bridge, tls_settings
from tests.support.whole_path import Failure, call_over

CERTIFICATE, KEY, CLIENT_CA = "server.tls_certificate_file", "server.tls_key_file", "server.tls_client_ca_file"

DNS = x509.DNSName("slots.games.example")
URI = x509.UniformResourceIdentifier("https://id.example/slots")
SPIFFE = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/games/sa/slots")
ANOTHER_SPIFFE = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/other/sa/slots")


async def shown_certificate(address: str) -> str:
    """Return the certificate that a new connection is shown, as PEM."""
    host, _, port = address.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    """Make the CA that both sides trust."""
    return Authority(tmp_path, "ca")


async def test_call_over_tls(authority: Authority) -> None:
    """Over TLS a call goes through, from a client that has no certificate."""
    settings = tls_settings(authority.server("server"))
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, settings) as bridge:
        assert (await call_once(bridge.address, authority.ca_file)).code == "OK"


@pytest.mark.parametrize("shows", ["plaintext", "no certificate", "a certificate of another authority"])
async def test_who_is_not_let_in(authority: Authority, tmp_path: Path, shows: str) -> None:
    """Plaintext, a client without a certificate, and one that anybody could issue, whatever its names: all refused."""
    settings = tls_settings(authority.server("server"), authority.ca_file, "slots.games.example")
    other = Authority(tmp_path, "other").client("client", DNS)
    trust = {"plaintext": (), "no certificate": (authority.ca_file,)}.get(shows, (authority.ca_file, other))
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, settings) as bridge:
        assert (await call_once(bridge.address, *trust)).code == "UNAVAILABLE"
        assert wallet.connections == 0


LET_IN = {
    "everybody with a certificate": ("", (DNS,)),
    "everybody, without names": ("", ()),
    "DNS name": ("a.example,slots.games.example", (DNS,)),
    "URI": ("https://id.example/slots", (URI,)),
    "SPIFFE ID": ("spiffe://cluster.local/ns/games/sa/slots", (SPIFFE,)),
    "one segment of a SPIFFE ID": ("spiffe://cluster.local/ns/games/sa/*", (SPIFFE,)),
    "one of several names": ("slots.games.example", (x509.DNSName("a.example"), DNS, SPIFFE)),
}
KEPT_OUT = {
    "another DNS name": ("a.example", (DNS,)),
    "no names": ("common.example", ()),
    "DNS name with a NUL": ("slots.games.example", (x509.DNSName("slots.games.example\0.evil.example"),)),
    "DNS name that ends in a NUL": ("slots.games.example", (x509.DNSName("slots.games.example\0"),)),
    "wildcard": ("slots.games.example", (x509.DNSName("*.games.example"),)),
    **{
        f"SPIFFE ID that ends in {segment!r}": (
            "spiffe://cluster.local/ns/games/sa/*",
            (x509.UniformResourceIdentifier(f"spiffe://cluster.local/ns/games/sa/{segment}"),),
        )
        for segment in ("..", ".", "*", "%2f", "slots%2fcanary", "slots?canary", "slots#canary", "slots\0canary", "")
    },
    "another SPIFFE ID": ("spiffe://cluster.local/ns/games/sa/*", (ANOTHER_SPIFFE,)),
    "SPIFFE ID among two URIs": ("spiffe://cluster.local/ns/games/sa/slots", (SPIFFE, URI)),
    "DNS name that looks like a SPIFFE ID": (
        "spiffe://cluster.local/ns/games/sa/slots",
        (x509.DNSName("spiffe://cluster.local/ns/games/sa/slots"),),
    ),
}


@pytest.mark.parametrize(("allowed", "names"), LET_IN.values(), ids=LET_IN.keys())
async def test_allowed_identity(authority: Authority, allowed: str, names: tuple[x509.GeneralName, ...]) -> None:
    """A caller whose certificate has a name on the allow-list is served; without a list, everybody is."""
    settings = tls_settings(authority.server("server"), authority.ca_file, allowed)
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, settings) as bridge:
        assert (await call_once(bridge.address, authority.ca_file, authority.client("client", *names))).code == "OK"


@pytest.mark.parametrize(("allowed", "names"), KEPT_OUT.values(), ids=KEPT_OUT.keys())
async def test_identity_that_is_not_allowed(
    authority: Authority, allowed: str, names: tuple[x509.GeneralName, ...]
) -> None:
    """Any other caller gets CALLER_NOT_ALLOWED with details, and nothing reaches the wallet."""
    settings = tls_settings(authority.server("server"), authority.ca_file, allowed)
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, settings) as bridge:
        end = await call_once(bridge.address, authority.ca_file, authority.client("client", *names))
        assert wallet.connections == 0
    Failure("PERMISSION_DENIED", "CALLER_NOT_ALLOWED", "NOT_SENT", attempts=0).check(end)


def replace(old: Identity, new: Identity) -> None:
    """Put a new certificate and key where the old ones are, one after the other, as an operator would."""
    shutil.copyfile(new.certificate_file, old.certificate_file)
    shutil.copyfile(new.key_file, old.key_file)


async def until_reloaded(received: Reported, *keys: str) -> None:
    """Wait until the new content of these settings' files is in use."""
    waiting = set(keys)
    while waiting:
        waiting.discard((await received.next(Reloaded)).key)


async def test_new_certificate(authority: Authority, tmp_path: Path) -> None:
    """After a replacement new connections are shown the new certificate, and the connection that there is goes on."""
    next_authority, received = Authority(tmp_path, "next_ca"), Reported()
    old, new = authority.server("server"), next_authority.server("next_server")
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, tls_settings(old), received) as bridge:
        async with channel_to(bridge.address, authority.ca_file) as channel:
            assert (await call_over(channel)).code == "OK"
            replace(old, new)
            await until_reloaded(received, CERTIFICATE, KEY)
            assert await shown_certificate(bridge.address) == new.certificate_file.read_text()
            # Its CA is no longer the server's: on a new connection this channel could not call.
            assert (await call_over(channel)).code == "OK"
        assert (await call_once(bridge.address, next_authority.ca_file)).code == "OK"
        assert (await call_once(bridge.address, authority.ca_file)).code == "UNAVAILABLE"


BAD_FILES = {
    "cut short": "tls_key_file: is cut off: a line -----END PRIVATE KEY----- is missing",
    "another's key": (
        "tls_key_file: is not the key of the certificate in tls_certificate_file: it belongs to another certificate"
    ),
    "missing": "cannot be read: No such file or directory",
}


@pytest.mark.parametrize(("bad", "problem"), BAD_FILES.items(), ids=BAD_FILES.keys())
async def test_bad_new_files(authority: Authority, bad: str, problem: str) -> None:
    """Files that cannot be used together change nothing for callers and are reported; what fixes them is taken up."""
    old, new, received = authority.server("server"), authority.server("next_server"), Reported()
    before = old.certificate_file.read_text()
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, tls_settings(old), received) as bridge:
        assert await shown_certificate(bridge.address) == before
        if bad == "cut short":
            old.key_file.write_bytes(new.key_file.read_bytes()[:100])
        elif bad == "another's key":
            shutil.copyfile(new.key_file, old.key_file)
        else:
            old.key_file.unlink()
        assert await received.next(ReloadFailed) == ReloadFailed(KEY, problem)
        assert await shown_certificate(bridge.address) == before
        assert (await call_once(bridge.address, authority.ca_file)).code == "OK"
        replace(old, new)
        await until_reloaded(received, CERTIFICATE, KEY)
        assert await shown_certificate(bridge.address) == new.certificate_file.read_text()


async def test_kubernetes_secret(authority: Authority, tmp_path: Path) -> None:
    """A mounted secret is replaced by swapping a link above the files, and that is noticed too."""
    mount, received = tmp_path / "mount", Reported()
    identities = {name: authority.server(name) for name in ("first", "second")}
    for name, identity in identities.items():
        (mount / name).mkdir(parents=True)
        shutil.copyfile(identity.certificate_file, mount / name / "tls.crt")
        shutil.copyfile(identity.key_file, mount / name / "tls.key")
    (mount / "..data").symlink_to("first")
    for name in ("tls.crt", "tls.key"):
        (mount / name).symlink_to(f"..data/{name}")
    settings = tls_settings(Identity(mount / "tls.crt", mount / "tls.key"))
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, settings, received) as bridge:
        assert await shown_certificate(bridge.address) == identities["first"].certificate_file.read_text()
        (mount / "..data_tmp").symlink_to("second")
        (mount / "..data_tmp").rename(mount / "..data")
        await until_reloaded(received, CERTIFICATE, KEY)
        assert await shown_certificate(bridge.address) == identities["second"].certificate_file.read_text()


async def test_new_client_authority(authority: Authority, tmp_path: Path) -> None:
    """When the clients' CA is replaced, clients of the new one are let in and clients of the old one no longer."""
    next_authority, received = Authority(tmp_path, "next_ca"), Reported()
    old_client, new_client = authority.client("client", DNS), next_authority.client("next_client", DNS)
    client_ca_file = shutil.copyfile(authority.ca_file, tmp_path / "client_ca.pem")
    settings = tls_settings(authority.server("server"), client_ca_file, "slots.games.example")
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, settings, received) as bridge:
        assert (await call_once(bridge.address, authority.ca_file, old_client)).code == "OK"
        assert (await call_once(bridge.address, authority.ca_file, new_client)).code == "UNAVAILABLE"
        shutil.copyfile(next_authority.ca_file, client_ca_file)
        await until_reloaded(received, CLIENT_CA)
        assert (await call_once(bridge.address, authority.ca_file, new_client)).code == "OK"
        assert (await call_once(bridge.address, authority.ca_file, old_client)).code == "UNAVAILABLE"
