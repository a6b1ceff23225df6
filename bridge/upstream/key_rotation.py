"""Rotation of keys and certificates while the bridge runs: which files are watched, and what new content does.

    [wallet.providers.<id>]   access_key_file, private_key_file                   the next version of its keys
    [wallet]                  ca_file, client_certificate_file, client_key_file   other TLS for new connections

The files of one line are loaded together, once all of them are valid.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bridge.events import Emit
from bridge.settings.certificate_dates import check_dates
from bridge.settings.file_watch import INTERVAL_S, FileWatch
from bridge.settings.files import read_file
from bridge.settings.model import ProviderSetting, Wallet
from bridge.settings.reload import files_of, read_again
from bridge.upstream.signing import Credentials, Keyring


@dataclass(frozen=True, slots=True)
class Pace:
    """Times until a change is seen, and for which a replaced key is kept. All in seconds."""

    interval_s: float = INTERVAL_S
    rotation_s: float = 600.0
    """An old key is kept at least for so long after the change, and after the wallet has last accepted it.

    Longer than any call lasts: one that was signed before may have to be signed again.
    """


PACE = Pace()


class Rotation:
    """Loads new content of the files named in [wallet].

    `use_tls` is called when TLS to the wallet is to be set up again from the files that these settings name; they have
    passed every check. The very first look calls it, too: see FileWatch.
    """

    def __init__(
        self, wallet: Wallet, keyring: Keyring, use_tls: Callable[[Wallet], None], emit: Emit, pace: Pace = PACE
    ) -> None:
        self._wallet = wallet
        self._keyring = keyring
        self._use_tls = use_tls
        self._pace = pace
        self._tls_files = files_of(("wallet",), wallet)
        groups = [(self._tls_files, self._renew_tls)]
        for provider_id, provider in wallet.providers.items():
            files = files_of(("wallet", "providers", str(provider_id)), provider)
            groups.append((files, partial(self._renew_keys, provider_id, provider)))
        renewals = {key: renew for files, renew in groups for key in files}
        self._watch = FileWatch(
            {key: path for files, _ in groups for key, path in files.items()},
            lambda key: renewals[key](),
            emit,
            pace.interval_s,
            [files for files, _ in groups if files],
        )

    async def run(self) -> None:
        """Watch, and end rotations that are over, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run())
            tasks.create_task(self._settle())

    def check(self) -> None:
        """Look at all files once, as `run` does at every interval."""
        self._watch.check()

    def look_now(self) -> None:
        """Have `run` look at all files now, and load at once what has changed."""
        self._watch.look_now()

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(self._pace.rotation_s)
            self._keyring.settle()

    def _renew_keys(self, provider_id: int, provider: ProviderSetting) -> None:
        again = read_again(provider)
        keys = (again.access_key.get_secret_value(), again.private_key.get_secret_value())
        self._keyring.replace(Credentials(provider_id, *keys))

    def _renew_tls(self) -> None:
        again = read_again(self._wallet)
        check_dates({key: read_file(path)[0] for key, path in self._tls_files.items()})
        self._use_tls(again)
