"""A real Redis on a socket of its own, for tests. Without `redis-server` on the machine they are skipped."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
START_S, LOOK_AGAIN_S = 60.0, 0.02

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
        until_it_answers(path)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(START_S)


def until_it_answers(path: Path) -> None:
    """Wait for a server: until it listens it refuses, and until it has read its files it answers LOADING."""
    patience = Retry(ConstantBackoff(LOOK_AGAIN_S), int(START_S / LOOK_AGAIN_S), (redis.ConnectionError,))
    with redis.Redis(unix_socket_path=str(path), retry=patience) as client:
        client.ping()
