"""Tokens for commands: from standard input or a file, never from an argument, which `ps` shows to everybody."""

import getpass
import re
import sys
from pathlib import Path
from typing import BinaryIO

from bridge.settings.model import SettingsError

TOKEN_BYTES_MAX = 4096
"""As in wallet_service.proto."""

# One byte more than may be, and a line end: a token that is too long is seen, and not cut.
READ_BYTES = TOKEN_BYTES_MAX + 3


def token_from_input(given: BinaryIO | None) -> str:
    """Return the token in `given` (None: standard input, or a question on its terminal); raise SettingsError."""
    if given is None and sys.stdin.isatty():
        return _checked(getpass.getpass("token: ").encode(errors="surrogateescape"), "standard input")
    return _checked(_without_line_end((given or sys.stdin.buffer).read(READ_BYTES)), "standard input")


def token_from_file(path: Path, flag: str) -> str:
    """Return the token in a file; raise SettingsError, which names the flag and neither the path nor the content."""
    try:
        with path.open("rb") as file:
            content = file.read(READ_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a path cannot hold a NUL
        raise SettingsError(f"{flag}: cannot be read: {getattr(error, 'strerror', None) or 'no path'}") from None
    return _checked(_without_line_end(content), flag)


def _without_line_end(content: bytes) -> bytes:
    return re.sub(rb"\r?\n\Z", b"", content)


def _checked(content: bytes, source: str) -> str:
    if not 0 < len(content) <= TOKEN_BYTES_MAX:
        raise SettingsError(f"{source}: must be a token, 1 to {TOKEN_BYTES_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        # Without the chain: it holds the token.
        raise SettingsError(f"{source}: must be a token in UTF-8") from None
