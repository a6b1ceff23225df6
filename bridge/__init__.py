"""The bridge: typed gRPC calls in, signed JSON over HTTP/2 to the wallet's REST API, and typed answers back."""

__version__ = "0.1.0"
