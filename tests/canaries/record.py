"""What a bridge and the commands beside it have said, as bytes, by the place where it was said."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from bridge.sandbox.record import Request
from tests.support.canaries import CANARIES
from tests.support.whole_path import End

LINE_MIN = 16
"""Characters."""

REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\nconnection: close\r\n\r\nnot today\n"
TAKEN = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass
class Record:
    """What came of a run."""

    said: defaultdict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))
    ends: list[End] = field(default_factory=list)
    """Of all calls that were no success, at any bridge."""
    received: list[Request] = field(default_factory=list)
    """Every request that came to a wallet which keeps them."""
    pem: dict[str, str] = field(default_factory=dict)
    """Lines of private keys of TLS, by file and number."""
    heads: list[bytes] = field(default_factory=list)
    """The request line and headers of each batch of spans."""

    @property
    def secrets(self) -> dict[str, str]:
        """The canaries, and what was made of them: every signature, and every authorization without its scheme."""
        secrets = {**CANARIES, **self.pem}
        for request in self.received:
            headers = dict(request.headers)
            secrets[f"signature of {request.token}"] = headers["x-request-signature"]
            secrets[f"authorization {len(secrets)}"] = headers["authorization"].removeprefix("Basic ")
        return secrets

    def say(self, place: str, *words: bytes) -> None:
        """Add what was said at a place."""
        self.said[place] += b"\n".join((*words, b""))

    def take(self, log: str, output: str, ends: list[End], received: list[Request]) -> None:
        """Add what a bridge that has ended has said, what its callers were answered, and what its wallet got."""
        self.say(log, output.encode())
        self.say("statuses", *map(_bytes_of, ends))
        self.ends += ends
        self.received += received

    @asynccontextmanager
    async def collecting(self, place: str) -> AsyncIterator[str]:
        """Run a collector for traces, OTLP over HTTP, and add what it gets; yield its URL. It refuses the first batch.

        A batch is an ExportTraceServiceRequest, where each string stands as it is.
        """

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                head = await reader.readuntil(b"\r\n\r\n")
                (size,) = re.findall(rb"content-length: (\d+)", head.lower())
                body = await reader.readexactly(int(size))
                writer.write(TAKEN if self.said[place] else REFUSAL)
                self.heads.append(head)
                self.say(place, body)
                await writer.drain()

        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def take_key(self, file: Path) -> None:
        """Add a private key's lines to the secrets, but for a last one that is too short to be unique."""
        lines = file.read_text(encoding="ascii").splitlines()[1:-1]
        self.pem |= {f"{file.name}, line {number}": line for number, line in enumerate(lines) if len(line) >= LINE_MIN}

    def take_files(self, place: str, *folders: Path) -> None:
        """Add all files of folders, with their names."""
        for folder in folders:
            for file in sorted(folder.rglob("*")):
                self.say(place, str(file.relative_to(folder)).encode(), file.read_bytes() if file.is_file() else b"")


async def command_line(process: asyncio.subprocess.Process) -> bytes:
    """Return a process's arguments. They are empty for the moment in which the kernel puts them together."""
    while not (line := arguments_of(process.pid)) and process.returncode is None:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.001)
    return line


def arguments_of(pid: int) -> bytes:
    """Return the arguments of a process that runs, each with a NUL behind it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _bytes_of(end: End) -> bytes:
    trailers = (value if isinstance(value, bytes) else value.encode() for value in end.trailers.values())
    return f"{end.code} {end.message} {end.details} ".encode() + b"".join(trailers)
