"""Open entries that calls of this process were written to, so that a caller's own success can settle them."""

KNOWN_MAX = 10_000
"""The oldest is forgotten first: then the settler finds the same success out by itself."""


class Known:
    """Open entries by the digest of their request."""

    def __init__(self) -> None:
        self._entries: dict[bytes, str] = {}
        self._digests: dict[str, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, digest: bytes, entry_id: str) -> None:
        """Know an open entry."""
        if digest not in self._entries and len(self._entries) >= KNOWN_MAX:
            self.forget(next(iter(self._digests)))
        self._digests.pop(self._entries.get(digest, ""), None)
        self._entries[digest] = entry_id
        self._digests[entry_id] = digest

    def forget(self, entry_id: str) -> None:
        """Know an entry no more: it is not open any longer."""
        self._entries.pop(self._digests.pop(entry_id, b""), None)

    def get(self, digest: bytes) -> str:
        """Return the entry of this request; "" where none is known."""
        return self._entries.get(digest, "")

    def pop(self, digest: bytes) -> str | None:
        """Return the entry of this request and know it no more; None where none is known."""
        entry_id = self._entries.get(digest)
        if entry_id is not None:
            self.forget(entry_id)
        return entry_id
