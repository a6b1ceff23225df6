"""Debian's nginx for tests, as the front of a wallet: a real process with a configuration, logs and folders of its own.

Needs no root, reads nothing of /etc/nginx and listens on 127.0.0.1 only.
"""

import asyncio
import grp
import os
import pwd
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Identity

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""None where nginx is not installed."""
MISSING = "nginx is not installed; on Debian: apt-get install nginx-light"

_BACKLOG = 1024

# Temporary files belong to the test, whatever nginx was built with. `user` counts only where root runs the tests: the
# workers must reach the folder, which is root's then.
_CONFIGURATION = """
daemon off;
user {user} {group};
worker_processes {workers};
worker_shutdown_timeout 30s;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} {tls} http2;
        {certificate}
        {directives}
        location / {{ {location} }}
    }}
}}
"""


@dataclass(frozen=True)
class Front:
    """What nginx does: its words for `location /`, further ones for the server, its workers and its certificate."""

    location: str
    directives: str = ""
    workers: int = 2
    identity: Identity | None = None
    """None: plaintext, HTTP/2 with prior knowledge."""

    def configuration(self, folder: Path, port: int) -> str:
        """Return the text of nginx.conf."""
        certificate = ""
        if self.identity:
            files = self.identity
            certificate = f"ssl_certificate {files.certificate_file}; ssl_certificate_key {files.key_file};"
        return _CONFIGURATION.format(
            user=pwd.getpwuid(os.getuid()).pw_name,
            group=grp.getgrgid(os.getgid()).gr_name,
            workers=self.workers,
            folder=folder,
            port=port,
            tls="ssl" if self.identity else "",
            certificate=certificate,
            directives=self.directives,
            location=self.location,
        )


class Nginx:
    """A running nginx. What it logs, from `notice` up, is read line by line as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, workers: int) -> None:
        self.process = process
        self.url = url
        """Scheme, host and port, without a path."""
        self.workers = workers
        self.lines: list[str] = []

    async def logged(self, text: str) -> None:
        """Read on until a line holds this text; fail with all lines when nginx ends before."""
        assert self.process.stderr is not None
        while raw := await self.process.stderr.readline():
            self.lines.append(raw.decode())
            if text in self.lines[-1]:
                return
        raise AssertionError(f"nginx ended with {await self.process.wait()}: {''.join(self.lines)}")

    async def reload(self) -> None:
        """Reload as `nginx -s reload` does, and return when all of the old workers have begun to end gracefully."""
        self.process.send_signal(signal.SIGHUP)
        for _ in range(self.workers):
            await self.logged("gracefully shutting down")

    async def stop(self) -> None:
        """End at once and read what is left of the log."""
        assert self.process.stderr is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        self.lines += (await self.process.stderr.read()).decode().splitlines(keepends=True)
        await self.process.wait()


@asynccontextmanager
async def running_nginx(front: Front, folder: Path) -> AsyncIterator[Nginx]:
    """Run nginx for as long as the context lasts, with `folder` for everything that it writes."""
    assert NGINX is not None, MISSING
    # It inherits a listening socket, as at an upgrade of its binary: the port is free for certain, and who connects
    # before the first worker is there waits instead of being refused.
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        # nginx makes the sockets that it opens itself non-blocking, and takes an inherited one as it is. In accept(2)
        # on a blocking one, a worker whose connection another worker was given hangs, with all its other connections.
        listener.settimeout(0)
        port = int(listener.getsockname()[1])
        file = folder / "nginx.conf"
        file.write_text(front.configuration(folder, port), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            NGINX,
            *("-e", "stderr", "-p", str(folder), "-c", str(file)),
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
    nginx = Nginx(process, f"{'https' if front.identity else 'http'}://127.0.0.1:{port}", front.workers)
    try:
        await nginx.logged("start worker process ")
        yield nginx
    finally:
        await nginx.stop()
