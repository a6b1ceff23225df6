"""Secrets among the settings: given directly or in a file, and of the right shape. No check's error shows one.

    access_key = "..."   or   access_key_file = "/run/secrets/access_key"

A section declares the file first, because the secret is checked together with the file that may hold it.
"""

import re
from typing import Any

from pydantic import SecretStr, ValidationInfo

from bridge.settings.messages import MISSING
from bridge.settings.types import earlier, read_secret, refused, shape

ABSENT: Any = None
"""A secret that was not given: its check puts it in from a file, or refuses."""

BYTE_ORDER_MARK, REPLACEMENT, QUOTES = "\ufeff", "\ufffd", ("'", '"')
"""U+FFFD is what `read_secret` puts in the place of bytes that are no text."""

PATH = re.compile(r"(?:~|\.{1,2})?(?:/[A-Za-z0-9._-]+){2,}|[A-Za-z]:\\[^/]*|file:.*")
"""Two names at least: a random secret seldom has the form of that."""
PLACEHOLDER = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|\{\{.*\}\}|<[^<>]+>|(?i:change.?me|todo|x{3,}|\*{3,})")

# White space at an end is a copying mistake.
SHAPES = {
    # The password of HTTP Basic, sent as it is.
    "access_key": shape(r"[!-~](?:[ -~]*[!-~])?"),
    # docs/design/wallet.md: a shared secret in the form of a UUID. Its text is the key, so it is kept as it was given.
    "private_key": shape(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    # Our own: too long to be found by trying.
    "fingerprint_key": shape(r"[!-~][ -~]{14,}[!-~]"),
}


def needed_secret(given: object, info: ValidationInfo) -> object:
    """Return the secret that was given, or what its file holds; refuse none as well as both."""
    secret = optional_secret(given, info)
    if secret is None:
        raise refused(f"{MISSING}; set exactly one of {info.field_name} and {_file_name(info)}")
    return secret


def optional_secret(given: object, info: ValidationInfo) -> object:
    """Return the secret that was given, or what its file holds, or None; refuse both."""
    file_name = _file_name(info)
    file = earlier(info, file_name)
    if given is not None and file is not None:
        raise refused(f"set exactly one of {info.field_name} and {file_name}, not both")
    if file is None:
        return given
    if SHAPES["private_key"](SecretStr(file.name)) and not file.exists():
        raise refused(f"{file_name} is given a key, not the path of a file: is it for {info.field_name}?")
    return read_secret(file, file_name)


def check_shape(secret: SecretStr, info: ValidationInfo, must_be: str) -> SecretStr:
    """Return a secret that has its shape; `must_be` says in words what that is."""
    if SHAPES[str(info.field_name)](secret):
        return secret
    file_name = _file_name(info)
    in_file = earlier(info, file_name) is not None
    cause = secret_flaw(secret.get_secret_value(), "" if in_file else file_name)
    raise refused(f"must be {must_be}{f' in {file_name}' if in_file else ''}{cause and f'; {cause}'}")


def secret_flaw(text: str, file_name: str = "") -> str:
    """Return what people usually do wrong with such a secret, without a part of it; "" for nothing known.

    `file_name`: the setting that takes a file, where the secret itself was given.
    """
    flaws = (
        (not text, "it is empty"),
        ("\0" in text or text.startswith(BYTE_ORDER_MARK), "it is UTF-16, or begins with a byte order mark"),
        (REPLACEMENT in text, "it is not UTF-8"),
        (text != text.strip(), "it has white space at an end"),
        (not text.isprintable(), "it has more than one line, or invisible characters"),
        (looks_like_path(text), f"it looks like a path: is it for {file_name}?" if file_name else "it holds a path"),
        (is_placeholder(text), "it is a placeholder that nothing has filled in"),
        (text[0:1] in QUOTES and text[0:1] == text[-1:], "it stands in quotes"),
        (not text.isascii(), "it has characters that are not ASCII"),
    )
    return next((flaw for is_so, flaw in flaws if is_so), "")


def looks_like_path(text: str) -> bool:
    """Say whether a secret is probably the path of the file that holds it."""
    return PATH.fullmatch(text) is not None


def is_placeholder(text: str) -> bool:
    """Say whether a secret is what a template leaves where nothing was filled in."""
    return PLACEHOLDER.fullmatch(text) is not None


def _file_name(info: ValidationInfo) -> str:
    return f"{info.field_name}_file"
