"""Files that settings name, read without an error that holds their path."""

from pathlib import Path


def read_file(file: Path) -> tuple[bytes, str]:
    """Return a file's content and "", or nothing and why it cannot be read, in words that do not hold the path."""
    try:
        return file.read_bytes(), ""
    except OSError as error:
        return b"", error.strerror or "it is no readable file"
    except ValueError:
        return b"", "a path cannot hold a NUL"
