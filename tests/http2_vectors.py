"""The corpus of server bytes that once were, or might be, trouble. Run this file to add a case or to list them.

    python tests/http2_vectors.py                          list the cases and what comes of them
    python tests/http2_vectors.py NAME "COMMENT" HEX ...   add the case NAME, from hex

A case is `tests/vectors/http2/NAME.hex`: a comment that says what it is, then hex, one frame a line. The bytes follow
the server's SETTINGS; the client waits for the answers on streams 1, 3 and 5. Its name begins with `closes_` if the
connection is closed for it, with `keeps_` if not.
"""

import sys
from pathlib import Path

from http2_conversation import conversation, listen

FOLDER = Path(__file__).with_name("vectors") / "http2"
LINE_BYTES_MAX = 48


def names() -> list[str]:
    """Return the names of all cases."""
    return sorted(path.stem for path in FOLDER.glob("*.hex"))


def read(name: str) -> bytes:
    """Return the bytes of a case."""
    lines = (FOLDER / f"{name}.hex").read_text().splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))


def write(name: str, comment: str, frames: list[bytes]) -> None:
    """Add or replace a case; a long frame is folded."""
    lines = [frame[at : at + LINE_BYTES_MAX].hex() for frame in frames for at in range(0, len(frame), LINE_BYTES_MAX)]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.hex").write_text("\n".join([f"# {comment}", *lines, ""]))


def main(arguments: list[str]) -> None:
    """List the cases, or add one."""
    if arguments:
        name, comment, *frames = arguments
        write(name, comment, [bytes.fromhex(each) for each in frames])
    for name in names():
        heard = listen(conversation(), read(name))
        print(f"{name}: {heard.violation or 'no violation'}, {len(heard.events)} events")  # noqa: T201 - for people


if __name__ == "__main__":
    main(sys.argv[1:])
