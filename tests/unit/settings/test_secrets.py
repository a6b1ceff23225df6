"""Credentials: given once, in a file or directly, of the right shape, and shown nowhere."""

import json
import traceback
from pathlib import Path

import pytest

from bridge.settings.model import KNOWN, SettingsError, describe, load
from bridge.settings.sources import environment_source, toml_source
from tests.support.settings_files import (
    ACCESS_KEY,
    ACCESS_KEY_EITHER,
    KEYS,
    PRIVATE_KEY,
    PRIVATE_KEY_EITHER,
    PROVIDER,
    refused,
    toml,
    write,
)

ACCESS_KEY_RULE = "must be printable ASCII without white space at its ends"
PRIVATE_KEY_RULE = "must be the text of a UUID, 36 characters with dashes"


def test_keys_are_kept_as_given(tmp_path: Path) -> None:
    """Keys are the text that was given: the private key's letters keep their case, as they are the HMAC's key."""
    upper = PRIVATE_KEY.upper()
    provider = load(write(tmp_path, toml(keys=f'access_key = "a b~"\nprivate_key = "{upper}"')), {}).wallet.providers
    assert provider[12345].access_key.get_secret_value() == "a b~"
    assert provider[12345].private_key.get_secret_value() == upper


READ = f"{PROVIDER}.access_key: access_key_file cannot be read:"
OTHER = f'private_key = "{PRIVATE_KEY}"'
IS_PATH = "; it looks like a path: is it for private_key_file?"
WRONG_KEYS = {
    "none": (
        "",
        f"{PROVIDER}.access_key: is missing; {ACCESS_KEY_EITHER}",
        f"{PROVIDER}.private_key: is missing; {PRIVATE_KEY_EITHER}",
    ),
    "both": (
        f'{KEYS}\naccess_key_file = "a"\nprivate_key_file = "b"',
        f"{PROVIDER}.access_key: {ACCESS_KEY_EITHER}, not both",
        f"{PROVIDER}.private_key: {PRIVATE_KEY_EITHER}, not both",
    ),
    "files-missing": (
        'access_key_file = "a"\nprivate_key_file = "b"',
        f"{READ} No such file or directory in {{folder}}",
        f"{PROVIDER}.private_key: private_key_file cannot be read: No such file or directory in {{folder}}",
    ),
    "file-with-nul": (f'access_key_file = "a\\u0000"\n{OTHER}', f"{READ} a path cannot hold a NUL"),
    # The folder in which a file was looked for is named where it is there; the file's name, maybe a secret, is not.
    "file-missing": (f'access_key_file = "nowhere"\n{OTHER}', f"{READ} No such file or directory in {{folder}}"),
    "folder-missing": (f'access_key_file = "no/where"\n{OTHER}', f"{READ} No such file or directory"),
    "file-is-a-folder": (f'access_key_file = "."\n{OTHER}', f"{READ} Is a directory"),
    "file-is-this-folder": (f'access_key_file = ""\n{OTHER}', f"{READ} Is a directory"),
    # The key itself may be right: that is not known before this is fixed.
    "file-number": (
        f"access_key_file = 1\n{OTHER}",
        f"{PROVIDER}.access_key_file: must be the path of a file that holds the access key",
    ),
    "a-key-for-a-file": (
        f'access_key = "{ACCESS_KEY}"\nprivate_key_file = "{PRIVATE_KEY}"',
        f"{PROVIDER}.private_key: private_key_file is given a key, not the path of a file: is it for private_key?",
    ),
    # It is not followed.
    "a-path-in-a-file": (
        f'access_key = "{ACCESS_KEY}"\nprivate_key_file = "path"',
        f"{PROVIDER}.private_key: {PRIVATE_KEY_RULE} in private_key_file; it holds a path",
    ),
}


