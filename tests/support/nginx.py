"""Debian's nginx for tests, as the front of a wallet: a real process with a configuration, logs and folders of its own.

Needs no root, reads nothing of /etc/nginx and listens on 127.0.0.1 only.
"""

import grp
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Identity
from tests.support.processes import Command, program

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
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        tls = certificate = ""
        if files := self.identity:
            tls, certificate = "ssl", f"ssl_certificate {files.certificate_file}; ssl_certificate_key {files.key_file};"
        return _CONFIGURATION.format(
            **vars(self), user=user, group=group, folder=folder, port=port, tls=tls, certificate=certificate
        )


@asynccontextmanager
async def running_nginx(front: Front, folder: Path) -> AsyncIterator[tuple[Command, str]]:
    """Run nginx for as long as the context lasts, with `folder` for all that it writes; yield its URL, too."""
    assert NGINX is not None, MISSING
    async with AsyncExitStack() as stack:
        # It inherits a listening socket, as at an upgrade of its binary: the port is free for certain, and who connects
        # before the first worker is there waits instead of being refused.
        with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
            # nginx makes the sockets that it opens itself non-blocking, and takes an inherited one as it is. In
            # accept(2) on a blocking one, a worker whose connection another was given hangs, with all its others.
            listener.settimeout(0)
            port = int(listener.getsockname()[1])
            file = folder / "nginx.conf"
            file.write_text(front.configuration(folder, port), encoding="utf-8")
            argv = (NGINX, "-e", "stderr", "-p", str(folder), "-c", str(file))
            env = {**os.environ, "NGINX": f"{listener.fileno()};"}
            command = await stack.enter_async_context(program(*argv, env=env, pass_fds=[listener.fileno()]))
        try:
            await command.line("start worker process ")
            yield command, f"{'https' if front.identity else 'http'}://127.0.0.1:{port}"
        finally:
            # Not killed: its workers would stay.
            if command.process.returncode is None:
                command.process.terminate()
            await command.end()
