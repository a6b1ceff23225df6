"""Where the bridge listens, and what is said where it cannot."""


class ListenError(Exception):
    """The bridge cannot listen where it should. The text names the setting, the address and what to do."""


def cannot_listen(setting: str, address: str, *, uses_tls: bool = False) -> ListenError:
    """Return the error for an address, "host:port", that the system or the server's TLS refused."""
    # gRPC says nothing more. It takes fewer kinds of keys than OpenSSL, which has checked the pair before.
    tls = ", or the TLS certificate neither RSA nor ECDSA P-256" if uses_tls else ""
    return ListenError(
        f"{setting}: cannot listen on {address}; is the port taken, or the address not this machine's{tls}?"
    )
