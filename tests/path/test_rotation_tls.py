"""Certificates that change under a bridge that serves: new connections use the new ones, and no call fails."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.events import Event, Reloaded, ReloadFailed
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from tests.support.busy_bridge import Load
from tests.support.certificates import Certificates
from tests.support.reported import Reported
from tests.support.whole_path import Caller, Failure, bridge_to

CA, CERTIFICATE, KEY = FILES = ("ca_file", "client_certificate_file", "client_key_file")

UNTRUSTED = Failure("UNAVAILABLE", "WALLET_UNREACHABLE", "NOT_SENT", cause="tls")


@dataclass
class Change:
    """A bridge whose TLS files may change, before a wallet of an old authority that accepts clients of either."""

    folder: Path
    old: Certificates
    new: Certificates
    listener: Reported = field(default_factory=Reported)
    wallet: FaultServer = field(init=False)
    caller: Caller = field(init=False)

    def be(self, server: Certificates, clients: Certificates) -> None:
        """Let the wallet show the certificate of one, and demand a client's of the other, on new connections."""
        self.wallet.tls = server.server.server_context(client_ca_file=clients.ca_file)

    def put(self, certificates: Certificates, *names: str) -> None:
        """Replace these files of the bridge."""
        client = certificates.client
        paths = dict(zip(FILES, (certificates.ca_file, client.certificate_file, client.key_file), strict=True))
        for name in names:
            shutil.copy(paths[name], self.folder / name)


def reloaded(*names: str) -> list[Event]:
    """Return what is reported when these files have been taken up."""
    return [Reloaded(f"wallet.{name}") for name in names]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificates, Certificates]:
    """Make certificates of two authorities."""
    return Certificates(tmp_path_factory.mktemp("old")), Certificates(tmp_path_factory.mktemp("new"))


@pytest.fixture
async def change(tmp_path: Path, certificates: tuple[Certificates, Certificates]) -> AsyncIterator[Change]:
    """Run a bridge and a wallet with the old certificates, and one connection between them."""
    change = Change(tmp_path, *certificates)
    change.put(change.old, *FILES)
    settings = {f"WALLET__{name.upper()}": str(tmp_path / name) for name in FILES}
    async with FaultServer(terminated, tls=change.old.server.server_context()) as change.wallet:
        change.be(change.old, clients=change.old)
        async with bridge_to(
            change.wallet.url, settings, emit=change.listener, watch_interval_s=0.005
        ) as change.caller:
            assert (await change.caller.terminate()).code == "OK"
            yield change


async def test_a_new_client_certificate(change: Change) -> None:
    """A new pair is shown to the wallet from the next call on, which knows the old one no more."""
    change.be(change.old, clients=change.new)
    change.put(change.new, CERTIFICATE, KEY)
    assert await change.listener.reports(2) == reloaded(CERTIFICATE, KEY)
    assert (await change.caller.terminate()).code == "OK"
    assert change.wallet.connections == 2


async def test_a_new_authority(change: Change) -> None:
    """With a new CA the bridge trusts the wallet's new certificate."""
    change.be(change.new, clients=change.old)
    change.put(change.new, CA)
    assert await change.listener.reports(1) == reloaded(CA)
    assert (await change.caller.terminate()).code == "OK"
    assert change.wallet.connections == 2


async def test_a_removed_authority(change: Change) -> None:
    """A wallet of a CA that is there no longer gets no further call, not even over a connection that stands."""
    change.put(change.new, CA)
    assert await change.listener.reports(1) == reloaded(CA)
    UNTRUSTED.check(await change.caller.terminate())
    assert len(change.wallet.requests) == 1


async def test_half_a_pair(change: Change) -> None:
    """A certificate without its key is reported, and calls go on; the whole pair is taken up."""
    change.put(change.new, CERTIFICATE)
    (failed,) = await change.listener.reports(1)
    assert isinstance(failed, ReloadFailed)
    assert failed.key == f"wallet.{CERTIFICATE}"
    assert (await change.caller.terminate()).code == "OK"
    assert change.wallet.connections == 1
    change.be(change.old, clients=change.new)
    change.put(change.new, KEY)
    assert await change.listener.reports(2) == reloaded(CERTIFICATE, KEY)
    assert (await change.caller.terminate()).code == "OK"


async def test_a_bad_authority(change: Change) -> None:
    """A CA file that is cut short is reported, and calls go on, over new connections too."""
    file = change.folder / CA
    file.write_bytes(file.read_bytes()[:300])
    (failed,) = await change.listener.reports(1)
    assert isinstance(failed, ReloadFailed)
    assert failed.key == f"wallet.{CA}"
    async with change.wallet.offline():
        pass
    assert (await change.caller.terminate()).code == "OK"
    assert change.wallet.connections == 2


async def test_a_call_under_way_goes_on(change: Change) -> None:
    """A call that waits for its answer when certificates change gets it, on the connection that it was made on."""
    may_answer = asyncio.Event()

    async def answer_late(stream: Stream) -> None:
        await may_answer.wait()
        await terminated(stream)

    change.wallet.behaviour = answer_late
    call = asyncio.create_task(change.caller.terminate())
    await change.wallet.until(lambda: len(change.wallet.requests) == 2)
    change.put(change.new, CERTIFICATE, KEY)
    await change.listener.reports(2)
    may_answer.set()
    assert (await call).code == "OK"


async def test_no_call_fails(change: Change) -> None:
    """While twelve callers call, both sides change all certificates: every call is OK, each token is processed once."""
    bundle = change.folder / "both.pem"
    bundle.write_bytes(change.old.ca_file.read_bytes() + change.new.ca_file.read_bytes())
    async with Load.running(change.caller) as load:
        # The trusting side trusts both before the other shows the new one: so certificates are changed everywhere.
        shutil.copy(bundle, change.folder / CA)
        await change.listener.reports(1)
        change.wallet.tls = change.new.server.server_context(client_ca_file=bundle)
        change.put(change.new, CERTIFICATE, KEY)
        await change.listener.reports(2)
        await load.goes_on()
        change.put(change.new, CA)
        await change.listener.reports(1)
    assert load.ends == {"OK": len(load.tokens)}
    # The fixture has made a call of its own.
    assert Counter(change.wallet.processed[1:]) == Counter(load.tokens)