EMPTY = "; it is empty"
AT_AN_END = "; it has white space at an end"
LINES = "; it has more than one line, or invisible characters"
NOT_ASCII = "; it has characters that are not ASCII"
IN_QUOTES = "; it stands in quotes"
PLACEHOLDER = "; it is a placeholder that nothing has filled in"
WRONG_ACCESS_KEYS = {
    "empty": ('""', EMPTY),
    "not-ascii": ('"ключ"', NOT_ASCII),
    "line-end": ('"abcde12345\\n"', AT_AN_END),
    "tab": ('"abcde\\t12345"', LINES),
    "space-at-start": ('" abcde12345"', AT_AN_END),
    "space-at-end": ('"abcde12345 "', AT_AN_END),
    "delete": ('"abcde12345\\u007f"', LINES),
    "number": ("12345", ""),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


WRONG_PRIVATE_KEYS = {
    "empty": ('""', EMPTY),
    "no-dashes": (f'"{PRIVATE_KEY.replace("-", "")}"', ""),
    "braces": (f'"{{{PRIVATE_KEY}}}"', ""),
    "quotes": (f"\"'{PRIVATE_KEY}'\"", IN_QUOTES),
    "urn": (f'"urn:uuid:{PRIVATE_KEY}"', ""),
    "short": (f'"{PRIVATE_KEY[:-1]}"', ""),
    "long": (f'"{PRIVATE_KEY}0"', ""),
    "no-hex": (f'"{PRIVATE_KEY[:-1]}g"', ""),
    "line-end": (f'"{PRIVATE_KEY}\\n"', AT_AN_END),
    "other-digits": (f'"{PRIVATE_KEY[:-1]}\u0665"', NOT_ASCII),
    "path": ('"/run/secrets/private_key"', IS_PATH),
    "path-from-here": ('"./secrets/private_key"', IS_PATH),
    "variable": ('"${PRIVATE_KEY}"', PLACEHOLDER),
    "template": ('"{{ private_key }}"', PLACEHOLDER),
    "angles": ('"<your private key>"', PLACEHOLDER),
    "change-me": ('"changeme"', PLACEHOLDER),
    "list": (f'["{PRIVATE_KEY}"]', ""),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


@pytest.mark.parametrize("case", WRONG_KEYS.values(), ids=WRONG_KEYS.keys())
def test_wrong_keys(tmp_path: Path, case: tuple[str, ...]) -> None:
    """Each key is given exactly once, directly or in a file that can be read."""
    keys, *lines = case
    (tmp_path / "path").write_text("/run/secrets/private_key\n")
    assert refused(tmp_path, keys=keys) == [line.replace("{folder}", str(tmp_path)) for line in lines]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " ", "\t"], ids=["none", "lf", "crlf", "space", "tab"])
def test_secret_files(tmp_path: Path, end: str) -> None:
    """A secret file's text is the secret, without one line end or white space behind it."""
    (tmp_path / "access").write_bytes(f"{ACCESS_KEY}{end}".encode())
    (tmp_path / "private").write_bytes(f"{PRIVATE_KEY}{end}".encode())
    keys = 'access_key_file = "access"\nprivate_key_file = "private"'
    provider = load(write(tmp_path, toml(keys=keys)), {}).wallet.providers[12345]
    assert provider.access_key.get_secret_value() == ACCESS_KEY
    assert provider.private_key.get_secret_value() == PRIVATE_KEY
    assert (provider.access_key_file, provider.private_key_file) == (tmp_path / "access", tmp_path / "private")


ENCODING = "; it is UTF-16, or begins with a byte order mark"
WRONG_FILES = {
    "empty": (b"", EMPTY),
    "line-end-alone": (b"\n", EMPTY),
    "two-line-ends": (b"abcde12345\n\n", AT_AN_END),
    "two-lines": (b"abcde\n12345", LINES),
    "not-utf-8": (b"\xffabcde", "; it is not UTF-8"),
    "bom": ("\ufeffabcde".encode(), ENCODING),
    "utf-16": ("abcde".encode("utf-16"), ENCODING),
    "utf-16-without-bom": ("abcde".encode("utf-16-le"), ENCODING),
}


