"""Prometheus' own tool, which checks metrics, rules and queries."""

import asyncio
import shutil
from asyncio.subprocess import PIPE, STDOUT

PROMTOOL = shutil.which("promtool")
"""None where it is not installed."""
MISSING = "promtool is not installed; on Debian: apt-get install prometheus"


async def promtool(*arguments: str, text: str = "") -> tuple[int, str]:
    """Run it on this text; return its exit code and what it says."""
    assert PROMTOOL is not None, MISSING
    process = await asyncio.create_subprocess_exec(PROMTOOL, *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, said.decode()
