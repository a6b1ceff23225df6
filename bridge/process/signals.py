"""Signals of a process that serves (signal(7)).

SIGTERM, SIGINT, SIGQUIT    drain, then end; a second one ends at once
SIGHUP                      look at all files now
faults, like SIGSEGV        the default: they end the process
all others                  logged and ignored, where by default they would end it
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType

LOGGER = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_KEPT = {
    # Signals of a process's own fault or limit, and those that cannot be handled.
    *("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGXCPU", "SIGKILL", "SIGSTOP"),
    # Signals that end no process; Python itself ignores SIGPIPE and SIGXFSZ.
    *("SIGCHLD", "SIGCLD", "SIGCONT", "SIGPIPE", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH", "SIGXFSZ"),
}
IGNORED_SIGNALS = tuple(
    number
    for number in sorted(signal.valid_signals() - {*STOP_SIGNALS, signal.SIGHUP})
    if not isinstance(number, signal.Signals) or number.name not in _KEPT
)
"""SIGUSR1, SIGUSR2, timers, real-time signals: by default they would end the process, and calls in flight with it."""


def ignore_until_ready() -> None:
    """Ignore everything but the signals that stop, until the event loop runs and handles them."""
    for number in (signal.SIGHUP, *IGNORED_SIGNALS):
        with contextlib.suppress(OSError, ValueError):  # see `on_stop`
            signal.signal(number, signal.SIG_IGN)


def stop_signal() -> asyncio.Future[None]:
    """Return what is done at the first signal that stops. A second one ends the process at once.

    All other signals are logged and ignored, SIGHUP until `on_reload`.
    """
    stop = asyncio.get_running_loop().create_future()

    def ask() -> None:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, _end_now)
        stop.set_result(None)

    on_stop(ask)
    return stop


def on_stop(reported: Callable[[], object]) -> None:
    """Call this at every signal that stops, and log and ignore all others.

    Signals that come in one turn of the loop are one: timeout(1) sends its own to the process and to its group.
    """
    loop = asyncio.get_running_loop()
    of_this_turn: list[int] = []

    def stopped(number: int) -> None:
        of_this_turn.append(number)
        if len(of_this_turn) == 1:
            loop.call_soon(of_this_turn.clear)
            reported()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped, number)
    for number in (signal.SIGHUP, *IGNORED_SIGNALS):
        # A tool that the process runs under, valgrind for one, may keep a real-time signal for itself.
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            loop.add_signal_handler(number, partial(_ignored, number))


def on_reload(look: Callable[[], object]) -> None:
    """Call this at every SIGHUP."""

    def reported() -> None:
        LOGGER.info("SIGHUP: all files are looked at now")
        look()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reported)


def _ignored(number: int) -> None:
    name = number.name if isinstance(number, signal.Signals) else f"signal {number}"
    LOGGER.warning("%s is ignored", name)


def _end_now(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    # Only the first process of a container comes here: to that one the default of a signal is nothing (signal(7)).
    os._exit(128 + number)
