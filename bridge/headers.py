"""Header fields as sent and received: pairs of bytes, in order, names in lower case (RFC 9113, section 8.2.1)."""

Headers = tuple[tuple[bytes, bytes], ...]
