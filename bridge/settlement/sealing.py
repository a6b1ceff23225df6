"""Encryption of stored requests, and the digests that find them again.

From each key of the key file (32 random bytes) three keys are derived by HKDF-SHA256 (RFC 5869), so that none is used
for two purposes:

    entry keys    each encrypts ENTRIES_OF_KEY entries at most, by AES-256-GCM (NIST SP 800-38D)
    digest key    HMAC-SHA256 (RFC 2104) of operation and body
    id            identifies a key in public; nothing about the key follows from it

Random nonces under one key are safe for 2^32 entries only (SP 800-38D, section 8.3), which a busy bridge that writes
every call reaches within weeks. So a process derives an entry key from random bytes, which stand in front of what it
encrypts, and the next one after ENTRIES_OF_KEY entries. The chance that two entries of one key share a nonce is then
below 2^-64. Nonces are random, not counted: two processes that were one until a fork must not use the same.

Entries of schema 1 have a key each, derived with the entry's id. It costs a call more than all the rest of settlement.
"""

import base64
import binascii
import enum
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from bridge.call_id import uuid_of
from bridge.settlement.entry import Entry, KeyUse, Sealed

KEY_BYTES = 32
KEYS_MAX = 8
"""Every call that is written is looked for under each of them."""
NONCE_BYTES = 12
"""96 bits, SP 800-38D, section 8.2.2."""
SALT_BYTES = 16
"""Random bytes that an entry key is derived with."""
ENTRIES_OF_KEY = 2**16
ID_BYTES = 16
OF_ENTRY, SALTED = b"entry ", b"entries "
"""Purposes of an entry key: what follows is the entry's id (schema 1), or random bytes."""
KEY_ID_DIGITS = 16
DISTINCT_BYTES_MIN = 8
"""A key with fewer different bytes is a placeholder: of random ones not one in 10^30 has so few."""


class KeyFileError(ValueError):
    """A key file that cannot be used. The text names the line and what it must be, never what it holds."""


class SealError(Exception):
    """An entry whose request cannot be decrypted."""


class KeyMissing(SealError):
    """No key of the key file encrypted it."""


class Damaged(SealError):
    """It is not what was encrypted for this entry, operation and provider."""


class KeyFinding(enum.Enum):
    """Fit of the key file with a store."""

    FITS = "the key file fits the store"
    NEW = "the store has no key-check value that is up to date"
    """Nothing was written yet, or another of our keys was the first one: `Store.set_key_check` with ours."""
    WRONG = "settlement.key_file: none of its keys is the one that this store was written with; use the right file"
    OLD_MISSING = (
        "settlement.key_file: lacks a key that entries of the store were encrypted with; put it back as the last line "
        "until they are settled or closed"
    )


class _Key:
    """One key of the file, with what is derived from it. Its repr holds none of it."""

    __slots__ = ("_expand", "digest", "id")

    def __init__(self, key: bytes) -> None:
        # HKDF-Extract with a salt of zeros, then HKDF-Expand (RFC 5869, sections 2.2 and 2.3). 32 bytes are one block.
        self._expand = HMAC(_code(HMAC(bytes(KEY_BYTES), SHA256()), key), SHA256())
        self.digest = HMAC(self._derive(b"digest"), SHA256())
        """The digest key, for `_code`."""
        self.id = self._derive(b"id").hex()[:KEY_ID_DIGITS]

    def cipher(self, purpose: bytes) -> AESGCM:
        """Return the cipher of one entry key."""
        return AESGCM(self._derive(purpose))

    def _derive(self, purpose: bytes) -> bytes:
        return _code(self._expand, b"wallet-bridge settlement " + purpose + b"\x01")


class _Sealer:
    """The entry key with which this process encrypts now. Its repr holds nothing of it."""

    __slots__ = ("_cipher", "_key", "_left", "_salt")

    def __init__(self, key: _Key) -> None:
        self._key = key
        self._left = 0

    def seal(self, nonce: bytes, content: bytes, associated: bytes) -> bytes:
        """Return content encrypted, behind what `Keys.open` needs besides the key."""
        if self._left == 0:
            self._salt = os.urandom(SALT_BYTES)
            self._cipher = self._key.cipher(SALTED + self._salt)
            self._left = ENTRIES_OF_KEY
        self._left -= 1
        return self._salt + nonce + self._cipher.encrypt(nonce, content, associated)


