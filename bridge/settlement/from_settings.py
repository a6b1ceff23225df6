"""Settlement of one process, made of the settings. Imported only where the section [settlement] is there."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.admission import Admission
from bridge.events import Emit
from bridge.http2.transport import Http2Transport
from bridge.settings.file_watch import FileWatch, ReloadError
from bridge.settings.files import read_file
from bridge.settings.messages import one_line
from bridge.settings.model import Settings, SettingsError
from bridge.settings.settlement import SQLITE_PREFIX
from bridge.settings.settlement import Settlement as Section
from bridge.settlement.attempt import Attempt, Steps
from bridge.settlement.check import StoreReport, check_store
from bridge.settlement.keeper import WrongKey
from bridge.settlement.open_store import store_at
from bridge.settlement.running import Rules, Settlement, settling
from bridge.settlement.sealing import KeyFileError, Keys, parse_keys
from bridge.settlement.store import Store, StoreError
from bridge.upstream.client import WalletClient
from bridge.upstream.retry import NoRetries
from bridge.upstream.signing import Keyring

KEY_FILE = "settlement.key_file"

NO_SUCCESS_CODE = (
    "settlement: no [wallet.codes.<code>] has success = true. A token that the first POST terminated becomes REJECTED "
    'when the wallet answers "already terminated" to the next one: find that code out and map it (docs/operations.md)'
)


@dataclass(frozen=True, slots=True)
class Shared:
    """Parts of the bridge that settlement shares with the calls."""

    keyring: Keyring
    transport: Http2Transport
    admission: Admission
    steps: Iterable[Steps]
    """Of all operations."""
    emit: Emit


def rules_of(settings: Settings, section: Section) -> Rules:
    """Return how the bridge settles."""
    return Rules(
        settles_failed=section.settle == "failed",
        writes_before=section.durability == "before",
        give_up_after_s=section.give_up_after_s,
        in_flight_max=section.settle_in_flight,
        keep_s=section.keep_s,
        success_codes=success_codes(settings),
        providers=frozenset(settings.wallet.providers),
    )


def success_codes(settings: Settings) -> frozenset[int]:
    """Return the wallet's codes that the operator declared to mean success."""
    return frozenset(code for code, rule in settings.wallet.codes.items() if rule.success)


def warning(settings: Settings) -> str:
    """Return what is risky about settlement with these settings, in one line; "" for nothing."""
    return NO_SUCCESS_CODE if settings.settlement is not None and not success_codes(settings) else ""


def keys_of(section: Section) -> Keys:
    """Return the keys of the key file; raise SettingsError."""
    try:
        return _keys_in(section.key_file)
    except KeyFileError as error:
        problem = str(error)
    # Raised out here, so that no exception hangs on it that knows the file.
    raise SettingsError(f"{KEY_FILE}: {problem}")


def store_of(section: Section) -> Store:
    """Return the store, not opened yet; raise SettingsError where its URL cannot be used."""
    try:
        return store_at(section.store.get_secret_value())
    except StoreError as error:
        problem = str(error)
    except ValueError as error:
        # Of redis/address.py: its text does not hold the URL.
        problem = f"settlement.store: {error}"
    # Raised out here, so that no exception hangs on it that knows the URL.
    raise SettingsError(problem)


async def examined(section: Section) -> StoreReport:
    """Return what a test of store and key file finds; it leaves nothing behind. Raise SettingsError."""
    keys, store = keys_of(section), store_of(section)
    try:
        return await check_store(store, keys)
    except StoreError as error:
        problem = f"{error}{_folder_problem(section)}"
    finally:
        await store.close()
    raise SettingsError(problem)


def _folder_problem(section: Section) -> str:
    """Return what is wrong with the folder of a store that is a file, to follow an error; "" for nothing known."""
    if not section.store.is_sqlite:
        return ""
    folder = Path("/", section.store.get_secret_value().removeprefix(SQLITE_PREFIX)).parent
    if not folder.is_dir():
        return f" ({one_line(str(folder))} is no folder)"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f" (no permission to write in {one_line(str(folder))})"


def key_watch(settlement: Settlement, section: Section, emit: Emit, interval_s: float) -> FileWatch:
    """Return a watch of the key file: what it is changed to comes into use, unless it is no key file."""

    def use(_key: str) -> None:
        try:
            keys = _keys_in(section.key_file)
        except KeyFileError as error:
            problem = str(error)
        else:
            settlement.use_keys(keys)
            return
        # Raised out here, so that no exception hangs on it that knows the file.
        raise ReloadError(problem)

    return FileWatch({KEY_FILE: section.key_file}, use, emit, interval_s)


@asynccontextmanager
async def settlement_running(settings: Settings, section: Section, shared: Shared) -> AsyncIterator[Settlement]:
    """Run settlement for as long as the context lasts; raise SettingsError where its key file is wrong."""
    steps = {one.operation.full_name: one for one in shared.steps if one.operation.settles}
    wallet = WalletClient(shared.transport, settings.wallet.url, retries=NoRetries(), emit=shared.emit)
    attempt = Attempt(steps, keys_of(section), shared.keyring, wallet)
    settlement = Settlement(store_of(section), attempt, shared.admission, rules_of(settings, section), shared.emit)
    try:
        async with settling(settlement):
            yield settlement
    except WrongKey as error:
        problem = str(error)
    else:
        return
    raise SettingsError(problem)


def _keys_in(path: Path) -> Keys:
    content, problem = read_file(path)
    if problem:
        raise KeyFileError(f"cannot be read: {problem}")
    return parse_keys(content.decode(errors="replace"))
