"""A wallet in a process of its own, with faults, whose journal outlives it: what it has terminated stays terminated.

    python -m tests.chaos.wallet --listen 127.0.0.1:8080 --journal FILE --calm FILE --seed 7

It is honest about one thing: it says success only where it has terminated the token, and nothing that claims "not
processed" where it has. A line of the journal is written before anything is answered (write(2) to a file in append
mode survives SIGKILL). Once the file --calm is there, it has no faults any more.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from h2.errors import ErrorCodes

from bridge.sandbox.behaviours import answer, hang, reset_with
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.random_wallet import abort, finish, success_with, wallet_says

LATE_MAX_S = 1.5
HTML = (("content-type", "text/html"),)

FAULTS: Mapping[str, tuple[int, bool, Behaviour]] = {
    "success": (45, True, success_with()),
    "no answer, processed": (6, True, hang),
    "no answer": (4, False, hang),
    "FIN, processed": (6, True, finish),
    "TCP reset": (5, False, abort),
    "stream reset, processed": (5, True, reset_with(ErrorCodes.INTERNAL_ERROR)),
    "stream reset": (3, False, reset_with(ErrorCodes.INTERNAL_ERROR)),
    "refused": (4, False, reset_with(ErrorCodes.REFUSED_STREAM)),
    "gateway error": (6, False, answer(502, b"<html>", HTML)),
    "code 2": (5, False, wallet_says(500, code=2)),
    "another's success": (1, False, success_with(token="another")),
    "rejected": (2, False, wallet_says(409, code=9)),
    "unavailable": (2, False, wallet_says(503, code=9)),
}
"""By name: how often, whether the token is terminated before, and what is answered."""
NAMES, WEIGHTS = list(FAULTS), [weight for weight, _, _ in FAULTS.values()]
LATE = 0.1
"""The share of requests that wait before anything is done."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal."""

    at: float
    """Seconds since 1970."""
    what: str
    """begins, terminates, or ends: the answer is complete, or the client has gone."""
    token: str
    request: str
    """Names the request: process and number."""


class Journal:
    """A file to which lines are appended, each by one write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, what: str, token: str, request: str) -> None:
        """Append a line."""
        line = json.dumps(asdict(Line(time.time(), what, token, request)))
        os.write(self._file, f"{line}\n".encode())


def journal_of(path: Path) -> list[Line]:
    """Read a journal; a wallet that was never started has none."""
    return [Line(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


class Wallet:
    """The behaviour of the server."""

    def __init__(self, journal: Journal, calm: Path, seed: int) -> None:
        self._journal = journal
        self._calm = calm
        self._chance = random.Random(seed)
        self._count = 0

    async def __call__(self, stream: Stream) -> None:
        """Answer one request, well or badly."""
        self._count += 1
        token, request = stream.request.token, f"{os.getpid()}/{self._count}"
        self._journal.add("begins", token, request)
        try:
            await self._answer(stream, token, request)
        finally:
            self._journal.add("ends", token, request)

    async def _answer(self, stream: Stream, token: str, request: str) -> None:
        is_calm = self._calm.exists()
        name = "success" if is_calm else self._chance.choices(NAMES, WEIGHTS)[0]
        if not is_calm and self._chance.random() < LATE:
            await stream.pause(self._chance.uniform(0, LATE_MAX_S))
        _, is_processed, behaviour = FAULTS[name]
        if is_processed:
            stream.mark_processed()
            self._journal.add("terminates", token, request)
        await behaviour(stream)


async def serve(listen: str, journal: Path, calm: Path, seed: int) -> None:
    """Serve until killed; say so in one line."""
    host, _, port = listen.rpartition(":")
    wallet = Wallet(Journal(journal), calm, seed)
    async with FaultServer(wallet, host=host, listen_port=int(port)) as server:
        print(f"wallet on {server.url}", flush=True)
        await asyncio.Event().wait()


def main() -> int:
    """Run as the command says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--journal", required=True, type=Path)
    parser.add_argument("--calm", required=True, type=Path)
    parser.add_argument("--seed", required=True, type=int)
    asyncio.run(serve(**vars(parser.parse_args())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
