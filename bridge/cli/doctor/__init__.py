"""`bridge doctor`: looks at everything that a call needs, without making one, and says in plain words what is wrong.

    local.py        settings, credentials, certificate files
    listeners.py    whether the bridge's own addresses are free
    network.py      the wallet's name and its addresses
    probe.py        one address of the wallet: TLS, ALPN, HTTP/2, an answer, its clock
    handshake.py    why a TLS handshake failed
    certificate.py  what a certificate says of itself
    certificate_files.py  the certificates in the files that settings name
    start_check.py  what `serve` refuses and warns of, for `serve` and `serve --check` too
    finding.py      what is printed

No credentials and no signature are ever sent, and the only request is a GET without a body to where wallet.url points.
"""
