"""The corpus of server bytes that once were, or might be, trouble.

A case is `tests/vectors/http2/NAME.hex`: a comment that says what it is and by which section of RFC 9113 the client
checks it; `# >` lines, the events that come of it; `# <` lines, the client's frames that come of it; then hex, one
frame a line. The bytes follow the server's SETTINGS; the client waits for the answers on streams 1, 3 and 5. The name
begins with `closes_` if the connection is closed for it, with `keeps_` if not.

A new case is written without those lines: its test says what they would have to be.
"""

from pathlib import Path

from bridge.http2.events import Event
from tests.support.http2.conversation import Received, frames_of, in_words

FOLDER = Path(__file__).parents[2] / "vectors" / "http2"
EVENT, REPLY = "# > ", "# < "


Came = tuple[list[str], list[str]]
"""What comes of a case: the events, and the client's frames."""


def names() -> list[str]:
    """Return the names of all cases."""
    return sorted(path.stem for path in FOLDER.glob("*.hex"))


def read(name: str) -> bytes:
    """Return the bytes of a case."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in _lines(name)))


def expected(name: str) -> Came:
    """Return what is to come of a case."""
    return _marked(name, EVENT), _marked(name, REPLY)


def came_of(received: Received) -> Came:
    """Return what has come of some bytes, in the words of the corpus."""
    return [_event(each) for each in received.events], [in_words(each) for each in frames_of(received.said)]


def _lines(name: str) -> list[str]:
    return (FOLDER / f"{name}.hex").read_text().splitlines()


def _marked(name: str, mark: str) -> list[str]:
    return [line.removeprefix(mark) for line in _lines(name) if line.startswith(mark)]


def _event(event: Event) -> str:
    return " ".join([type(event).__name__, *map(str, event)])
