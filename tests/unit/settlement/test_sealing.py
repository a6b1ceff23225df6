"""Encryption of stored requests, key files, and how they fit a store."""

import base64
import dataclasses
import hashlib
import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from bridge.settlement import sealing
from bridge.settlement.entry import NO_FAILURE, SCHEMA, Entry, KeyUse, Sealed, State
from bridge.settlement.sealing import KEYS_MAX, Damaged, KeyFileError, KeyFinding, KeyMissing, Keys, parse_keys

ONE, TWO, THREE = bytes(range(32)), bytes(range(50, 82)), bytes(range(100, 132))
KEYS = Keys([ONE])
OPERATION = "wallet.v1.WalletService/Terminate"
CONTENT = b"canary-content"


def stored(sealed: Sealed) -> Entry:
    """Return the entry that a store gives back for what was sealed."""
    return Entry(
        entry_id=sealed.entry_id,
        state=State.PENDING,
        operation=sealed.operation,
        provider_id=sealed.provider_id,
        calls=(),
        fingerprint="",
        ciphertext=sealed.ciphertext,
        key_id=sealed.key_id,
        created=0.0,
        pending_since=0.0,
        due=0.0,
        is_leased=False,
        fence=0,
        attempts=0,
        last=NO_FAILURE,
        never_repeat=False,
        ended=0.0,
        closed_reason="",
        schema=SCHEMA,
        read_at=0.0,
    )


def derived(key: bytes, purpose: bytes) -> bytes:
    """Return what the documented derivation gives, by an implementation that is not the bridge's."""
    info = b"wallet-bridge settlement " + purpose
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(key)


@given(content=st.binary(max_size=5000), provider_id=st.integers(1, 2**64 - 1))
def test_what_is_sealed_is_opened(content: bytes, provider_id: int) -> None:
    """Any content, any provider."""
    assert KEYS.open(stored(KEYS.seal(OPERATION, provider_id, content, b"body"))) == content


def test_the_ciphertext_is_what_the_documentation_says() -> None:
    """AES-256-GCM under a key that HKDF-SHA256 derives with its first 16 bytes, then a nonce: read in 20 years."""
    sealed = KEYS.seal(OPERATION, 7, CONTENT, b"body")
    salt, nonce, encrypted = sealed.ciphertext[:16], sealed.ciphertext[16:28], sealed.ciphertext[28:]
    associated = f"{sealed.entry_id}\0{OPERATION}\0007".encode()
    assert AESGCM(derived(ONE, b"entries " + salt)).decrypt(nonce, encrypted, associated) == CONTENT


def of_schema_1(content: bytes) -> Entry:
    """Return an entry as the bridge of version 0.1.0 has stored it."""
    entry_id, nonce = "11111111-2222-4333-8444-555555555555", bytes(12)
    associated = f"{entry_id}\0{OPERATION}\0007".encode()
    encrypted = AESGCM(derived(ONE, b"entry " + entry_id.encode())).encrypt(nonce, content, associated)
    return dataclasses.replace(
        stored(KEYS.seal(OPERATION, 7, b"", b"body")), entry_id=entry_id, ciphertext=nonce + encrypted, schema=1
    )


def test_entries_of_an_older_bridge_are_opened() -> None:
    """Those of schema 1 have a key that is derived with their id, and no random bytes in front."""
    assert KEYS.open(of_schema_1(CONTENT)) == CONTENT


@pytest.mark.parametrize("schema", [1, SCHEMA])
def test_an_entry_is_opened_as_its_schema_says(schema: int) -> None:
    """What one schema has encrypted is not opened as another's."""
    entries = {1: of_schema_1(CONTENT), SCHEMA: stored(KEYS.seal(OPERATION, 7, CONTENT, b"body"))}
    with pytest.raises(Damaged):
        KEYS.open(dataclasses.replace(entries[schema], schema=1 + SCHEMA - schema))


