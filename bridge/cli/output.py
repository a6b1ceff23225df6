"""Standard output of a command, also where its reader has gone, as before `| head`: the command ends without a word.

Python raises BrokenPipeError then, and again when it flushes what is left at its exit.
"""

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

CLOSED_PIPE_CODE = 128 + signal.SIGPIPE
"""How a shell shows a command that SIGPIPE has ended, which is how other programs end then."""


def with_output(run: Callable[[], int]) -> int:
    """Return what a command returns when all that it has written has left, or CLOSED_PIPE_CODE.

    Raise OSError where it cannot leave for another reason.
    """
    try:
        try:
            return run()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError) or not (is_closed(sys.stdout) or is_closed(sys.stderr)):
            _drop_unwritten(sys.stdout)
            raise
    for stream in (sys.stdout, sys.stderr):
        _drop_unwritten(stream)
    return CLOSED_PIPE_CODE


def is_closed(stream: TextIO) -> bool:
    """Say whether nothing reads any more what is written here."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # no file of the system
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _drop_unwritten(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, if it cannot be written where it should."""
    with suppress(OSError, ValueError):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