class Keys:
    """The keys of a key file: the first encrypts, all decrypt. Its repr holds no key."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Take 1 to KEYS_MAX keys of 32 bytes; `parse_keys` checks a file's."""
        self._keys = tuple(_Key(key) for key in keys)
        self._by_id = {key.id: key for key in self._keys}
        self._sealer = _Sealer(self._keys[0])
        self.first_id = self._keys[0].id
        """Public id of the key that encrypts: the key-check value."""

    def __repr__(self) -> str:
        return f"Keys({len(self._keys)})"

    def seal(self, operation: str, provider_id: int, content: bytes, body: bytes) -> Sealed:
        """Return content, encrypted for a new entry, and the digests of operation and body that find it."""
        random = os.urandom(ID_BYTES + NONCE_BYTES)
        entry_id = uuid_of(random[:ID_BYTES])
        associated = _associated(entry_id, operation, provider_id)
        return Sealed(
            entry_id,
            operation,
            provider_id,
            self._sealer.seal(random[ID_BYTES:], content, associated),
            self.first_id,
            self.digests(operation, body),
        )

    def digests(self, operation: str, body: bytes) -> tuple[bytes, ...]:
        """Return what the open entry of a request may be found by, one for each key, the first first."""
        message = operation.encode() + b"\0" + body
        return tuple([_code(key.digest, message) for key in self._keys])

    def open(self, entry: Entry) -> bytes:
        """Return what was sealed; raise KeyMissing or Damaged."""
        key = self._by_id.get(entry.key_id)
        if key is None:
            raise KeyMissing
        salt_bytes, purpose = (SALT_BYTES, SALTED) if entry.schema > 1 else (0, OF_ENTRY + entry.entry_id.encode())
        salt, sealed = entry.ciphertext[:salt_bytes], entry.ciphertext[salt_bytes:]
        associated = _associated(entry.entry_id, entry.operation, entry.provider_id)
        try:
            return key.cipher(purpose + salt).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            # ValueError: too short to hold a nonce. Without the chain: nothing of the content may hang on it.
            raise Damaged from None

    def finding(self, use: KeyUse) -> KeyFinding:
        """Say how these keys fit a store."""
        if use.check and use.check not in self._by_id:
            return KeyFinding.WRONG
        if not use.in_use <= self._by_id.keys():
            return KeyFinding.OLD_MISSING
        return KeyFinding.FITS if use.check == self.first_id else KeyFinding.NEW


def parse_keys(text: str) -> Keys:
    """Return the keys of a key file, one base64 key of 32 bytes a line, empty lines aside; raise KeyFileError."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    keys = [_parsed(number, line) for number, line in lines]
    if not 1 <= len(keys) <= KEYS_MAX:
        raise KeyFileError(f"must have 1 to {KEYS_MAX} lines, each one key; make one with: openssl rand -base64 32")
    if len(set(keys)) < len(keys):
        raise KeyFileError("holds the same key twice; remove one of the lines")
    return Keys(keys)


def _parsed(number: int, line: str) -> bytes:
    try:
        key = base64.b64decode(line.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"line {number}: must be {KEY_BYTES} bytes in base64, as openssl rand -base64 32 prints them"
        )
    if len(set(key)) < DISTINCT_BYTES_MIN:
        raise KeyFileError(f"line {number}: is no random key; make one with: openssl rand -base64 32")
    return key


def _code(keyed: HMAC, message: bytes) -> bytes:
    # A copy goes on from the state that begins with the key (RFC 2104, section 4): the key is not prepared again.
    started = keyed.copy()
    started.update(message)
    return started.finalize()


def _associated(entry_id: str, operation: str, provider_id: int) -> bytes:
    # None of the three can hold a NUL.
    return f"{entry_id}\0{operation}\0{provider_id}".encode()