def test_a_key_encrypts_so_many_entries_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next entries have another key, other keys of a file and other processes have theirs, and all are opened."""
    monkeypatch.setattr(sealing, "ENTRIES_OF_KEY", 3)
    keys, other = Keys([ONE]), Keys([ONE])
    sealed = [each.seal(OPERATION, 7, CONTENT, b"body") for each in (keys, other) for _ in range(7)]
    salts = [one.ciphertext[:16] for one in sealed]
    assert [salts.count(salt) for salt in dict.fromkeys(salts)] == [3, 3, 1, 3, 3, 1]
    assert [KEYS.open(stored(one)) for one in sealed] == [CONTENT] * 14


def test_no_nonce_is_used_twice() -> None:
    """Nonces are drawn for each entry, whatever key encrypts it."""
    assert len({KEYS.seal(OPERATION, 7, CONTENT, b"body").ciphertext[:28] for _ in range(1000)}) == 1000


def test_the_digest_and_the_id_are_what_the_documentation_says() -> None:
    """HMAC-SHA256 of operation and body, under a key of its own; the id is another derived value."""
    sealed = KEYS.seal(OPERATION, 7, CONTENT, b"body")
    message = OPERATION.encode() + b"\0body"
    assert sealed.digests == (hmac.digest(derived(ONE, b"digest"), message, hashlib.sha256),)
    assert sealed.key_id == KEYS.first_id == derived(ONE, b"id").hex()[:16]


def test_two_entries_of_one_request_share_only_the_digest() -> None:
    """The ciphertext does not show that two requests are the same."""
    one, two = (KEYS.seal(OPERATION, 7, CONTENT, b"body") for _ in range(2))
    assert one.digests == two.digests
    assert one.entry_id != two.entry_id
    assert one.ciphertext[16:28] != two.ciphertext[16:28]
    assert one.ciphertext[28:] != two.ciphertext[28:]


@pytest.mark.parametrize(
    ("operation", "body"), [("a/B", b"c"), ("a/", b"Bc"), ("a/Bc", b"")], ids=["whole", "shifted", "empty body"]
)
def test_operation_and_body_differ_in_the_digest(operation: str, body: bytes) -> None:
    """Bytes that move from one to the other make another request."""
    others = {KEYS.digests(*other)[0] for other in (("a/B", b"c"), ("a/", b"Bc"), ("a/Bc", b""))}
    assert len(others) == 3
    assert KEYS.digests(operation, body)[0] in others


CHANGES: dict[str, Callable[[Entry], Entry]] = {
    "entry id": lambda entry: dataclasses.replace(entry, entry_id="00000000-0000-4000-8000-000000000000"),
    "operation": lambda entry: dataclasses.replace(entry, operation="wallet.v1.WalletService/Other"),
    "provider": lambda entry: dataclasses.replace(entry, provider_id=8),
    "a bit": lambda entry: dataclasses.replace(
        entry, ciphertext=entry.ciphertext[:-1] + bytes([entry.ciphertext[-1] ^ 1])
    ),
    "cut": lambda entry: dataclasses.replace(entry, ciphertext=entry.ciphertext[:20]),
    "no nonce": lambda entry: dataclasses.replace(entry, ciphertext=b"abc"),
    "empty": lambda entry: dataclasses.replace(entry, ciphertext=b""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_in_the_store_is_not_opened(change: str) -> None:
    """No one with access to the store makes the bridge send another request, or one for another provider."""
    entry = CHANGES[change](stored(KEYS.seal(OPERATION, 7, CONTENT, b"body")))
    with pytest.raises(Damaged) as caught:
        KEYS.open(entry)
    assert caught.value.__cause__ is None


def test_each_key_of_the_file_decrypts() -> None:
    """After a rotation the old key, as second line, still opens what it encrypted; without it nothing does."""
    entry = stored(KEYS.seal(OPERATION, 7, CONTENT, b"body"))
    assert Keys([TWO, ONE]).open(entry) == CONTENT
    with pytest.raises(KeyMissing):
        Keys([TWO]).open(entry)


def test_the_first_key_encrypts_and_all_give_digests() -> None:
    """The open entry is found under whichever key it was written."""
    sealed = Keys([TWO, ONE]).seal(OPERATION, 7, CONTENT, b"body")
    assert sealed.key_id == Keys([TWO]).first_id
    assert sealed.digests == Keys([TWO]).digests(OPERATION, b"body") + KEYS.digests(OPERATION, b"body")


def line(key: bytes) -> str:
    """Return a key as it stands in a file."""
    return base64.b64encode(key).decode()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_key_file_is_read(end: str) -> None:
    """One key a line, in their order, whatever an editor leaves at the end."""
    keys = parse_keys(f"{line(TWO)}\n{line(ONE)}{end}")
    assert keys.first_id == Keys([TWO]).first_id
    assert keys.open(stored(KEYS.seal(OPERATION, 7, CONTENT, b""))) == CONTENT


BAD_FILES = {
    "nothing": ("", "must have 1 to 8 lines"),
    "empty lines": ("\n\n", "must have 1 to 8 lines"),
    "too many": ("".join(f"{line(bytes(range(n, n + 32)))}\n" for n in range(KEYS_MAX + 1)), "must have 1 to 8 lines"),
    "short": (f"{line(ONE)}\n{line(TWO[:31])}", "line 2: must be 32 bytes in base64"),
    "long": (line(ONE + b"x"), "line 1: must be 32 bytes in base64"),
    "hex": (ONE.hex(), "line 1: must be 32 bytes in base64"),
    "not base64": ("canary canary", "line 1: must be 32 bytes in base64"),
    "not ASCII": ("é" * 44, "line 1: must be 32 bytes in base64"),
    "url-safe": (base64.urlsafe_b64encode(bytes([251]) * 8 + ONE[:24]).decode(), "line 1: must be 32 bytes in base64"),
    "zeros": (line(bytes(32)), "line 1: is no random key"),
    "a word": (line(b"changeme" * 4), "line 1: is no random key"),
    "twice": (f"{line(ONE)}\n{line(ONE)}", "holds the same key twice"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_key_file_is_refused(case: str) -> None:
    """The line that is wrong and what it must be, and nothing of what it holds."""
    text, wanted = BAD_FILES[case]
    with pytest.raises(KeyFileError) as caught:
        parse_keys(text)
    assert wanted in str(caught.value)
    assert not [word for word in text.split() if word in str(caught.value)]


FINDINGS: dict[str, tuple[list[bytes], bytes, list[bytes], KeyFinding]] = {
    "new store": ([ONE], b"", [], KeyFinding.NEW),
    "fits": ([ONE], ONE, [ONE], KeyFinding.FITS),
    "second line added": ([ONE, TWO], ONE, [ONE], KeyFinding.FITS),
    "moved to the first": ([TWO, ONE], ONE, [ONE], KeyFinding.NEW),
    "a replica that is not there yet": ([ONE, TWO], TWO, [ONE, TWO], KeyFinding.NEW),
    "a replica that lacks the new one": ([ONE], TWO, [ONE, TWO], KeyFinding.WRONG),
    "another file": ([THREE], ONE, [], KeyFinding.WRONG),
    "removed too early": ([TWO], TWO, [ONE, TWO], KeyFinding.OLD_MISSING),
    "removed in time": ([TWO], TWO, [TWO], KeyFinding.FITS),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_keys_are_compared_with_a_store(case: str) -> None:
    """Every step of a rotation passes; a file that cannot read the store's entries does not."""
    keys, check, in_use, expected = FINDINGS[case]
    use = KeyUse(Keys([check]).first_id if check else "", frozenset(Keys([one]).first_id for one in in_use))
    assert Keys(keys).finding(use) is expected


def test_nothing_shows_a_key() -> None:
    """No repr of keys, or of what is inside them."""
    shown = repr(KEYS) + repr([getattr(KEYS, name) for name in vars(KEYS)])
    assert not [text for text in (ONE.hex(), line(ONE), repr(ONE)) if text in shown]
