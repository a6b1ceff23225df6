"""A long run of the whole bridge through a mix of all faults, and whether it is at the end as it was at the beginning.

    python -m benchmarks.soak --minutes 30

    40 callers -> bridge serve -> a hostile wallet
    this process  a process       a process

Callers come and go, with random deadlines and cancels; the wallet recycles, refuses, resets, floods, drips, restarts;
key files are replaced, well and badly. After the first tenth of the time all of it rests for a moment, and at the end
again: the bridge at rest must be the same. What callers were answered is compared all the time with what the wallet
did, by the invariants of docs/design/faults.md. Prints a report, writes it into a file, and exits with 0 if everything
holds. Needs Linux; on fewer than two free cores it says more about the machine than about the bridge.
"""

import argparse
import asyncio
import os
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.soak import report
from benchmarks.soak.bridge_process import bridge_process
from benchmarks.soak.callers import Callers
from benchmarks.soak.hostile_wallet import keys_of
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.phases import Soak
from benchmarks.soak.report import Finding
from benchmarks.soak.samples import Sampler, heading
from benchmarks.soak.starvation import Starvation
from benchmarks.soak.wallet_process import wallet_process
from bridge import __version__

WARM_UP = 0.1
"""The part of the time after which the bridge has all that it needs."""
SAMPLES_MIN, SAMPLE_S_MAX = 30, 10.0
ROTATION_S_MIN, ROTATION_S_MAX = 18.0, 60.0
REPORT = Path("soak-report.txt")


@asynccontextmanager
async def everything(seed: int, folder: Path) -> AsyncIterator[Soak]:
    """Run a bridge, its wallet, and what watches them; nothing is under way yet."""
    ledger = Ledger()
    keys_of(0).write(folder)
    async with wallet_process(seed, ledger) as wallet, bridge_process(wallet.url, folder) as bridge:
        with closing(Starvation(bridge.process.pid)) as starvation:
            callers = Callers(bridge.address, ledger, starvation, random.Random(seed))  # noqa: S311 - reproducible
            sampler = Sampler(bridge, wallet.process.pid, callers.ends.total)
            yield Soak(bridge, wallet, ledger, callers, sampler, folder, _say)


@asynccontextmanager
async def beside(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these, which do not end by themselves, until the block ends; one that fails ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in coroutines]
        yield
        for task in tasks:
            task.cancel()


async def soak(minutes: float, seed: int, folder: Path) -> tuple[list[Finding], list[str]]:
    """Run for so long; return what must hold, and the rest of the report."""
    seconds = minutes * 60
    sample_s = min(SAMPLE_S_MAX, seconds / SAMPLES_MIN)
    rotation_s = min(max(seconds / 3, ROTATION_S_MIN), ROTATION_S_MAX)
    async with everything(seed, folder) as run:
        async with beside(run.bridge.stays(), run.wallet.listen(), run.rotate(rotation_s)):
            _say(heading())
            await run.load(seconds * WARM_UP, sample_s)
            base = await run.rest()
            warm_up = len(run.samples)
            await run.load(seconds * (1 - WARM_UP), sample_s)
            end = await run.rest(base.descriptors)
            recovers = await run.recovers()
            await run.wallet.calm()
            run.ledger.settle(float("inf"))
        codes = await run.bridge.end(), await run.wallet.end()
        findings = [
            *report.compared(base, end, run.samples[warm_up:-1]),
            *report.kept(run.ledger.broken),
            *report.others(run, codes, recovers=recovers),
        ]
        return findings, report.figures(run)


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Run, report; return 1 if something does not hold."""
    parser = argparse.ArgumentParser(description="a long run of the bridge through all faults")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--report", type=Path, default=REPORT, metavar="FILE")
    parsed = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    title = (
        f"soak of wallet-bridge {__version__}: {parsed.minutes:g} minutes, seed {parsed.seed}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    _say(title)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        findings, figures = runner.run(soak(parsed.minutes, parsed.seed, folder))
    holds = all(finding.holds for finding in findings)
    verdict = ["", *(finding.line for finding in findings), "", "everything holds" if holds else "NOT everything holds"]
    parsed.report.write_text("\n".join([title, "", *figures, *verdict, ""]), encoding="utf-8")
    for line in (*figures[figures.index("") :], *verdict):
        _say(line)
    if holds:
        shutil.rmtree(folder)
    else:
        _say(f"the bridge's log is {folder / 'bridge.log'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
