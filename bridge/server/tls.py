"""TLS towards callers: the bridge's certificate, the authorities of the callers' certificates, and newer files.

gRPC asks at each handshake whether there is something newer. What new files hold is checked before, and used as a whole
or not at all; connections that are open go on with what they were made with.
"""

import threading
from collections.abc import Mapping

import grpc

from bridge.address import ListenError
from bridge.settings.certificate_dates import check_dates
from bridge.settings.file_watch import ReloadError
from bridge.settings.files import read_file
from bridge.settings.reload import files_of, read_again
from bridge.settings.server import Server

SECTION = "server"
CERTIFICATE, KEY, CLIENT_CA = (f"{SECTION}.tls_{name}_file" for name in ("certificate", "key", "client_ca"))

Contents = Mapping[str, bytes]
"""Setting -> what its file holds."""


class ServerTls:
    """The newest files that could be used, as credentials of a server.

    With server.tls_client_ca_file every client must show a certificate of one of its authorities; else none is asked
    for one. Raise ListenError where the files, which were right when the settings were read, no longer are.
    """

    def __init__(self, settings: Server) -> None:
        self._settings = settings
        self.files = files_of((SECTION,), settings)
        """The files to watch, setting -> path. They are good or bad together."""
        try:
            self._in_use = self._usable()
        except ReloadError as error:
            raise ListenError(f"[{SECTION}] {error}") from None
        self._lock = threading.Lock()
        self._unfetched: grpc.ServerCertificateConfiguration | None = None
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._in_use),
            self._fetch,  # type: ignore[arg-type]  # the stub forgets that None is "nothing new"
            require_client_authentication=CLIENT_CA in self.files,
        )

    def reload(self, _key: str) -> None:
        """Use what the files hold now for all further handshakes; raise ReloadError, and change nothing, if it is bad.

        For FileWatch, with all of `files` as one group.
        """
        contents = self._usable()
        check_dates(contents)
        if contents != self._in_use:
            with self._lock:
                self._unfetched = _configuration(contents)
            self._in_use = contents

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's own threads, at each handshake. What it has once fetched, gRPC keeps.
        with self._lock:
            unfetched, self._unfetched = self._unfetched, None
        return unfetched

    def _usable(self) -> Contents:
        """Return what the files hold, which passes every check that the settings pass at the start."""
        contents = self._read()
        read_again(self._settings)
        # The checks read the files for themselves: only so is it certain that they have seen just this.
        if self._read() != contents:
            raise ReloadError("a file has changed again while it was read")
        return contents

    def _read(self) -> Contents:
        contents: dict[str, bytes] = {}
        for key, path in self.files.items():
            contents[key], problem = read_file(path)
            if problem:
                raise ReloadError(f"{key.removeprefix(f'{SECTION}.')}: cannot be read: {problem}")
        return contents


def _configuration(contents: Contents) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(contents[KEY], contents[CERTIFICATE])], root_certificates=contents.get(CLIENT_CA)
    )
