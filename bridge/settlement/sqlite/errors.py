"""Errors of SQLite and of the file system in the words of store.py."""

import errno
import sqlite3

from bridge.settlement.store import Problem

# By SQLite's primary result codes (https://www.sqlite.org/rescode.html): the low byte of an extended code.
BY_SQLITE_CODE = {
    sqlite3.SQLITE_PERM: Problem.NOT_ALLOWED,
    sqlite3.SQLITE_AUTH: Problem.NOT_ALLOWED,
    sqlite3.SQLITE_CANTOPEN: Problem.UNREACHABLE,
    sqlite3.SQLITE_BUSY: Problem.BUSY,
    sqlite3.SQLITE_LOCKED: Problem.BUSY,
    sqlite3.SQLITE_READONLY: Problem.READ_ONLY,
    sqlite3.SQLITE_FULL: Problem.FULL,
    sqlite3.SQLITE_CORRUPT: Problem.DAMAGED,
    sqlite3.SQLITE_NOTADB: Problem.DAMAGED,
    # Tables or columns are missing: another program's file, or one that was changed by hand.
    sqlite3.SQLITE_ERROR: Problem.DAMAGED,
    sqlite3.SQLITE_IOERR: Problem.DISK,
    sqlite3.SQLITE_PROTOCOL: Problem.DISK,
    sqlite3.SQLITE_NOLFS: Problem.DISK,
}

BY_ERRNO = {
    errno.EACCES: Problem.NOT_ALLOWED,
    errno.EPERM: Problem.NOT_ALLOWED,
    errno.EROFS: Problem.READ_ONLY,
    errno.ENOSPC: Problem.FULL,
    errno.EDQUOT: Problem.FULL,
    errno.EIO: Problem.DISK,
}


def problem_of(error: sqlite3.Error | OSError) -> Problem:
    """Return what an error means."""
    if isinstance(error, OSError):
        return BY_ERRNO.get(error.errno or 0, Problem.UNREACHABLE)
    code = getattr(error, "sqlite_errorcode", None)
    return Problem.FAILED if code is None else BY_SQLITE_CODE.get(code & 0xFF, Problem.FAILED)
