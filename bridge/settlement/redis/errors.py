"""Errors of Redis and its client in the words of store.py."""

from redis import exceptions

from bridge.settlement.store import Problem

# The first that fits: some are kinds of ConnectionError.
BY_TYPE: tuple[tuple[type[Exception], Problem], ...] = (
    (exceptions.AuthenticationError, Problem.NOT_ALLOWED),
    (exceptions.AuthorizationError, Problem.NOT_ALLOWED),
    (exceptions.NoPermissionError, Problem.NOT_ALLOWED),
    (exceptions.ReadOnlyError, Problem.READ_ONLY),
    (exceptions.OutOfMemoryError, Problem.FULL),
    (exceptions.TimeoutError, Problem.TIMEOUT),
    (exceptions.ConnectionError, Problem.UNREACHABLE),
    (OSError, Problem.UNREACHABLE),
)

# Codes of replies for which the client has no type: the reply's first word.
BY_CODE = {
    "MISCONF": Problem.DISK,
    "NOREPLICAS": Problem.READ_ONLY,
    "MASTERDOWN": Problem.UNREACHABLE,
    "CLUSTERDOWN": Problem.UNREACHABLE,
    "WRONGPASS": Problem.NOT_ALLOWED,
    "NOAUTH": Problem.NOT_ALLOWED,
    # A key of ours holds something else.
    "WRONGTYPE": Problem.DAMAGED,
}


def problem_of(error: Exception) -> Problem:
    """Return what an error means."""
    for kind, problem in BY_TYPE:
        if isinstance(error, kind):
            return problem
    return BY_CODE.get(str(error).partition(" ")[0], Problem.FAILED)
