"""TLS to the wallet, as the settings want it."""

import ssl

from bridge.config import Wallet


def tls_context(wallet: Wallet) -> ssl.SSLContext:
    """Return a context of its own: it trusts wallet.ca_file, else the system's CAs, and shows the client certificate.

    The files are read now. A context that is in use stays as it was made, whatever becomes of them.
    """
    context = ssl.create_default_context(cafile=wallet.ca_file)
    if wallet.client_certificate_file is not None:
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal, and all calls would wait.
        context.load_cert_chain(wallet.client_certificate_file, wallet.client_key_file, password="")
    return context
