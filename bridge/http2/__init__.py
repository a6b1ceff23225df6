"""HTTP/2 to the wallet: the only package that knows sockets, TLS and frames."""
