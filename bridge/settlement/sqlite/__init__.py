"""Settlement store in one SQLite file, for the processes of one machine."""

from bridge.settlement.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
