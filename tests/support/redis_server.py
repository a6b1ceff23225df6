"""A real Redis on a socket of its own, for tests. Without `redis-server` on the machine they are skipped."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
START_S = 60.0

needs_redis = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a server in a folder that is short enough for a socket's path; give its URL."""
    assert SERVER
    path = folder / "redis.sock"
    files = ("--dir", str(folder), "--unixsocket", str(path), "--logfile", str(folder / "redis.log"))
    memory = ("--port", "0", "--save", "", "--appendonly", "no")
    process = subprocess.Popen([SERVER, *files, *memory, *options])  # noqa: S603 - the machine's own server
    try:
        _wait_for(path, process)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(START_S)


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while not answers(path):
        assert process.poll() is None, "redis-server has ended"
        assert time.monotonic() < until, "redis-server does not answer"
        time.sleep(0.02)


def answers(path: Path) -> bool:
    """Say whether the server has read its files: before, it takes connections and answers LOADING."""
    with redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0)) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError as error:
            return isinstance(error, redis.AuthenticationError)  # it answers, and requires a password
