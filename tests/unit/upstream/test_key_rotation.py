"""What new content of a provider's files means: the next version of its keys, or nothing but a report."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from bridge.events import Event, Reloaded, ReloadFailed, ignore
from bridge.settings.model import Settings, Wallet, load
from bridge.upstream.from_settings import keyring_of
from bridge.upstream.key_rotation import Pace, Rotation
from bridge.upstream.signing import Credentials, Keyring
from tests.support.certificates import Certificates
from tests.support.rotating_wallet import FILES, NEW, OLD, OTHER, Keys, in_files
from tests.support.settings_files import toml, write
from tests.support.whole_path import PATIENCE_S, environment

URL = "https://wallet.example"
PROVIDER = "wallet.providers.1"
ACCESS_KEY_FILE, PRIVATE_KEY_FILE = f"{PROVIDER}.access_key_file", f"{PROVIDER}.private_key_file"


def credentials(keys: Keys) -> Credentials:
    """Return what provider 1 signs with if it has these keys."""
    return Credentials(1, keys.access_key, keys.private_key)


class Rotating:
    """A rotation by the files in a folder, which have been looked at once, and what came of it."""

    def __init__(self, settings: Settings) -> None:
        self.keyring = keyring_of(settings.wallet)
        self.key_versions = self.keyring.key_versions(1)
        self.tls: list[Wallet] = []
        self.events: list[Event] = []
        self.rotation = Rotation(settings.wallet, self.keyring, self.tls.append, self.events.append)
        self.rotation.check()

    def look(self) -> list[Event]:
        """Look until a change counts; return what was emitted meanwhile."""
        before = len(self.events)
        for _ in range(2):
            self.rotation.check()
        return self.events[before:]


@pytest.fixture
def rotating(tmp_path: Path) -> Rotating:
    """Watch the old keys of provider 1; provider 12345 has its keys in the settings themselves."""
    OLD.write(tmp_path)
    return Rotating(load(None, environment(URL, in_files(tmp_path))))


def test_new_keys_are_the_next_key_version(rotating: Rotating, tmp_path: Path) -> None:
    """Both files replaced are one change: the next call is signed with both new keys, the old ones stay beside them."""
    NEW.write(tmp_path)
    assert rotating.look() == [Reloaded(ACCESS_KEY_FILE), Reloaded(PRIVATE_KEY_FILE)]
    assert rotating.keyring.credentials(1) == credentials(NEW)
    assert rotating.key_versions.older == credentials(OLD)


def test_a_key_in_the_settings_stays(tmp_path: Path) -> None:
    """Where only one of the keys is in a file, the other is what the settings say."""
    OLD.write(tmp_path)
    keys = f'access_key = "{OLD.access_key}"\nprivate_key_file = "private_key"'
    settings = load(write(tmp_path, toml(keys=keys)), {})
    keyring, events = keyring_of(settings.wallet), list[Event]()
    rotation = Rotation(settings.wallet, keyring, lambda _wallet: None, events.append)
    # Relative to the folder of bridge.toml, as when it was loaded.
    (tmp_path / "private_key").write_text(NEW.private_key)
    rotation.check()
    assert keyring.credentials(12345) == Credentials(12345, OLD.access_key, NEW.private_key)
    assert events == []


def test_the_same_keys_begin_no_rotation(rotating: Rotating, tmp_path: Path) -> None:
    """Files that were rewritten with the same keys, in another form, are no other key version."""
    for name in FILES:
        (tmp_path / name).write_text(getattr(OLD, name))
    assert rotating.look() == [Reloaded(ACCESS_KEY_FILE), Reloaded(PRIVATE_KEY_FILE)]
    assert rotating.key_versions.older is None


def test_keys_that_changed_before_the_first_look(tmp_path: Path) -> None:
    """What changed since the settings were read is found by the first look."""
    OLD.write(tmp_path)
    settings = load(None, environment(URL, in_files(tmp_path)))
    NEW.write(tmp_path)
    rotating = Rotating(settings)
    assert (rotating.keyring.credentials(1), rotating.events) == (credentials(NEW), [])


ACCESS_KEY_RULE = "access_key: must be printable ASCII without white space at its ends in access_key_file"
PRIVATE_KEY_RULE = "private_key: must be the text of a UUID, 36 characters with dashes in private_key_file"
MISSING = "cannot be read: No such file or directory"
BAD_KEYS: dict[str, tuple[str, bytes | None, str]] = {
    "access key gone": ("access_key", None, MISSING),
    "private key gone": ("private_key", None, MISSING),
    "access key emptied": ("access_key", b"", f"{ACCESS_KEY_RULE}; it is empty"),
    "access key of two lines": (
        "access_key",
        b"the secret\nthe secret\n",
        f"{ACCESS_KEY_RULE}; it has more than one line, or invisible characters",
    ),
    "private key emptied": ("private_key", b"", f"{PRIVATE_KEY_RULE}; it is empty"),
    "private key cut short": ("private_key", NEW.private_key[:-1].encode(), PRIVATE_KEY_RULE),
    "private key of another form": ("private_key", b"the secret", PRIVATE_KEY_RULE),
    "private key that is no text": ("private_key", b"\xff\xfe", f"{PRIVATE_KEY_RULE}; it is not UTF-8"),
}


@pytest.mark.parametrize(("name", "content", "problem"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_is_not_used(
    rotating: Rotating, tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    """A key that the settings would refuse is reported in their words, without itself, and the old one stays."""
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert rotating.look() == [ReloadFailed(f"{PROVIDER}.{name}_file", problem)]
    assert (rotating.keyring.credentials(1), rotating.key_versions.older) == (credentials(OLD), None)
    NEW.write(tmp_path)
    assert {type(event) for event in rotating.look()} == {Reloaded}
    assert rotating.keyring.credentials(1) == credentials(NEW)


def test_a_good_key_waits_for_a_bad_one(rotating: Rotating, tmp_path: Path) -> None:
    """Of two keys that were replaced, neither is used before both are right."""
    NEW.write(tmp_path)
    (tmp_path / "private_key").write_text("the secret")
    failures = [ReloadFailed(ACCESS_KEY_FILE, PRIVATE_KEY_RULE), ReloadFailed(PRIVATE_KEY_FILE, PRIVATE_KEY_RULE)]
    assert rotating.look() == failures
    assert rotating.keyring.credentials(1) == credentials(OLD)


def test_nothing_that_is_reported_holds_a_key(rotating: Rotating, tmp_path: Path) -> None:
    """No event of good or bad files has anything of any key in it."""
    for keys in (NEW, Keys("the secret\n\n", OTHER.private_key), Keys(OTHER.access_key, "the secret"), OTHER):
        keys.write(tmp_path)
        rotating.look()
    reported = str(rotating.events)
    assert len(rotating.events) == 8
    assert not [key for keys in (OLD, NEW, OTHER) for key in (keys.access_key, keys.private_key) if key in reported]
    assert "the secret" not in reported


def test_a_bad_key_does_not_hold_up_tls(tmp_path: Path) -> None:
    """A provider's bad file is no reason to go on with an old CA."""
    (tmp_path / "new").mkdir()
    new = Certificates(tmp_path / "new").ca_file
    ca_file = Certificates(tmp_path).ca_file
    OLD.write(tmp_path)
    rotating = Rotating(load(None, environment(URL, {"WALLET__CA_FILE": str(ca_file), **in_files(tmp_path)})))
    rotating.tls.clear()
    (tmp_path / "private_key").write_text("")
    new.rename(ca_file)
    problem = f"{PRIVATE_KEY_RULE}; it is empty"
    assert rotating.look() == [Reloaded("wallet.ca_file"), ReloadFailed(PRIVATE_KEY_FILE, problem)]
    assert len(rotating.tls) == 1


class SettledKeyring:
    """Stands for a keyring, and reports when it has been settled."""

    def __init__(self, keyring: Keyring) -> None:
        self.settled = asyncio.Event()
        self._keyring = keyring

    def settle(self) -> None:
        """End the rotations that are over."""
        self._keyring.settle()
        self.settled.set()


async def test_a_rotation_ends_while_it_runs(tmp_path: Path) -> None:
    """While `run` runs, an old key that the wallet needs no longer is forgotten; cancelling ends it."""
    NEW.write(tmp_path)
    keyring = Keyring([credentials(OLD)])
    keyring.replace(credentials(NEW))
    key_versions = keyring.key_versions(1)
    key_versions.accepted(credentials(NEW))
    wallet = load(None, environment(URL, in_files(tmp_path))).wallet
    settled = SettledKeyring(keyring)
    rotation = Rotation(wallet, cast("Keyring", settled), lambda _wallet: None, ignore, Pace(rotation_s=0.001))
    running = asyncio.create_task(rotation.run())
    async with asyncio.timeout(PATIENCE_S):
        while key_versions.older is not None:
            settled.settled.clear()
            await settled.settled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
