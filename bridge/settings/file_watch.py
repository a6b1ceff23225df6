"""Watch of files that may change while the bridge runs: new content is noticed, applied, and the result reported.

A file is known by a digest of its content: mtimes can be equal, and Kubernetes swaps a link far above the file. New
content counts once two looks in a row have found it, so that half of a replacement is never loaded. Each is applied,
or reported as bad, once.
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from bridge.events import Emit, Reloaded, ReloadFailed
from bridge.settings.files import read_file

LOGGER = logging.getLogger(__name__)

INTERVAL_S = 2.0
"""Seconds between two looks. A change is in use, or reported, after two; docs/design/contract.md allows 10 s."""

Apply = Callable[[str], None]


class ReloadError(Exception):
    """A file's new content cannot be used. The text is what the file should be, and nothing of its content.

    `passes_with_time`: the same content will be right later; so it is tried at every look, and reported only once.
    """

    def __init__(self, text: str, *, passes_with_time: bool = False) -> None:
        super().__init__(text)
        self.passes_with_time = passes_with_time


class FileWatch:
    """Looks at files every `interval_s` seconds and calls `apply` with the setting whose file has changed.

    `files`: setting -> path. `groups`: settings whose files are good or bad together, like a certificate and its key;
    a change in a group is one change, applied by one call, with the group's first setting. `apply` raises ReloadError
    where it cannot use what is there, and then leaves everything as it was. Reloaded or ReloadFailed is emitted for
    each file of the group that had changed.

    It is unknown whether the files are still those that the settings were read from. So the very first look calls
    `apply` for all of them; where that works, nothing is emitted.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        apply: Apply,
        emit: Emit,
        interval_s: float = INTERVAL_S,
        groups: Iterable[Iterable[str]] = (),
    ) -> None:
        together = [tuple(group) for group in groups]
        alone = [(key,) for key in files if not any(key in group for group in together)]
        self._groups = [_Group({key: files[key] for key in group}, apply, emit) for group in (*together, *alone)]
        self._interval_s = interval_s
        self._is_wanted = asyncio.Event()

    async def run(self) -> None:
        """Look at once and then at every interval, until cancelled: whatever goes wrong at a look, there is a next."""
        while True:
            is_now = self._is_wanted.is_set()
            self._is_wanted.clear()
            try:
                # Not in the event loop: a file system that hangs would hold up every call.
                found = await in_daemon_thread(self._read)
                self._handle(found, is_now=is_now)
            except Exception as unexpected:  # noqa: BLE001 - a watch that ends would do so unnoticed
                LOGGER.error("a reload could not be reported: %s", type(unexpected).__name__)  # noqa: TRY400 - no text
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._is_wanted.wait()

    def check(self) -> None:
        """Look at all files once. The second look that finds the same new content applies or reports it."""
        self._handle(self._read(), is_now=False)

    def look_now(self) -> None:
        """Have `run` look at all files now. What has changed is applied at once, or reported, also a second time."""
        self._is_wanted.set()

    def _read(self) -> list["Contents"]:
        return [group.read() for group in self._groups]

    def _handle(self, found: list["Contents"], *, is_now: bool) -> None:
        for group, contents in zip(self._groups, found, strict=True):
            group.handle(contents, is_now=is_now)


class _Content(NamedTuple):
    """Fingerprint of a file's content."""

    digest: str
    problem: str
    """Why it cannot be read; "" where it can."""


Contents = dict[str, _Content]
"""Setting -> what its file holds."""


class _Group:
    """Files that are applied together."""

    def __init__(self, files: Mapping[str, Path], apply: Apply, emit: Emit) -> None:
        self._files = files
        self._apply = apply
        self._emit = emit
        # All of them setting -> content; empty before anything is known.
        self._seen: dict[str, _Content] = {}
        self._handled: dict[str, _Content] = {}
        """Content that was last applied, or reported as invalid."""
        self._in_use: dict[str, _Content] = {}
        self._passes_with_time = False

    def read(self) -> Contents:
        return {key: _content(path) for key, path in self._files.items()}

    def handle(self, found: Contents, *, is_now: bool) -> None:
        before, self._seen = self._seen, found
        if not before and not self._problems(found):
            self._handled = self._in_use = found
        elif (is_now and found != self._in_use) or (found == before and found != self._handled):
            self._take_up(found)
        elif self._passes_with_time and found == self._handled and not self._problems(found):
            self._used(found, [key for key in found if self._in_use.get(key) != found[key]])

    def _take_up(self, found: dict[str, _Content]) -> None:
        # Also content that was invalid when it was last handled and is now as before: that was reported, so this is,
        # too.
        known = (self._in_use, self._handled)
        changed = [key for key in found if any(contents.get(key) != found[key] for contents in known)]
        self._handled = found
        problems = self._problems(found)
        if problems:
            for key in changed:
                if problem := problems.get(key):
                    self._emit(ReloadFailed(key, problem))
            return
        self._used(found, changed)

    def _used(self, found: Contents, changed: Iterable[str]) -> None:
        self._in_use = found
        for key in changed:
            self._emit(Reloaded(key))

    def _problems(self, found: dict[str, _Content]) -> dict[str, str]:
        """Apply what was found; return why that cannot be done, for each file to which it applies."""
        self._passes_with_time = False
        if unreadable := {key: content.problem for key, content in found.items() if content.problem}:
            return unreadable
        try:
            self._apply(next(iter(self._files)))
        except ReloadError as error:
            problem, self._passes_with_time = str(error), error.passes_with_time
        except Exception as unexpected:  # noqa: BLE001 - a security control: its text may hold anything
            problem = f"cannot be used, by a fault of the bridge: {type(unexpected).__name__}"
        else:
            return {}
        return dict.fromkeys(found, problem)


ResultT = TypeVar("ResultT")


async def in_daemon_thread(function: Callable[[], ResultT]) -> ResultT:
    """Return what a function returns in a thread of its own, or raise what it raises.

    Where it hangs for ever, the process can end all the same, which it could not with a thread of an executor.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[ResultT] = loop.create_future()

    def done(made: ResultT | None, error: Exception | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(cast("ResultT", made))

    def run() -> None:
        made, failed = None, None
        try:
            made = function()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is waited for
            failed = error
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(done, made, failed)

    threading.Thread(target=run, name="files", daemon=True).start()
    return await result


def _content(path: Path) -> _Content:
    content, problem = read_file(path)
    if problem:
        return _Content("", f"cannot be read: {problem}")
    return _Content(hashlib.sha256(content).hexdigest(), "")