@pytest.mark.parametrize(("content", "cause"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_secret_file(tmp_path: Path, content: bytes, cause: str) -> None:
    """What a secret file holds is checked like the secret itself, and the error names the file's key."""
    (tmp_path / "access").write_bytes(content)
    line = f"{PROVIDER}.access_key: {ACCESS_KEY_RULE} in access_key_file{cause}"
    assert refused(tmp_path, keys=f'access_key_file = "access"\n{OTHER}') == [line]


FINGERPRINT_KEY = "sixteen chars ok"
FINGERPRINT_RULE = (
    "telemetry.fingerprint_key: must be at least 16 printable ASCII characters without white space at their ends"
)
WRONG_FINGERPRINT_KEYS = {
    "empty": ('fingerprint_key = ""', f"{FINGERPRINT_RULE}{EMPTY}"),
    "short": (f'fingerprint_key = "{FINGERPRINT_KEY[:-1]}"', FINGERPRINT_RULE),
    "space-at-end": (f'fingerprint_key = "{FINGERPRINT_KEY} "', f"{FINGERPRINT_RULE}{AT_AN_END}"),
    "not-ascii": (f'fingerprint_key = "{FINGERPRINT_KEY}é"', f"{FINGERPRINT_RULE}{NOT_ASCII}"),
    "number": ("fingerprint_key = 1234567890123456", FINGERPRINT_RULE),
    "short-in-a-file": ('fingerprint_key_file = "short"', f"{FINGERPRINT_RULE} in fingerprint_key_file"),
    "no-file": (
        'fingerprint_key_file = "nowhere"',
        "telemetry.fingerprint_key: fingerprint_key_file cannot be read: No such file or directory in {folder}",
    ),
    "both": (
        f'fingerprint_key = "{FINGERPRINT_KEY}"\nfingerprint_key_file = "short"',
        "telemetry.fingerprint_key: set exactly one of fingerprint_key and fingerprint_key_file, not both",
    ),
}


@pytest.mark.parametrize(("telemetry", "line"), WRONG_FINGERPRINT_KEYS.values(), ids=WRONG_FINGERPRINT_KEYS.keys())
def test_wrong_fingerprint_key(tmp_path: Path, telemetry: str, line: str) -> None:
    """A fingerprint key that could be guessed, or that is given twice, is refused."""
    (tmp_path / "short").write_text("too short\n")
    assert refused(tmp_path, rest=f"[telemetry]\n{telemetry}") == [line.format(folder=tmp_path)]


@pytest.mark.parametrize("setting", [f'fingerprint_key = "{FINGERPRINT_KEY}"', 'fingerprint_key_file = "key"'])
def test_fingerprint_key(tmp_path: Path, setting: str) -> None:
    """A fingerprint key is given directly or in a file, and shown nowhere."""
    (tmp_path / "key").write_text(f"{FINGERPRINT_KEY}\n")
    settings = load(write(tmp_path, toml(rest=f"[telemetry]\n{setting}")), {})
    assert settings.telemetry.fingerprint_key is not None
    assert settings.telemetry.fingerprint_key.get_secret_value() == FINGERPRINT_KEY
    assert FINGERPRINT_KEY not in f"{settings!r}{describe(settings)}"


SECRETS = ("canary-access-key", "CAFE0000-beef-4087-bc7d-00000000cafe")
SECRET_KEYS = f'access_key = "{SECRETS[0]}"\nprivate_key = "{SECRETS[1]}"'
LEAKS = {
    "whole": (SECRET_KEYS, {}),
    "misspelt": (f'acces_key = "{SECRETS[0]}"\nprivatekey = "{SECRETS[1]}"', {}),
    "wrong-shape": (f'access_key = "{SECRETS[0]} "\nprivate_key = "{SECRETS[1]}0"', {}),
    "wrong-type": (f'access_key = ["{SECRETS[0]}"]\nprivate_key = {{ a = "{SECRETS[1]}" }}', {}),
    "given-as-files": (f'access_key_file = "{SECRETS[0]}"\nprivate_key_file = "{SECRETS[1]}"', {}),
    "unquoted": (f"access_key = {SECRETS[0]}", {}),
    "unterminated": (f'access_key = "{SECRETS[0]}', {}),
    "broken-behind": (f"{SECRET_KEYS}\n=", {}),
    "twice": (f'access_key = "{SECRETS[0]}"\naccess_key = "{SECRETS[1]}"', {}),
    "variable": ("", {"BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY": f"{SECRETS[0]}\n"}),
    "misspelt-variable": (KEYS, {"BRIDGE_WALLET__PROVIDERS__12345__ACCES_KEY": SECRETS[0], "BRIDGE_X": SECRETS[1]}),
    "variable-of-a-table": (KEYS, {"BRIDGE_WALLET__PROVIDERS__12345": json.dumps({"access_key": SECRETS[0]})}),
    "variable-of-a-section": (KEYS, {"BRIDGE_WALLET": f'{{"url": "{SECRETS[0]}", broken'}),
}


@pytest.mark.parametrize(("keys", "environ"), LEAKS.values(), ids=LEAKS.keys())
def test_no_error_shows_a_secret(tmp_path: Path, keys: str, environ: dict[str, str]) -> None:
    """No error that settings give, and no exception that hangs on it, has a piece of a secret in any text of it."""
    # Something else is wrong too, so that secrets which are right come into an error as well.
    with pytest.raises(SettingsError) as error:
        load(write(tmp_path, toml(server="drain_s = -1", keys=keys)), environ)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None
    texts = f"{error.value!s}{error.value!r}{vars(error.value)}{traceback.format_exception(error.value)}"
    assert not any(secret.lower() in texts.lower() for secret in SECRETS)


def test_secret_file_that_is_wrong_is_not_shown(tmp_path: Path) -> None:
    """What a secret file holds stays out of the error about it."""
    (tmp_path / "access").write_bytes(SECRETS[0].encode() + b"\xff")
    (tmp_path / "private").write_bytes(SECRETS[1].encode() + b"0")
    keys = 'access_key_file = "access"\nprivate_key_file = "private"'
    with pytest.raises(SettingsError) as error:
        load(write(tmp_path, toml(keys=keys)), {})
    assert error.value.__context__ is None
    assert not any(secret in str(error.value) for secret in SECRETS)


def test_sources_show_no_secret(tmp_path: Path) -> None:
    """Secrets are wrapped where they enter: what is passed on before any check shows none."""
    file = toml_source(write(tmp_path, toml(keys=SECRET_KEYS)), KNOWN)
    environment = environment_source({"BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY": SECRETS[0]}, KNOWN)
    assert repr(file).count("SecretStr('**********')") == 2
    assert repr(environment).count("SecretStr('**********')") == 1
    assert not any(secret in f"{file!r}{environment!r}" for secret in SECRETS)


def test_settings_show_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Settings show their secrets in no text, no dump, no description and no log."""
    caplog.set_level("DEBUG")
    settings = load(write(tmp_path, toml(keys=SECRET_KEYS)), {})
    dumps = (settings.model_dump(), settings.model_dump_json(), describe(settings), caplog.text)
    texts = f"{settings!s}{settings!r}{settings.wallet.providers!r}{dumps}"
    assert not any(secret in texts for secret in SECRETS)
