"""A thousand calls whose deadlines end in one moment, with real processes: nearly all get their details."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from bridge.sandbox.behaviours import hang
from bridge.sandbox.server import FaultServer
from tests.support.engines import on_both_engines
from tests.support.processes import bridge_command
from tests.support.whole_path import environment

pytestmark = [pytest.mark.alone, on_both_engines]

COUNT, DEADLINE_S = 1000, 5.0
REPORTED_MIN = 0.95
WAITED_MAX_S = 0.5
"""How long bridge and callers together may have waited for a CPU in these five seconds: beyond, no core was free."""


def waited_s(*pids: int) -> float:
    """Return for how long the main threads of these processes were ready to run while others had the CPU (proc(5))."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) for pid in pids) / 1e9


@pytest.mark.short("grpcio")
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs /proc/self/schedstat")
async def test_calls_that_expire_together() -> None:
    """95 % of 1000 get WalletError and ErrorInfo in time, on a machine with a free core; all end as they should."""
    async with FaultServer(hang) as wallet, bridge_command("serve", environ=environment(wallet.url)) as bridge:
        address = await bridge.address()
        log = asyncio.create_task(bridge.end())
        callers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.expiring_callers", address, str(COUNT), str(DEADLINE_S)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        before_s = waited_s(bridge.process.pid)
        assert callers.stdin is not None
        assert callers.stdout is not None
        ends = json.loads(await callers.stdout.readline())
        busy_s = waited_s(bridge.process.pid, callers.pid) - before_s
        arrived = len(wallet.requests)
        callers.stdin.close()
        await callers.wait()
        bridge.process.terminate()
        await log
    reported = ends.get("DEADLINE_EXCEEDED", 0)
    if (reported < REPORTED_MIN * COUNT or arrived < COUNT) and busy_s > WAITED_MAX_S:
        pytest.skip(
            f"no core was free: bridge and callers waited {busy_s:.2f} s for a CPU, {reported} of {COUNT} got details"
        )
    assert ends.keys() <= {"DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED without details"}
    assert sum(ends.values()) == COUNT
    assert arrived == COUNT
    assert reported >= REPORTED_MIN * COUNT
