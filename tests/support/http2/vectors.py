"""The corpus of server bytes that once were, or might be, trouble.

A case is `tests/vectors/http2/NAME.hex`: a comment that says what it is and by which section of RFC 9113 the client
checks it; `# >` lines, the events that come of it; `# <` lines, the client's frames that come of it; then hex, one
frame a line. The bytes follow the server's SETTINGS; the client waits for the answers on streams 1, 3 and 5. The name
begins with `closes_` if the connection is closed for it, with `keeps_` if not.

A new case is written without those lines: its test says what they would have to be.
"""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "vectors" / "http2"


def names() -> list[str]:
    """Return the names of all cases."""
    return sorted(path.stem for path in FOLDER.glob("*.hex"))


def read(name: str) -> bytes:
    """Return the bytes of a case."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines(name)))


def lines(name: str) -> list[str]:
    """Return the lines of a case, comments too."""
    return (FOLDER / f"{name}.hex").read_text().splitlines()
