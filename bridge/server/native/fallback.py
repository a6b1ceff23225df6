"""Methods that the native front does not serve, those with request streams: a grpcio server behind it.

The front passes such calls on over a Unix socket. Of the bridge's own that is reflection alone.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio

from bridge.address import ListenError
from bridge.server.native.call import Handler

SOCKET_PATH_BYTES_MAX = 107
"""unix(7): sun_path has 108 bytes, of which the last is a NUL."""


class Fallback:
    """A grpcio server on a socket that only this user can reach. `services`: name -> method -> handler.

    Raise ListenError where there can be no such socket.
    """

    def __init__(self, services: Mapping[str, Mapping[str, Handler]], options: tuple[tuple[str, int], ...]) -> None:
        self._server = grpc.aio.server(options=options)
        for service, handlers in services.items():
            self._server.add_registered_method_handlers(service, dict(handlers))
        self._directory = socket_folder()
        self.path = _socket_in(self._directory)
        try:
            self._server.add_insecure_port(f"unix:{self.path}")
        except RuntimeError:
            self._directory.cleanup()
            raise _no_socket() from None

    async def start(self) -> None:
        """Take calls from now on."""
        await self._server.start()

    async def stop(self, grace: float | None) -> None:
        """End open calls after so many seconds (None: at once), and remove the socket."""
        await self._server.stop(grace)
        self._directory.cleanup()


def socket_folder() -> "TemporaryDirectory[str]":
    """Return a new folder in which there can be such a socket; raise ListenError."""
    try:
        folder = TemporaryDirectory(prefix="bridge-native-", ignore_cleanup_errors=True)
    except OSError:
        raise _no_socket() from None
    if len(os.fsencode(_socket_in(folder))) <= SOCKET_PATH_BYTES_MAX:
        return folder
    folder.cleanup()
    raise _no_socket()


def _socket_in(folder: "TemporaryDirectory[str]") -> str:
    return str(Path(folder.name, "grpcio.sock"))


def _no_socket() -> ListenError:
    return ListenError(
        "server.reflection: the native engine cannot make a Unix socket for it; "
        "set TMPDIR to a folder that can be written and has a short path, or reflection to false"
    )
