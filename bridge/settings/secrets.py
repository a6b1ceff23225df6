"""Secrets among the settings: given directly or in a file, and of the right shape. No check's error shows one.

    access_key = "..."   or   access_key_file = "/run/secrets/access_key"

A section declares the file first, because the secret is checked together with the file that may hold it.
"""

from typing import Any

from pydantic import SecretStr, ValidationInfo

from bridge.settings.types import earlier, read_secret, refused, shape

ABSENT: Any = None
"""A secret that was not given: its check puts it in from a file, or refuses."""

# White space at an end is a slip of whoever copied it.
SHAPES = {
    # The password of HTTP Basic, sent as it is.
    "access_key": shape(r"[!-~](?:[ -~]*[!-~])?"),
    # docs/design/wallet.md: a shared secret in the form of a UUID. Its text is the key, so it is kept as it was given.
    "private_key": shape(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    # Our own: long enough that nobody finds it by trying.
    "fingerprint_key": shape(r"[!-~][ -~]{14,}[!-~]"),
}


def needed_secret(given: object, info: ValidationInfo) -> object:
    """Return the secret that was given, or what its file holds; refuse none as well as both."""
    secret = optional_secret(given, info)
    if secret is None:
        raise refused(f"is missing; set exactly one of {info.field_name} and {_file_name(info)}")
    return secret


def optional_secret(given: object, info: ValidationInfo) -> object:
    """Return the secret that was given, or what its file holds, or None; refuse both."""
    file_name = _file_name(info)
    file = earlier(info, file_name)
    if given is not None and file is not None:
        raise refused(f"set exactly one of {info.field_name} and {file_name}, not both")
    return given if file is None else read_secret(file, file_name)


def check_shape(secret: SecretStr, info: ValidationInfo, must_be: str) -> SecretStr:
    """Return a secret that has its shape; `must_be` says in words what that is."""
    if SHAPES[str(info.field_name)](secret):
        return secret
    place = "" if earlier(info, _file_name(info)) is None else f" in {_file_name(info)}"
    raise refused(f"must be {must_be}{place}")


def _file_name(info: ValidationInfo) -> str:
    return f"{info.field_name}_file"
