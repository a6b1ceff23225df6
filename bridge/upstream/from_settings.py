"""TLS to the wallet, decided here and nowhere else: the same on every Python, and whatever the environment says.

`ssl.create_default_context` is not used. What it sets differs between versions of Python (3.13 added
VERIFY_X509_STRICT), and it obeys SSLKEYLOGFILE, SSL_CERT_FILE and SSL_CERT_DIR: setting one would
expose the traffic, or choose the authorities.

    version       TLS 1.2 or newer (RFC 9325, section 3.1.1)
    ciphers       of TLS 1.2 those that HTTP/2 does not prohibit: ephemeral keys and AEAD (RFC 9113, section 9.2.2)
    off           compression and renegotiation (RFC 9113, section 9.2.1)
    authorities   those in wallet.ca_file, else the first bundle of SYSTEM_BUNDLES; never those of the environment
    certificates  verified as RFC 5280 says, by OpenSSL without VERIFY_X509_STRICT, which many private authorities fail
                  for harmless reasons; one that says that it may sign no certificates is no authority
    names         subject alternative names alone, no common name (RFC 9525, section 2)
"""

import ssl
from pathlib import Path

from bridge.settings.model import SettingsError, Wallet
from bridge.upstream.signing import Credentials, Keyring

CIPHERS = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!aDSS"
"""For TLS 1.2, in OpenSSL's words. Security level 2: keys of RSA have at least 2048 bits, and SHA-1 signs nothing."""

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, Fedora, CentOS, Amazon Linux
    "/etc/pki/tls/certs/ca-bundle.crt",  # the same, older
    "/var/lib/ca-certificates/ca-bundle.pem",  # openSUSE, SLES
    "/etc/ssl/ca-bundle.pem",  # the same, older
    "/etc/ssl/cert.pem",  # macOS, FreeBSD, OpenBSD
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD with the package ca_root_nss
)
"""Where systems keep the authorities that they trust, as one PEM file. The first one that can be read is used."""

LEGACY_SERVER_CONNECT = 0x4
"""OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT: servers without secure renegotiation. Python 3.11 has no name for it."""


def tls_context(wallet: Wallet) -> ssl.SSLContext:
    """Return a new context for the wallet, with its client certificate; raise SettingsError where no CAs are found.

    The files are read now. A context that is in use stays as it was made, whatever becomes of them. For http:// it is
    a context without authorities.
    """
    context = hardened_context()
    if wallet.ca_file is not None:
        context.load_verify_locations(cafile=wallet.ca_file)
    elif wallet.url.startswith("https:"):
        _trust_the_system(context)
    if wallet.client_certificate_file is not None:
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal, and all calls would wait.
        context.load_cert_chain(wallet.client_certificate_file, wallet.client_key_file, password="")
    return context


def keyring_of(wallet: Wallet) -> Keyring:
    """Return the credentials of every provider."""
    return Keyring(
        Credentials(provider_id, provider.access_key.get_secret_value(), provider.private_key.get_secret_value())
        for provider_id, provider in wallet.providers.items()
    )


def hardened_context() -> ssl.SSLContext:
    """Return a client's context without authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options &= ~LEGACY_SERVER_CONNECT
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST
    context.hostname_checks_common_name = False
    context.post_handshake_auth = False  # HTTP/2 forbids it (RFC 8740)
    return context


def _trust_the_system(context: ssl.SSLContext) -> None:
    for bundle in SYSTEM_BUNDLES:
        try:
            context.load_verify_locations(cafile=Path(bundle))
        except OSError:  # not there, or, as an ssl.SSLError, without a certificate
            continue
        return
    raise SettingsError(
        "wallet.ca_file: is missing, and this system has no bundle of authorities: install its package "
        f"ca-certificates, or set wallet.ca_file (looked for {', '.join(SYSTEM_BUNDLES)})"
    )
