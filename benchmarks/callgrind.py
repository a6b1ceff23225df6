"""Instructions of a process in user space between two moments, counted by valgrind's callgrind.

The process runs under callgrind from its start, with counting off until it is warm. The kernel's instructions are not
counted: what fsync, sockets and futexes cost there is not in the figure.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

VALGRIND, CONTROL = shutil.which("valgrind"), shutil.which("callgrind_control")
"""None where valgrind is not installed."""
MISSING = "valgrind is not installed; on Debian: apt-get install valgrind"

_TOTALS = re.compile(r"^(?:summary|totals): ([0-9]+)", re.MULTILINE)


class CountError(Exception):
    """A count that callgrind did not write, with what to try."""


def is_installed() -> bool:
    """Say whether callgrind and what switches it are there."""
    return VALGRIND is not None and CONTROL is not None


def command(file: Path) -> tuple[str, ...]:
    """Return the command that runs another one, with its counts in this file when it has ended."""
    return (str(VALGRIND), "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={file}")


@asynccontextmanager
async def counting(pid: int) -> AsyncIterator[None]:
    """Count while the context lasts. Raise CountError where the process cannot be asked to."""
    await _instrument("on", pid)
    yield
    await _instrument("off", pid)


async def _instrument(mode: str, pid: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(CONTROL), "--instr=" + mode, str(pid)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode or b"OK" not in output:
        raise CountError(f"callgrind_control --instr={mode} {pid}: {output.decode(errors='replace').strip()}")


def counted(file: Path) -> int:
    """Return the instructions that a process has counted in this file. Raise CountError where there are none."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    found = max((int(one) for one in _TOTALS.findall(text)), default=0)
    if not found:
        raise CountError(f"callgrind has written no count: {file.name} is {'empty' if text == '' else 'incomplete'}")
    return found
